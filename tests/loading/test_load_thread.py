"""Loads in the main thread that other threads ask for, and loads that are given up."""

import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest
from support.waiting import TIMEOUT, wait_until

from mountpoint.loading import load_thread
from mountpoint.loading.app_thread import AppThread, running_app_threads
from mountpoint.loading.load_thread import GivenUp, LoadThread

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot interrupt a thread")


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(load_thread, "STUCK_SECONDS", 0.2)


def run(use):
    """Call *use* with a `LoadThread` in another thread, while this one runs its loads. Return the result of *use*."""
    thread, results = LoadThread(), []

    def call():
        try:
            results.append(use(thread))
        except BaseException as error:
            results.append(error)
        finally:
            results.append(thread.stop())

    caller = threading.Thread(target=call)
    caller.start()
    thread.run()
    caller.join(TIMEOUT)
    if isinstance(results[0], BaseException):
        raise results[0]
    return results[0]


def value(thread, load, on_wait=lambda seconds: True):
    begun = thread.start(load)
    assert thread.wait(begun, on_wait)
    return begun.result()


def test_a_load_runs_in_the_thread_that_calls_run():
    assert run(lambda thread: value(thread, threading.current_thread)) is threading.main_thread()


def test_an_exception_of_a_load_reaches_the_thread_that_asked():
    with pytest.raises(ZeroDivisionError):
        run(lambda thread: value(thread, lambda: 1 / 0))


def test_an_observer_hears_the_seconds_and_may_stop_waiting():
    go, heard = threading.Event(), []

    def use(thread):
        begun = thread.start(lambda: go.wait(TIMEOUT))
        assert not thread.wait(begun, heard.append)
        assert not begun.is_given_up
        go.set()
        assert thread.wait(begun, lambda seconds: True)
        return begun.result()

    assert run(use)
    assert 0 < heard[0] < TIMEOUT


def give_up(thread, load):
    """Start *load*, give it up once it runs, and return it."""
    begun = thread.start(load)
    wait_until(lambda: begun.thread)

    def on_wait(seconds):
        raise TimeoutError

    with pytest.raises(TimeoutError):
        thread.wait(begun, on_wait)
    return begun


def test_a_load_that_is_given_up_ends_and_the_thread_is_free_again():
    def use(thread):
        begun = give_up(thread, lambda: time.sleep(TIMEOUT))
        with pytest.raises(GivenUp):
            begun.result()
        return value(thread, threading.current_thread)

    assert run(use) is threading.main_thread()


def stubborn(go):
    """Wait for *go*, whatever is raised."""
    while not go.is_set():
        with suppress(BaseException):
            go.wait(TIMEOUT)


def test_loads_run_in_new_threads_while_one_is_stuck():
    go = threading.Event()

    def use(thread):
        begun = give_up(thread, lambda: stubborn(go))
        assert begun.is_stuck
        others = [value(thread, threading.current_thread) for _ in range(2)]
        is_stopped = thread.stop()
        go.set()
        return others, is_stopped

    others, is_stopped = run(use)
    assert [type(other) for other in others] == [AppThread, AppThread]
    assert not is_stopped


def test_a_load_that_was_given_up_elsewhere_makes_room_for_the_next():
    def use(thread):
        begun = thread.start(lambda: time.sleep(TIMEOUT))
        wait_until(lambda: begun.thread)
        assert thread.current is begun
        thread.give_up()
        return value(thread, threading.current_thread)

    assert run(use) is threading.main_thread()


def test_no_load_starts_after_the_stop():
    def use(thread):
        thread.give_up()  # there is none
        assert thread.stop()
        thread.start(lambda: None)

    with pytest.raises(GivenUp):
        run(use)


def test_the_handler_of_the_signal_is_restored():
    before = signal.getsignal(signal.SIGURG)
    run(lambda thread: None)
    assert signal.getsignal(signal.SIGURG) == before


def test_off_the_main_thread_loads_run_and_cannot_be_interrupted():
    results = []
    other = threading.Thread(target=lambda: results.append(run(lambda thread: value(thread, threading.current_thread))))
    other.start()
    other.join(TIMEOUT)
    assert results == [other]


# -------------------------------------------------------------------------------------------------- threads of apps


def test_a_thread_of_an_app_thread_is_no_daemon_unless_it_says_so():
    go, children, own = threading.Event(), [], []

    def serve():
        children.extend([threading.Thread(target=go.wait), threading.Thread(target=go.wait, daemon=True)])
        for child in children:
            child.start()
        own.extend(running_app_threads())
        go.wait(TIMEOUT)

    thread = AppThread(target=serve)
    assert thread.daemon
    thread.start()
    wait_until(lambda: own)
    assert [child.daemon for child in children] == [False, True]
    assert children[0] in own
    assert not {thread, children[1], threading.main_thread()} & {*own, *running_app_threads()}
    go.set()
    for one in (thread, *children):
        one.join(TIMEOUT)


def test_python_does_not_wait_for_an_app_thread():
    code = """
import threading, time
from mountpoint.loading.app_thread import AppThread
thread = AppThread(target=threading.Event().wait)
thread.start()
while thread.daemon:
    time.sleep(0.001)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=TIMEOUT)
