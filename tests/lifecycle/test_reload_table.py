"""What a table that is read again changes, and what it leaves as it is. The signal itself: serving/test_sighup.py."""

import logging
import os
import queue
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from support.tables import imports_undone, write

from mountpoint.config.reader import load_config
from mountpoint.lifecycle import reload as reload_module
from mountpoint.lifecycle.reload import TableReloader
from mountpoint.loading.eviction import evict_failed_modules
from mountpoint.loading.loader import Loader, build_router, build_table

PATIENCE = 30  # seconds


def app(text):
    """Return the source of a module whose app answers *text*, and how often it was asked."""
    return f"""
count = 0
def app(environ, start_response):
    global count
    count += 1
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{text} {{count}}".encode()]
"""


class Site:
    """A folder with a table and its apps, loaded, and loaded again with `reload`."""

    def __init__(self, folder, call):
        self.folder = folder
        self.tables = []  # each that was taken
        self._call = call
        self._outcomes = queue.Queue()

    def load(self, toml, files=(), **overrides):
        self.change(toml, files)
        config = load_config(self.folder / "mounts.toml", overrides)
        loader = Loader()
        mounts = loader.load(config)
        self._take(config, mounts)
        self.tables.clear()
        self.reloader = TableReloader(config, mounts, loader, self._take, self._outcomes.put)

    def _take(self, config, mounts):
        self._stack = build_router(config, build_table(mounts))
        self.tables.append([mount.config.key for mount in mounts])

    def change(self, toml, files=()):
        """Write *files*, and a table that has stood for long."""
        write(self.folder, {**dict(files), "mounts.toml": toml})
        os.utime(self.folder / "mounts.toml", (1, 1))

    def reload(self, toml=None, files=()):
        """Have the table read again, after a change to *toml*; return the outcome."""
        if toml is not None:
            self.change(toml, files)
        self.reloader.begin()
        return self.outcome()

    def outcome(self):
        return self._outcomes.get(timeout=PATIENCE)

    def answer(self, path):
        return self._call(self._stack, path)

    def get(self, path):
        """Return the body of an answer, or its status where it is not 200."""
        answer = self.answer(path)
        return answer.body.decode() if answer.status == 200 else answer.status


@pytest.fixture
def site(tmp_path, call, caplog):
    caplog.set_level(logging.INFO, "mountpoint")
    with imports_undone(tmp_path):
        yield Site(tmp_path, call)
    evict_failed_modules()


ONE = '[mounts]\n"/one" = "one:app"\n'
TWO = ONE + '"/two" = "two:app"\n'
BOTH = {"one.py": app("one"), "two.py": app("two")}


# -------------------------------------------------------------------------------------------------------- what changes


def test_mounts_that_are_new_or_gone_or_changed_are_taken_and_named(site, caplog):
    site.load(TWO, BOTH)
    assert site.reload(
        '[mounts]\n"/two" = "three:app"\n"/new" = "new:app"\n', {"three.py": app("3"), "new.py": app("new")}
    )
    assert (site.get("/one"), site.get("/two/"), site.get("/new/")) == (404, "3 1", "new 1")
    assert caplog.messages[1:] == ["/one: gone", "/two: changed, ready", "/new: new, ready"]


#: An app that its factory makes anew: a counter that goes on is that of the app that there was.
FACTORY = """
import os
def make():
    name, count = os.environ.get("NAME_OF_THE_SHOP", ""), 0
    def app(environ, start_response):
        nonlocal count
        count += 1
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"{name} {count}".encode()]
    return app
"""


def shops(**settings):
    """Return a table with apps of FACTORY at the keys of *settings*, which are TOML."""
    rows = [f'"/{key}" = {{ app = "shop:make()", {setting} }}\n' for key, setting in settings.items()]
    return "[mounts]\n" + "".join(rows)


