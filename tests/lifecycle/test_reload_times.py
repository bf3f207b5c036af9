"""Reloads in one process: settings that need a restart, stale code, and the moment at which the file is read."""

import os
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from support.reloading import BOTH, ONE, TWO, app
from support.tables import write
from support.waiting import TIMEOUT

from mountpoint.config.reader import load_config
from mountpoint.lifecycle import reload as reload_module

# --------------------------------------------------------------------------------------- settings that need a restart


@pytest.mark.parametrize(
    ("server", "named"),
    [
        ("threads = 3", "server.threads"),
        ('listen = "127.0.0.1:1"', "server.listen"),
        ("connection_limit = 50", "server.connection_limit"),
        ('log_level = "debug"\naccess_log = false', "server.access_log, server.log_level"),
        ("channel_timeout = 9\nbacklog = 9", "server.backlog, server.channel_timeout"),
        ("[logging]\nversion = 1", "logging"),
        ('[status]\nlisten = "127.0.0.1:1"\nkey = "a-key-of-more-than-twenty-letters"', "status.listen, status.key"),
        ("drain_timeout = 1\nheader_timeout = 2\nstrict = true\nrequest_id = true\naccess_log_exclude = ['/up']", None),
        ("body_timeout = 3\nbody_min_rate = 9\nmax_buffered_bodies = 0", None),
        ("[proxy]\ntrusted = ['192.0.2.1']\nx_for = 1\n[doctor]\nkey = 'a-key-of-more-than-twenty-letters'", None),
    ],
)
def test_settings_that_need_a_restart_are_logged(site, caplog, server, named):
    site.load(ONE, BOTH)
    for _ in range(2):  # the second reload logs them again
        caplog.clear()
        assert site.reload(f"[server]\n{server}\n{ONE}") == "1 mounts, 0 broken"
        said = [message for message in caplog.messages if "new process" in message]
        text = f"these changed settings take effect in a new process: {named}; stop the server and start it again, or "
        assert said == ([f"{text}run kill -USR2 {os.getpid()}"] if named else [])


def test_options_override_the_file_after_a_reload_too(site, caplog):
    site.load(ONE, BOTH, threads=3, listen=["127.0.0.1:1"])
    site.reload('[server]\nthreads = 5\nlisten = "127.0.0.1:2"\n' + ONE)
    assert "new process" not in caplog.text


# ---------------------------------------------------------------------------------------------------------- stale code


def stale(caplog):
    """Return the lines on changed code since the last call."""
    said = [message.partition(", but")[0] for message in caplog.messages if "code has changed" in message]
    assert all(f"kill -USR2 {os.getpid()}" in message for message in caplog.messages if "code has changed" in message)
    caplog.clear()
    return said


def touch(file):
    os.utime(file, (time.time() + 60,) * 2)


def test_changed_code_is_logged_and_not_loaded(site, caplog):
    site.load('[mounts]\n"/a" = "a/one.py:app"\n"/b" = "b/two.py:app"\n', {"a/one.py": app("1"), "b/two.py": app("2")})
    site.reload()
    assert stale(caplog) == []
    write(site.folder, {"a/one.py": app("another")})
    touch(site.folder / "a/one.py")
    site.reload()
    assert stale(caplog) == ["/a: its code has changed (one.py)"]
    assert (site.get("/a/"), site.get("/b/")) == ("1 1", "2 1")


def test_code_that_a_reload_has_loaded_can_become_stale_too(site, caplog):
    site.load(ONE, BOTH)
    site.reload('[mounts]\n"/one" = "one:app"\n"/later" = "later/three.py:app"\n', {"later/three.py": app("3")})
    os.utime(site.folder / "later/three.py", (time.time(),) * 2)  # a moment after it was loaded
    site.reload()
    assert stale(caplog) == ["/later: its code has changed (three.py)"]


def test_repaired_code_is_not_stale(site, caplog):
    table = '[mounts]\n"/a" = "a/one.py:app"\n'
    site.load(table, {"a/one.py": "import helper\n1 / 0\n", "a/helper.py": ""})
    site.reload(table, {"a/one.py": f"import helper\n{app('1')}", "a/helper.py": "repaired = True\n"})
    assert site.get("/a/") == "1 1"
    assert stale(caplog) == []


@pytest.mark.parametrize("change", ["upgrade", "upgrade with an old time", "removal"])
def test_an_installed_package_that_has_changed_is_logged(site, caplog, tmp_path_factory, monkeypatch, change):
    package = f"package_{change.replace(' ', '_')}"
    library = tmp_path_factory.mktemp("library")
    monkeypatch.syspath_prepend(str(library))
    write(library, {f"{package}/__init__.py": "", f"{package}/part.py": "version = 1\n"})
    site.load(ONE, {"one.py": f"import {package}.part\n{app('1')}"})
    site.reload()
    assert "outside the roots" not in caplog.text
    part = library / package / "part.py"
    if change == "removal":
        part.unlink()
    else:
        write(library, {f"{package}/new.py": "version = 22\n"}).joinpath(f"{package}/new.py").replace(part)
        if change == "upgrade with an old time":
            os.utime(part, (1, 1))
    site.reload()
    assert (
        f"packages outside the roots have changed ({package}), but a reload keeps loaded modules; start a new process "
        f"with the new code: kill -USR2 {os.getpid()}\n"
    ) in caplog.text
    assert site.get("/one/") == "1 1"


# -------------------------------------------------------------------------------------------- when the file is read


def test_a_half_written_file_is_read_once_it_is_complete(site, monkeypatch):
    """The first half of a table can be a valid table."""
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
    monkeypatch.setattr(reload_module, "time", SimpleNamespace(time=time.time, monotonic=time.monotonic, sleep=sleep))
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


def test_a_file_with_a_time_in_the_future_is_read(site):
    site.load(ONE, BOTH)
    site.change(TWO)
    touch(site.folder / "mounts.toml")
    assert site.reload() == "2 mounts, 0 broken"


def test_requests_during_a_reload_cause_one_more_reload(site):
    site.load(ONE, BOTH)
    go = threading.Event()
    sys.modules["gate_of_the_test"] = SimpleNamespace(wait=lambda: go.wait(TIMEOUT), entered=threading.Event())
    try:
        code = "import gate_of_the_test as gate\ngate.entered.set()\ngate.wait()\n"
        site.change(ONE + '"/slow" = "slow:app"\n', {"slow.py": code + app("slow")})
        site.reloader.start()
        assert sys.modules["gate_of_the_test"].entered.wait(TIMEOUT)
        site.change(TWO)
        for _ in range(3):
            site.reloader.start()
        go.set()
        assert [site.outcome(), site.outcome()] == ["2 mounts, 0 broken"] * 2
    finally:
        del sys.modules["gate_of_the_test"]
    for thread in threading.enumerate():
        if thread.name == "mountpoint-reload":
            thread.join(TIMEOUT)
    assert site.tables == [["/one", "/slow"], ["/one", "/two"]]  # no third one
