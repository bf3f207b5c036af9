"""Signals reach the server while its main thread is elsewhere, and handlers of apps raise into no other code."""

import os
import queue
import signal
import socket
import sys
import threading

import pytest
from support.waiting import TIMEOUT, wait_until

from mountpoint.lifecycle.signals import SignalReceiver
from mountpoint.loading.signal_guard import guarded_handlers

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGUSR1")


@pytest.fixture
def received():
    """Yield a receiver for SIGUSR1, and the queue of the numbers that it has received."""
    numbers = queue.Queue()
    receiver = SignalReceiver(["SIGUSR1", "SIGNONE"], numbers.put)
    receiver.install()
    receiver.numbers = numbers
    yield receiver
    receiver.close()


def send(number=signal.SIGUSR1):
    os.kill(os.getpid(), number)


def test_each_signal_is_received_once(received):
    for _ in range(3):
        send()
        assert received.numbers.get(timeout=TIMEOUT) == signal.SIGUSR1
    assert received.numbers.empty()


def test_a_signal_whose_descriptor_an_app_has_replaced_is_received(received):
    reader, other = socket.socketpair()
    with reader, other:
        other.setblocking(False)
        signal.set_wakeup_fd(other.fileno(), warn_on_full_buffer=False)
        send()
        assert received.numbers.get(timeout=TIMEOUT) == signal.SIGUSR1
        assert signal.set_wakeup_fd(other.fileno(), warn_on_full_buffer=False) == other.fileno()
        received.restore()
        send()
        assert received.numbers.get(timeout=TIMEOUT) == signal.SIGUSR1
    assert received.numbers.empty()


def test_a_receiver_without_a_thread_acts_in_the_handler(monkeypatch):
    numbers = []
    receiver = SignalReceiver(["SIGUSR1"], numbers.append)
    with monkeypatch.context() as context:
        context.setattr(threading.Thread, "start", lambda _: (_ for _ in ()).throw(RuntimeError("no thread")))
        receiver.install()
    send()
    assert numbers == [signal.SIGUSR1]
    receiver.close()


def test_an_exception_after_a_signal_is_logged(caplog):
    receiver = SignalReceiver(["SIGUSR1"], lambda number: 1 / 0)
    receiver.install()
    send()
    wait_until(lambda: "unhandled exception after SIGUSR1; continuing" in caplog.messages)
    receiver.close()


def test_close_restores_the_handlers_and_the_descriptor():
    before = signal.getsignal(signal.SIGUSR1)
    receiver = SignalReceiver(["SIGUSR1"], print)
    receiver.install()
    receiver.close()
    receiver.close()
    receiver.restore()
    assert signal.getsignal(signal.SIGUSR1) == before
    assert signal.set_wakeup_fd(-1) == -1


def test_off_the_main_thread_nothing_is_installed():
    before = signal.getsignal(signal.SIGUSR1)
    receiver = SignalReceiver(["SIGUSR1"], print)
    thread = threading.Thread(target=receiver.install)
    thread.start()
    thread.join(TIMEOUT)
    assert signal.getsignal(signal.SIGUSR1) == before
    receiver.close()


# -------------------------------------------------------------------------------------------------- handlers of apps


@pytest.fixture
def restored():
    """Restore the handler of SIGUSR2."""
    before = signal.getsignal(signal.SIGUSR2)
    yield
    signal.signal(signal.SIGUSR2, before)


def boom(number, frame):
    raise TimeoutError("too late")


@pytest.mark.usefixtures("restored")
def test_a_handler_raises_during_its_load_and_is_logged_after_it(caplog):
    with guarded_handlers():
        signal.signal(signal.SIGUSR2, boom)
        with pytest.raises(TimeoutError):
            signal.raise_signal(signal.SIGUSR2)
    for _ in range(3):  # a timer may call it often, so one exception is logged
        signal.raise_signal(signal.SIGUSR2)
    assert caplog.messages == ["the handler of an app for SIGUSR2 raised; continuing"]
    assert "TimeoutError: too late" in caplog.text


@pytest.mark.usefixtures("restored")
def test_a_handler_is_guarded_once_and_default_actions_stay():
    with guarded_handlers():
        signal.signal(signal.SIGUSR2, boom)
    guarded = signal.getsignal(signal.SIGUSR2)
    with guarded_handlers():
        pass
    assert signal.getsignal(signal.SIGUSR2) is guarded
    assert signal.getsignal(signal.SIGINT) in (signal.default_int_handler, signal.SIG_IGN)