def test_a_mount_that_has_not_changed_keeps_its_app(site, caplog):
    site.load(shops(a="limit = 3", b="limit = 3", c="limit = 3"), {"shop.py": FACTORY})
    for key in "abc":
        assert site.get(f"/{key}/") == " 1"
    other = 'cookies = "scoped", slash = "pass", limit = 2, queue = 5, slow_after = 1, max_body = 9'
    site.reload(shops(c="limit = 3", b=other, d="limit = 1"))
    assert [site.get(f"/{key}/") for key in "abcd"] == [404, " 2", " 2", " 1"]
    assert caplog.messages[1:] == ["/a: gone", "/b: changed, ready", "/d: new, ready"]


def test_an_app_is_made_again_only_for_the_mount_whose_environment_has_changed(site, monkeypatch):
    monkeypatch.delenv("NAME_OF_THE_SHOP", raising=False)
    env = 'env = {{ NAME_OF_THE_SHOP = "{}" }}'.format
    site.load(shops(a=env("A"), b=env("B")), {"shop.py": FACTORY})
    assert (site.get("/a/"), site.get("/b/")) == ("A 1", "B 1")
    site.reload(shops(a=env("A"), b=env("C")))
    assert (site.get("/a/"), site.get("/b/")) == ("A 2", "C 1")
    assert "NAME_OF_THE_SHOP" not in os.environ


def test_what_stands_around_an_app_changes_too(site):
    cookie = BOTH["one.py"].replace('"text/plain")', '"text/plain"), ("Set-Cookie", "a=1; Path=/")')
    site.load(ONE, {"one.py": cookie})
    assert (site.get("/one"), site.answer("/one/")["Set-Cookie"]) == (308, "a=1; Path=/")
    site.reload('[mounts]\n"/one" = { app = "one:app", slash = "pass", cookies = "scoped" }\n')
    assert (site.get("/one"), site.answer("/one/")["Set-Cookie"]) == ("one 2", "a=1; Path=/one")


# ------------------------------------------------------------------------------------------ errors keep the old table


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("[mounts\n", ["mounts.toml:1:8: not TOML"]),
        (
            '[mounts]\n"/one" = { app = "two:app", colour = 1 }\n[extra]\n',
            ["colour: unknown key", "extra: unknown key"],
        ),
        ('[mounts]\n"/one" = "lost/two.py:app"\n', ["expected a folder, found nothing"]),
        ("", ["mounts: expected at least one mount"]),
        (None, ["no such file"]),
        (..., ["found a folder"]),
    ],
    ids=["no TOML", "two unknown keys", "no folder", "empty", "deleted", "a folder"],
)
def test_errors_in_the_file_keep_the_old_table_and_are_all_said(site, caplog, table, said):
    site.load(ONE, BOTH)
    if isinstance(table, str):
        site.change(table)
    else:
        (site.folder / "mounts.toml").unlink()
        if table is ...:
            (site.folder / "mounts.toml").mkdir()
    assert site.reload() == "not reloaded: errors in the file"
    assert site.tables == []
    assert site.get("/one/") == "one 1"
    message = caplog.messages[-1]
    assert message.startswith("not reloaded, the old table is kept:\n")
    assert all(text in message for text in said)


FAILURES = {
    "raises": "1 / 0\n",
    "exits": "raise SystemExit(3)\n",
    "is no Python": "def app(:\n",
    "has no app": "",
    "imports nothing": "import no_such_module\n",
}


@pytest.mark.parametrize("source", FAILURES.values(), ids=FAILURES)
def test_a_mount_that_worked_and_would_fail_keeps_the_whole_old_table(site, caplog, source):
    site.load(TWO, BOTH)
    site.get("/two/")
    table = '[mounts]\n"/two" = "bad:app"\n"/new" = "one:app"\n'
    assert site.reload(table, {"bad.py": source}) == "not reloaded: apps failed to load"
    assert site.tables == []
    assert (site.get("/one/"), site.get("/two/"), site.get("/new/")) == ("one 1", "two 2", 404)
    assert caplog.messages[-1] == "not reloaded, the old table is kept; worked, and would fail now: /two"
    assert "/two is broken: " in caplog.messages[-2]


