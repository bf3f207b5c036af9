"""Reloads in one process: which changes of the table take effect, and which failures keep the old one.

The signal itself is in serving/test_sighup.py.
"""

import os

import pytest
from support.reloading import BOTH, ONE, TWO, app
from support.tables import write

# ------------------------------------------------------------------------------------------------------------- changes


def test_removed_changed_and_new_mounts_take_effect_and_are_logged(site, caplog):
    site.load(TWO, BOTH)
    assert site.reload(
        '[mounts]\n"/two" = "three:app"\n"/new" = "new:app"\n', {"three.py": app("3"), "new.py": app("new")}
    )
    assert (site.get("/one"), site.get("/two/"), site.get("/new/")) == (404, "3 1", "new 1")
    assert caplog.messages[1:] == ["/one: removed", "/two: changed, ready", "/new: new, ready"]


#: The source of a factory. A counter that goes on shows that an app was kept.
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
    """Return a table with an app of FACTORY at each key of *settings*, whose values are TOML."""
    rows = [f'"/{key}" = {{ app = "shop:make()", {setting} }}\n' for key, setting in settings.items()]
    return "[mounts]\n" + "".join(rows)


def test_a_mount_keeps_its_app_unless_the_app_setting_changes(site, caplog):
    site.load(shops(a="limit = 3", b="limit = 3", c="limit = 3"), {"shop.py": FACTORY})
    for key in "abc":
        assert site.get(f"/{key}/") == " 1"
    other = 'cookies = "scoped", slash = "pass", limit = 2, queue = 5, slow_after = 1, max_body = 9'
    site.reload(shops(c="limit = 3", b=other, d="limit = 1"))
    assert [site.get(f"/{key}/") for key in "abcd"] == [404, " 2", " 2", " 1"]
    assert caplog.messages[1:] == ["/a: removed", "/b: changed, ready", "/d: new, ready"]


def test_a_changed_environment_makes_the_app_of_its_mount_again(site, monkeypatch):
    monkeypatch.delenv("NAME_OF_THE_SHOP", raising=False)
    env = 'env = {{ NAME_OF_THE_SHOP = "{}" }}'.format
    site.load(shops(a=env("A"), b=env("B")), {"shop.py": FACTORY})
    assert (site.get("/a/"), site.get("/b/")) == ("A 1", "B 1")
    site.reload(shops(a=env("A"), b=env("C")))
    assert (site.get("/a/"), site.get("/b/")) == ("A 2", "C 1")
    assert "NAME_OF_THE_SHOP" not in os.environ


def test_slash_and_cookies_of_a_mount_change_too(site):
    cookie = BOTH["one.py"].replace('"text/plain")', '"text/plain"), ("Set-Cookie", "a=1; Path=/")')
    site.load(ONE, {"one.py": cookie})
    assert (site.get("/one"), site.response("/one/")["Set-Cookie"]) == (308, "a=1; Path=/")
    site.reload('[mounts]\n"/one" = { app = "one:app", slash = "pass", cookies = "scoped" }\n')
    assert (site.get("/one"), site.response("/one/")["Set-Cookie"]) == ("one 2", "a=1; Path=/one")


# ------------------------------------------------------------------------------------------ errors keep the old table


@pytest.mark.parametrize(
    ("table", "logged"),
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
    ids=["not TOML", "two unknown keys", "no folder", "empty", "deleted", "a folder"],
)
def test_errors_in_the_file_keep_the_old_table_and_are_all_logged(site, caplog, table, logged):
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
    assert all(text in message for text in logged)


FAILURES = {
    "raises": "1 / 0\n",
    "exits": "raise SystemExit(3)\n",
    "is not Python": "def app(:\n",
    "has no app": "",
    "imports nothing": "import no_such_module\n",
}


@pytest.mark.parametrize("source", FAILURES.values(), ids=FAILURES)
def test_a_failure_of_a_mount_that_worked_keeps_the_old_table(site, caplog, source):
    site.load(TWO, BOTH)
    site.get("/two/")
    table = '[mounts]\n"/two" = "bad:app"\n"/new" = "one:app"\n'
    assert site.reload(table, {"bad.py": source}) == "not reloaded: apps failed to load"
    assert site.tables == []
    assert (site.get("/one/"), site.get("/two/"), site.get("/new/")) == ("one 1", "two 2", 404)
    assert caplog.messages[-1] == "not reloaded, the old table is kept; worked before, and failed to load: /two"
    assert "/two is broken: " in caplog.messages[-2]


