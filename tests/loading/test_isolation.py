"""A load restores the state of the process that an app must not change for others."""

import logging
import logging.config
import os
import signal
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import pytest

from mountpoint.loading.isolation import preserve_process_state

CONSOLE = {"console": {"class": "logging.StreamHandler"}}


def child(code, cwd):
    """Run *code* in a child process, since it changes global state of the process, and return its stdout."""
    command = [
        sys.executable,
        "-P",
        "-W",
        "error",
        "-c",
        f"from mountpoint.loading.isolation import preserve_process_state\n{code}",
    ]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


# ------------------------------------------------------------------------------------------------------------ logging


class Recorder(logging.Handler):
    """A handler that records the messages until it is closed."""

    def __init__(self):
        super().__init__()
        self.messages = []

    def emit(self, record):
        self.messages.append(self.format(record))

    def close(self):
        self.emit = lambda record: None
        super().close()


@pytest.fixture(autouse=True)
def loggers():
    """Return `logging.getLogger`, and restore logging afterwards without the code under test."""
    root, listed, below = logging.root, logging._handlerList[:], logging.root.manager.disable
    names = set(root.manager.loggerDict)
    state = [(logger, vars(logger).copy(), logger.handlers[:], logger.filters[:]) for logger in every_logger()]
    yield logging.getLogger
    for name in set(root.manager.loggerDict) - names:
        del root.manager.loggerDict[name]
    for logger, attributes, handlers, filters in state:
        vars(logger).update(attributes, handlers=handlers, filters=filters)
    logging._handlerList[:] = listed
    logging.disable(below)


def every_logger():
    return [logging.root, *(one for one in logging.root.manager.loggerDict.values() if isinstance(one, logging.Logger))]


def configure(**dictionary):
    logging.config.dictConfig({"version": 1, "handlers": CONSOLE, **dictionary})


@pytest.mark.parametrize(
    "app",
    [
        lambda: logging.basicConfig(level="DEBUG", force=True),
        lambda: configure(root={"level": "DEBUG", "handlers": ["console"]}),
        lambda: configure(disable_existing_loggers=False, root={}),
        lambda: logging.root.setLevel("DEBUG"),
        lambda: logging.root.addHandler(logging.StreamHandler()),
        lambda: setattr(logging.root, "handlers", []),
        lambda: logging.root.addFilter(lambda record: False),
        lambda: setattr(logging.root, "disabled", True),
        lambda: logging.disable(logging.CRITICAL),
        lambda: [handler.setLevel(100) for handler in logging.root.handlers],
        lambda: [handler.setFormatter(logging.Formatter("not %(message)s")) for handler in logging.root.handlers],
        lambda: [handler.addFilter(lambda record: False) for handler in logging.root.handlers],
        lambda: [handler.close() for handler in logging.root.handlers],
        logging.shutdown,
    ],
)
def test_the_root_logger_and_its_handlers_are_restored(app):
    recorder = Recorder()
    logging.root.addHandler(recorder)
    logging.root.setLevel("INFO")
    before = (logging.root.level, logging.root.handlers[:], logging.root.filters[:])
    with preserve_process_state():
        app()
    assert (logging.root.level, logging.root.handlers, logging.root.filters) == before
    logging.info("still here")
    assert recorder.messages[-1] == "still here"


def test_the_root_logger_is_restored_after_a_load_that_raised():
    before = (logging.root.level, logging.root.handlers[:])
    with pytest.raises(ValueError, match="Unable to configure root"), preserve_process_state():
        configure(root={"level": "DEBUG", "handlers": ["console", "nowhere"]})
    assert (logging.root.level, logging.root.handlers) == before


def test_levels_that_loggers_have_cached_are_cleared(loggers):
    logging.root.setLevel("WARNING")
    with preserve_process_state():
        logging.root.setLevel("DEBUG")
        assert loggers("own").isEnabledFor(logging.DEBUG)
    assert not loggers("own").isEnabledFor(logging.DEBUG)


def test_an_app_cannot_disable_existing_loggers(loggers):
    names = ("mountpoint", "mountpoint.access", "waitress", "waitress.queue", "sibling")
    others = [loggers(name) for name in names]
    others[1].disabled = True  # as access_log = false does
    with preserve_process_state():
        configure(root={"handlers": ["console"]})
        assert others[0].disabled
    assert [logger.disabled for logger in others] == [False, True, False, False, False]


def test_a_logger_configured_before_the_load_is_restored(loggers):
    engine, recorder = loggers("library.engine"), Recorder()
    engine.addHandler(recorder)
    engine.setLevel("INFO")
    engine.propagate = False
    with preserve_process_state():
        configure(loggers={"library": {"handlers": ["console"]}})  # this resets all loggers below it
        assert engine.handlers == []
    assert (engine.level, engine.handlers, engine.propagate) == (logging.INFO, [recorder], False)