@pytest.mark.parametrize("source", FAILURES.values(), ids=FAILURES)
def test_a_new_mount_that_fails_answers_503_and_the_rest_is_taken(site, caplog, source):
    site.load(ONE, BOTH)
    assert site.reload(TWO + '"/bad" = "bad:app"\n', {"bad.py": source}) == "3 mounts, 1 broken"
    assert (site.get("/one/"), site.get("/two/"), site.get("/bad/")) == ("one 1", "two 1", 503)
    assert any(message.startswith("/bad: new, broken: ") for message in caplog.messages)


@pytest.mark.parametrize("error", ["KeyboardInterrupt", "GeneratorExit"])
def test_whatever_an_import_raises_there_are_other_reloads(site, caplog, error):
    site.load(ONE, BOTH)
    site.reload(ONE + '"/bad" = "bad:app"\n', {"bad.py": f"raise {error}\n"})
    assert error in caplog.text
    assert site.get("/one/") == "one 1"
    assert site.reload(TWO) == "2 mounts, 0 broken"
    assert site.get("/two/") == "two 1"


@pytest.mark.parametrize("where", ["given", "in the old file", "in the new file"])
def test_with_strict_any_failure_keeps_the_old_table(site, caplog, where):
    in_file = "[server]\nstrict = true\n"
    site.load(
        in_file + ONE if where == "in the old file" else ONE, BOTH, **({"strict": True} if where == "given" else {})
    )
    bad = ("" if where == "given" else in_file) + TWO + '"/bad" = "bad:app"\n'
    assert site.reload(bad, {"bad.py": "1 / 0\n"}) == "not reloaded: apps failed to load"
    assert site.get("/two/") == 404
    assert caplog.messages[-1] == "not reloaded, the old table is kept; strict: failed to load: /bad"


def test_strict_that_the_new_file_no_longer_asks_for_holds_no_longer(site):
    site.load("[server]\nstrict = true\n" + ONE, BOTH)
    assert site.reload(ONE + '"/bad" = "bad:app"\n', {"bad.py": "1 / 0\n"}) == "2 mounts, 1 broken"


def test_what_goes_wrong_when_the_table_is_taken_is_said_and_ends_the_reload(site, caplog, monkeypatch):
    site.load(ONE, BOTH)
    monkeypatch.setattr(site.reloader, "_swap_table", lambda *_: 1 / 0)
    assert site.reload(TWO) == "the old table is kept"
    assert "ZeroDivisionError" in caplog.text


# -------------------------------------------------------------------------------------------------- the mending of one


@pytest.mark.parametrize("source", FAILURES.values(), ids=FAILURES)
def test_a_broken_mount_is_tried_again_and_its_mended_code_is_seen(site, source):
    """Also where the fix has the size of the mistake and its second, by which Python tells that bytecode is old."""
    mended = app("mended") + "#" * 300
    site.load(TWO.replace("two:", "bad:"), {**BOTH, "bad.py": source + "#" * (len(mended) - len(source))})
    os.utime(site.folder / "bad.py", (1, 1))
    assert (site.get("/one/"), site.get("/two/")) == ("one 1", 503)
    write(site.folder, {"bad.py": mended})
    os.utime(site.folder / "bad.py", (1, 1))
    assert site.reload() == "2 mounts, 0 broken"
    assert (site.get("/one/"), site.get("/two/")) == ("one 2", "mended 1")


def test_a_mount_that_stays_broken_keeps_nothing_from_the_others(site, caplog):
    site.load(ONE + '"/bad" = "bad:app"\n', {**BOTH, "bad.py": "1 / 0\n"})
    assert site.reload(TWO + '"/bad" = "bad:app"\n') == "3 mounts, 1 broken"
    assert (site.get("/two/"), site.get("/bad/")) == ("two 1", 503)
    assert caplog.messages[-1] == "/two: new, ready"


# -------------------------------------------------------------------------------------------------- names of modules

