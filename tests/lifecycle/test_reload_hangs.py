"""Reloads that hang, and reloads for which the system has no thread."""

import os
import sys
import threading
from types import SimpleNamespace

import pytest
from support.reloading import BOTH, ONE, TWO, app
from support.waiting import TIMEOUT, wait_until

from mountpoint.errors import UnreadableError
from mountpoint.lifecycle import reload as reload_module

SLOW = ONE + '"/slow" = "slow:app"\n"/after" = "after:app"\n'


@pytest.fixture
def hang():
    """Yield the gate at which the import of the app /slow hangs until the test ends."""
    go = threading.Event()
    gate = SimpleNamespace(wait=lambda: go.wait(TIMEOUT), entered=threading.Event(), go=go)
    sys.modules["gate_of_the_test"] = gate
    yield gate
    go.set()
    for thread in threading.enumerate():
        if thread.name == "mountpoint-reload":
            thread.join(TIMEOUT)
    del sys.modules["gate_of_the_test"]


def begin(site, hang):
    """Begin a reload that hangs at /slow."""
    code = "import gate_of_the_test as gate\ngate.entered.set()\ngate.wait()\n"
    site.change(SLOW, {"slow.py": code + app("slow"), "after.py": "raise SystemExit('loaded after all')"})
    site.reloader.start()
    assert hang.entered.wait(TIMEOUT)


def test_a_second_signal_logs_where_the_reload_is(site, caplog, hang):
    site.load(ONE, BOTH)
    begin(site, hang)
    site.reloader.start()
    [message] = [message for message in caplog.messages if "a reload runs already" in message]
    assert "it is loading /slow, at:\n" in message
    assert 'slow.py", line 3, in <module>\n    gate.wait()' in message


def test_a_second_signal_supersedes_a_reload_that_hangs(site, caplog, hang, monkeypatch):
    site.load(ONE, BOTH)
    begin(site, hang)
    site.change(TWO)
    monkeypatch.setattr(reload_module, "HANG_SECONDS", 0)
    assert site.reload() == "2 mounts, 0 broken"
    assert site.tables == [["/one", "/two"]]
    assert "the reload that loads /slow hangs; it is given up, and another one begins" in caplog.messages
    hang.go.set()
    wait_until(lambda: "a reload that was given up has ended; it changes nothing" in caplog.messages)
    assert site.tables == [["/one", "/two"]]
    assert "after" not in sys.modules
    assert site.reload() == "2 mounts, 0 broken"


def test_a_reload_that_was_asked_for_begins_once_the_other_one_hangs(site, hang, monkeypatch):
    site.load(ONE, BOTH)
    begin(site, hang)
    site.reloader.start_pending()  # not asked for
    site.change(TWO)
    site.reloader.start()
    site.reloader.start_pending()  # the loop calls it, and the first one has not run for long enough yet
    assert site.tables == []
    monkeypatch.setattr(reload_module, "HANG_SECONDS", 0)
    site.reloader.start_pending()
    assert site.outcome() == "2 mounts, 0 broken"


def no_thread(*_):
    raise RuntimeError("can't start new thread")


def test_a_reload_without_a_free_thread_is_retried_at_the_next_signal(site, caplog, monkeypatch):
    site.load(ONE, BOTH)
    with monkeypatch.context() as context:
        context.setattr(threading.Thread, "start", no_thread)
        assert site.reload(TWO) == "not reloaded: no thread could be started"
    assert "not reloaded, the old table is kept: can't start new thread; send SIGHUP again" in caplog.messages
    assert site.reload() == "2 mounts, 0 broken"


def test_a_reload_continues_after_a_log_handler_that_raised(site, monkeypatch):
    site.load(ONE, BOTH)
    with monkeypatch.context() as context:
        context.setattr(threading, "excepthook", lambda *_: None)
        context.setattr(reload_module.logger, "info", no_thread)
        context.setattr(reload_module.logger, "exception", no_thread)
        site.change(TWO)
        site.reloader.start()
        wait_until(lambda: site.reloader._current is None)
    assert site.reload() == "2 mounts, 0 broken"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no FIFOs in folders")
def test_a_table_that_becomes_a_fifo_keeps_the_old_one(site, caplog):
    site.load(ONE, BOTH)
    (site.folder / "mounts.toml").unlink()
    os.mkfifo(site.folder / "mounts.toml")
    site.reloader.start()
    assert site.outcome() == "not reloaded: errors in the file"
    assert "expected a regular file, found a FIFO; write the table into a file" in caplog.text
    with pytest.raises(UnreadableError):
        reload_module.load_config(site.folder / "mounts.toml")
    (site.folder / "mounts.toml").unlink()
    assert site.reload(TWO) == "2 mounts, 0 broken"