@pytest.mark.parametrize("name", ["own", "own.part", "library"])
def test_an_app_may_configure_a_logger_not_configured_before(loggers, name):
    loggers("library")
    with preserve_process_state():
        configure(loggers={name: {"level": "DEBUG", "handlers": ["console"], "propagate": False}})
    logger = loggers(name)
    assert (logger.level, len(logger.handlers), logger.propagate) == (logging.DEBUG, 1, False)


@pytest.mark.parametrize("name", ["mountpoint", "mountpoint.later", "waitress"])
def test_an_app_cannot_configure_the_loggers_of_the_server(loggers, name):
    before = vars(loggers("waitress"))["handlers"][:]
    with preserve_process_state():
        configure(loggers={name: {"level": "CRITICAL", "handlers": ["console"]}})
    assert loggers(name).level != logging.CRITICAL
    assert loggers("waitress").handlers == before


def test_a_load_that_raised_leaves_no_logging_configuration(loggers):
    with pytest.raises(ValueError, match="Unable to configure root"), preserve_process_state():
        configure(loggers={"own": {"level": "ERROR", "handlers": ["console"]}}, root={"handlers": ["nowhere"]})
    assert (loggers("own").level, loggers("own").handlers) == (logging.NOTSET, [])
    with preserve_process_state():
        loggers("own").setLevel("INFO")
    assert loggers("own").level == logging.INFO


def test_a_handler_can_be_closed_again_after_nested_loads():
    recorder, own_close = Recorder(), Recorder()
    vars(own_close)["close"] = close = lambda: None
    logging.root.handlers += [recorder, own_close]
    with preserve_process_state():
        with preserve_process_state():
            pass
        recorder.close()
        assert "emit" not in vars(recorder)
    assert vars(own_close)["close"] is close
    recorder.close()
    assert "emit" in vars(recorder)


class CollectedBetween(weakref.WeakValueDictionary):
    """A dictionary whose value is garbage-collected after its name was listed."""

    def __init__(self, handlers):
        super().__init__({handler.name: handler for handler in handlers})
        self.only_references = handlers

    def keys(self):
        names = list(super().keys())
        self.only_references.clear()
        return names


def test_a_handler_may_be_garbage_collected_while_a_load_begins(monkeypatch):
    handlers = [Recorder()]
    handlers[0].set_name("short-lived")
    monkeypatch.setattr(logging, "_handlers", CollectedBetween(handlers))
    with preserve_process_state():
        pass


@pytest.mark.parametrize(
    "app",
    [
        "logging.config.dictConfig({'version': 1})",
        "logging.basicConfig(force=True)",
        "logging.shutdown()",
    ],
)
@pytest.mark.parametrize("mode", ["a", "w"])
def test_a_log_file_of_the_server_stays_open(tmp_path, app, mode):
    server = f"""
import logging.config
from mountpoint.loading.logs import configure_logging
file = {{"class": "logging.FileHandler", "filename": "server.log", "mode": "{mode}"}}
configure_logging(None, dictionary={{"handlers": {{"file": file}}, "root": {{"handlers": ["file"], "level": "INFO"}}}})
logging.getLogger("mountpoint").info("before")
with preserve_process_state():
    {app}
logging.getLogger("mountpoint").info("after")
"""
    child(server, tmp_path)
    assert (tmp_path / "server.log").read_text().split() == ["before", "after"]


def test_a_buffering_handler_is_flushed_when_the_process_exits(tmp_path):
    server = """
import logging.config, logging.handlers, sys
buffer = logging.handlers.MemoryHandler(100, target=logging.StreamHandler(sys.stdout))
buffer.set_name("buffer")
logging.getLogger("sibling").addHandler(buffer)
with preserve_process_state():
    logging.config.dictConfig({"version": 1})
assert logging._handlers["buffer"] is buffer
logging.getLogger("sibling").warning("written at the end")
"""
    assert child(server, tmp_path) == "written at the end\n"


# ------------------------------------------------------------------------- working directory, signals and environment


def test_the_working_directory_is_restored(tmp_path):
    before = Path.cwd()
    with preserve_process_state():
        os.chdir(tmp_path)
    assert Path.cwd() == before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not delete the working directory of a process")