CLASH = '[mounts]\n"/a" = "a/web.py:app"\n"/b" = "b/web.py:app"\n'


def test_a_new_root_with_a_name_that_is_taken_is_refused_and_mended_by_renaming(site, caplog):
    site.load('[mounts]\n"/a" = "a/web.py:app"\n', {"a/web.py": app("a"), "b/web.py": app("b")})
    assert site.reload(CLASH) == "2 mounts, 1 broken"
    assert (site.get("/a/"), site.get("/b/")) == ("a 1", 503)
    assert "only one module of a name" in caplog.text
    (site.folder / "b/web.py").rename(site.folder / "b/blog.py")
    assert site.reload(CLASH.replace("b/web.py", "b/blog.py")) == "2 mounts, 0 broken"
    assert (site.get("/a/"), site.get("/b/")) == ("a 2", "b 1")


def test_the_modules_of_a_mount_that_has_gone_do_not_stand_for_those_of_a_new_one(site):
    files = {f"{key}/helper.py": f"name = '{key}'\n" for key in "ab"}
    files |= {f"{key}/{key}_web.py": f"import helper\n{app('{helper.name}')}" for key in "ab"}
    site.load(ONE + '"/a" = "a/a_web.py:app"\n', {**BOTH, **files})
    site.reload(ONE)
    assert site.reload(ONE + '"/b" = "b/b_web.py:app"\n') == "2 mounts, 1 broken"
    assert site.get("/b/") == 503  # and not "a 1"


def test_a_mount_that_moves_to_another_folder_with_the_same_names_keeps_the_old_table(site):
    site.load('[mounts]\n"/" = "v1/web.py:app"\n', {"v1/web.py": app("v1"), "v2/web.py": app("v2")})
    assert site.reload('[mounts]\n"/" = "v2/web.py:app"\n') == "not reloaded: apps failed to load"
    assert site.get("/") == "v1 1"


# ------------------------------------------------------------------------------------------------- what needs a restart


@pytest.mark.parametrize(
    ("server", "named"),
    [
        ("threads = 3", "server.threads"),
        ('listen = "127.0.0.1:1"', "server.listen"),
        ("connection_limit = 50", "server.connection_limit"),
        ('log_level = "debug"\naccess_log = false', "server.access_log, server.log_level"),
        ("channel_timeout = 9\nbacklog = 9", "server.backlog, server.channel_timeout"),
        ("[logging]\nversion = 1", "logging"),
        ("drain_timeout = 1\nheader_timeout = 2\nstrict = true", None),
        ("[proxy]\ntrusted = ['192.0.2.1']\nx_for = 1\n[doctor]\nkey = 'a-key-of-more-than-twenty-letters'", None),
    ],
)
def test_settings_that_need_a_restart_are_named(site, caplog, server, named):
    site.load(ONE, BOTH)
    for _ in range(2):  # it is so until there is a restart
        caplog.clear()
        assert site.reload(f"[server]\n{server}\n{ONE}") == "1 mounts, 0 broken"
        said = [message for message in caplog.messages if "restart" in message]
        assert said == ([f"not changed without a restart: {named}"] if named else [])


def test_settings_that_were_given_are_not_those_of_the_file(site, caplog):
    site.load(ONE, BOTH, threads=3, listen=["127.0.0.1:1"])
    site.reload('[server]\nthreads = 5\nlisten = "127.0.0.1:2"\n' + ONE)
    assert "restart" not in caplog.text


# -------------------------------------------------------------------------------------------------- code that is stale


def stale(caplog):
    """Return what was said, since the last time, of code that has changed."""
    said = [message.partition(", and")[0] for message in caplog.messages if "code has changed" in message]
    assert all("SIGUSR2" in message for message in caplog.messages if "code has changed" in message)
    caplog.clear()
    return said


def touch(file):
    os.utime(file, (time.time() + 60,) * 2)