@pytest.mark.parametrize("source", FAILURES.values(), ids=FAILURES)
def test_a_new_mount_that_fails_answers_503_and_the_rest_works(site, caplog, source):
    site.load(ONE, BOTH)
    assert site.reload(TWO + '"/bad" = "bad:app"\n', {"bad.py": source}) == "3 mounts, 1 broken"
    assert (site.get("/one/"), site.get("/two/"), site.get("/bad/")) == ("one 1", "two 1", 503)
    assert any(message.startswith("/bad: new, broken: ") for message in caplog.messages)


@pytest.mark.parametrize("error", ["KeyboardInterrupt", "GeneratorExit"])
def test_any_exception_of_an_import_leaves_later_reloads_possible(site, caplog, error):
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


def test_a_new_file_without_strict_is_not_strict(site):
    site.load("[server]\nstrict = true\n" + ONE, BOTH)
    assert site.reload(ONE + '"/bad" = "bad:app"\n', {"bad.py": "1 / 0\n"}) == "2 mounts, 1 broken"


def test_an_exception_while_the_table_is_swapped_ends_the_reload(site, caplog):
    site.load(ONE, BOTH)
    site.swap_error = ZeroDivisionError()
    assert site.reload(TWO) == "the old table is kept"
    assert "ZeroDivisionError" in caplog.text


# --------------------------------------------------------------------------------------------- repair of broken mounts


@pytest.mark.parametrize("source", FAILURES.values(), ids=FAILURES)
def test_a_broken_mount_is_loaded_again_with_its_repaired_code(site, source):
    """Also if both versions have the same size and time, by which Python recognises old bytecode."""
    repaired = app("repaired") + "#" * 300
    site.load(TWO.replace("two:", "bad:"), {**BOTH, "bad.py": source + "#" * (len(repaired) - len(source))})
    os.utime(site.folder / "bad.py", (1, 1))
    assert (site.get("/one/"), site.get("/two/")) == ("one 1", 503)
    write(site.folder, {"bad.py": repaired})
    os.utime(site.folder / "bad.py", (1, 1))
    assert site.reload() == "2 mounts, 0 broken"
    assert (site.get("/one/"), site.get("/two/")) == ("one 2", "repaired 1")


def test_a_mount_that_stays_broken_does_not_hold_up_the_others(site, caplog):
    site.load(ONE + '"/bad" = "bad:app"\n', {**BOTH, "bad.py": "1 / 0\n"})
    assert site.reload(TWO + '"/bad" = "bad:app"\n') == "3 mounts, 1 broken"
    assert (site.get("/two/"), site.get("/bad/")) == ("two 1", 503)
    assert caplog.messages[-1] == "/two: new, ready"


# -------------------------------------------------------------------------------------------------- names of modules

CLASH = '[mounts]\n"/a" = "a/web.py:app"\n"/b" = "b/web.py:app"\n'


def test_a_name_clash_breaks_the_new_mount_until_it_is_renamed(site, caplog):
    site.load('[mounts]\n"/a" = "a/web.py:app"\n', {"a/web.py": app("a"), "b/web.py": app("b")})
    assert site.reload(CLASH) == "2 mounts, 1 broken"
    assert (site.get("/a/"), site.get("/b/")) == ("a 1", 503)
    assert "only one module of each name" in caplog.text
    (site.folder / "b/web.py").rename(site.folder / "b/blog.py")
    assert site.reload(CLASH.replace("b/web.py", "b/blog.py")) == "2 mounts, 0 broken"
    assert (site.get("/a/"), site.get("/b/")) == ("a 2", "b 1")


def test_a_new_mount_never_gets_the_modules_of_a_removed_one(site):
    files = {f"{key}/helper.py": f"name = '{key}'\n" for key in "ab"}
    files |= {f"{key}/{key}_web.py": f"import helper\n{app('{helper.name}')}" for key in "ab"}
    site.load(ONE + '"/a" = "a/a_web.py:app"\n', {**BOTH, **files})
    site.reload(ONE)
    assert site.reload(ONE + '"/b" = "b/b_web.py:app"\n') == "2 mounts, 1 broken"
    assert site.get("/b/") == 503  # and not "a 1"


def test_a_move_to_a_folder_with_the_same_names_keeps_the_old_table(site):
    site.load('[mounts]\n"/" = "v1/web.py:app"\n', {"v1/web.py": app("v1"), "v2/web.py": app("v2")})
    assert site.reload('[mounts]\n"/" = "v2/web.py:app"\n') == "not reloaded: apps failed to load"
    assert site.get("/") == "v1 1"