def test_a_deleted_working_directory_does_not_prevent_a_load(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    with preserve_process_state():
        os.chdir(tmp_path)
        (tmp_path / "gone").rmdir()
    assert Path.cwd() == tmp_path
    (tmp_path / "gone").mkdir()
    os.chdir("gone")
    (tmp_path / "gone").rmdir()
    with preserve_process_state():
        os.chdir(tmp_path)
    assert Path.cwd() == tmp_path


def test_env_is_set_during_the_load_only(monkeypatch):
    monkeypatch.setenv("MP_SET", "before")
    monkeypatch.setenv("MP_DELETED", "before")
    monkeypatch.delenv("MP_UNSET", raising=False)
    names = ("MP_SET", "MP_DELETED", "MP_UNSET")
    with preserve_process_state(env=dict.fromkeys(names, "loading")):
        assert [os.environ[name] for name in names] == ["loading"] * 3
        os.environ["MP_SET"] = "set by the app"
        del os.environ["MP_DELETED"], os.environ["MP_UNSET"]
    assert [os.environ.get(name) for name in names] == ["before", "before", None]


def test_env_is_restored_after_a_load_that_raised(monkeypatch):
    monkeypatch.delenv("MP_UNSET", raising=False)
    with pytest.raises(ZeroDivisionError), preserve_process_state(env={"MP_UNSET": "loading"}):
        raise ZeroDivisionError
    assert "MP_UNSET" not in os.environ


def test_variables_that_the_app_sets_stay(monkeypatch):
    monkeypatch.setenv("MP_SETTINGS", "set by another app")  # monkeypatch restores it
    with preserve_process_state(env={"MP_OTHER": "x"}):
        os.environ["MP_SETTINGS"] = "shop.settings"
    assert os.environ["MP_SETTINGS"] == "shop.settings"


@pytest.mark.skipif(sys.platform == "win32", reason="these are the signals of Unix")
def test_only_the_signals_of_the_server_are_restored(tmp_path):
    code = """
import signal
names = "SIGTERM SIGINT SIGHUP SIGUSR1 SIGUSR2 SIGPIPE SIGALRM SIGCHLD".split()
numbers = [getattr(signal, name) for name in names]
signal.signal(signal.SIGUSR1, server := lambda *_: None)
before = [signal.getsignal(number) for number in numbers]
def mine(*_): ...
with preserve_process_state():
    for number in numbers:
        signal.signal(number, mine)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
after = [signal.getsignal(number) for number in numbers]
assert after[:6] == before[:6] and server in after and signal.SIG_IGN in after, after
assert after[6:] == [mine, mine], after
"""
    child(code, tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signal masks")
@pytest.mark.parametrize("where", ["main thread", "another thread"])
@pytest.mark.parametrize("fails", [False, True])
def test_only_the_mask_of_the_servers_signals_is_restored(tmp_path, where, fails):
    code = f"""
import contextlib, signal, threading
signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGUSR1, signal.SIGURG}})  # as inherited
def load():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with contextlib.suppress(ZeroDivisionError), preserve_process_state():
        signal.pthread_sigmask(signal.SIG_UNBLOCK, before)
        signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGTERM, signal.SIGHUP, signal.SIGALRM}})
        1 / (not {fails})
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before - {{signal.SIGURG}} | {{signal.SIGALRM}}
    done.append(True)
done = []
if {where!r} == "main thread":
    load()
else:
    thread = threading.Thread(target=load)
    thread.start()
    thread.join()
assert done
"""
    child(code, tmp_path)


def test_a_signal_handler_set_in_c_is_left_alone(monkeypatch):
    monkeypatch.setattr(signal, "getsignal", lambda number: None)  # as for a handler that was set in C
    with preserve_process_state():
        monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_DFL)


def test_a_load_on_another_thread_leaves_signals_alone(tmp_path):
    code = """
import signal, threading
inside, changed, done = threading.Event(), threading.Event(), []
def load():
    with preserve_process_state():
        inside.set()
        changed.wait()
    done.append(True)
thread = threading.Thread(target=load)
thread.start()
inside.wait()
signal.signal(signal.SIGTERM, server := lambda *_: None)
changed.set()
thread.join()
assert done and signal.getsignal(signal.SIGTERM) is server
"""
    child(code, tmp_path)


def test_the_working_directory_is_restored_on_any_thread(tmp_path):
    before, done = Path.cwd(), []

    def load():
        with preserve_process_state():
            os.chdir(tmp_path)
        done.append(Path.cwd())

    thread = threading.Thread(target=load)
    thread.start()
    thread.join()
    assert done == [before]


def test_the_arguments_are_restored_after_loads_at_the_same_time():
    before = sys.argv
    first, second = preserve_process_state(program="one.py"), preserve_process_state(program="two.py")
    first.__enter__()
    second.__enter__()
    assert sys.argv == ["two.py"]
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    assert sys.argv is before