def test_code_that_has_changed_is_named_and_not_taken(site, caplog):
    site.load('[mounts]\n"/a" = "a/one.py:app"\n"/b" = "b/two.py:app"\n', {"a/one.py": app("1"), "b/two.py": app("2")})
    site.reload()
    assert stale(caplog) == []
    write(site.folder, {"a/one.py": app("another")})
    touch(site.folder / "a/one.py")
    site.reload()
    assert stale(caplog) == ["/a: its code has changed (one.py)"]
    assert (site.get("/a/"), site.get("/b/")) == ("1 1", "2 1")


def test_code_that_came_with_a_reload_can_change_too(site, caplog):
    site.load(ONE, BOTH)
    site.reload('[mounts]\n"/one" = "one:app"\n"/later" = "later/three.py:app"\n', {"later/three.py": app("3")})
    os.utime(site.folder / "later/three.py", (time.time(),) * 2)  # a moment after it was loaded
    site.reload()
    assert stale(caplog) == ["/later: its code has changed (three.py)"]


def test_code_that_was_mended_is_not_stale(site, caplog):
    table = '[mounts]\n"/a" = "a/one.py:app"\n'
    site.load(table, {"a/one.py": "import helper\n1 / 0\n", "a/helper.py": ""})
    site.reload(table, {"a/one.py": f"import helper\n{app('1')}", "a/helper.py": "mended = True\n"})
    assert site.get("/a/") == "1 1"
    assert stale(caplog) == []


# --------------------------------------------------------------------------------------------- when the file is read


def test_a_file_that_is_half_written_is_read_when_it_is_whole(site, monkeypatch):
    """The first half of a table can be one."""
    site.load(TWO, BOTH)
    waits = []

    def sleep(seconds):
        assert 0 < seconds <= reload_module.SETTLE_SECONDS
        waits.append(seconds)
        if len(waits) < 3:
            with (site.folder / "mounts.toml").open("a") as file:
                file.write(f'"/{len(waits)}" = "one:app"\n')
        else:
            time.sleep(seconds)

    (site.folder / "mounts.toml").write_text(ONE)
    monkeypatch.setattr(reload_module, "time", SimpleNamespace(time=time.time, sleep=sleep))
    assert site.reload() == "3 mounts, 0 broken"
    assert site.tables == [["/one", "/1", "/2"]]
    assert len(waits) >= 3


def test_a_file_that_changes_while_it_is_read_is_read_again(site, monkeypatch):
    site.load(ONE, BOTH)
    reads = []

    def read(*arguments):
        config = load_config(*arguments)
        reads.append(config)
        if len(reads) == 1:
            site.change(TWO)
        return config

    monkeypatch.setattr(reload_module, "load_config", read)
    assert site.reload() == "2 mounts, 0 broken"
    assert len(reads) == 2


def test_a_file_from_the_future_is_read_nevertheless(site):
    site.load(ONE, BOTH)
    site.change(TWO)
    touch(site.folder / "mounts.toml")
    assert site.reload() == "2 mounts, 0 broken"


def test_asked_for_during_a_reload_there_is_one_more_afterwards(site):
    site.load(ONE, BOTH)
    go = threading.Event()
    sys.modules["gate_of_the_test"] = SimpleNamespace(wait=lambda: go.wait(PATIENCE), begun=threading.Event())
    try:
        code = "import gate_of_the_test as gate\ngate.begun.set()\ngate.wait()\n"
        site.change(ONE + '"/slow" = "slow:app"\n', {"slow.py": code + app("slow")})
        site.reloader.begin()
        assert sys.modules["gate_of_the_test"].begun.wait(PATIENCE)
        site.change(TWO)
        for _ in range(3):
            site.reloader.begin()
        go.set()
        assert [site.outcome(), site.outcome()] == ["2 mounts, 0 broken"] * 2
    finally:
        del sys.modules["gate_of_the_test"]
    for thread in threading.enumerate():
        if thread.name == "mountpoint-reload":
            thread.join(PATIENCE)
    assert site.tables == [["/one", "/slow"], ["/one", "/two"]]  # and there was no third
