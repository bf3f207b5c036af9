"""Receive the signals of the server while the main thread may be in the code of an app.

Python calls a signal handler in the main thread, between two instructions. The main thread loads apps, and a load may
block in C code, so a handler alone could wait for ever. Python's C code also writes the number of each signal to the
*wakeup descriptor* as soon as the signal comes (`signal.set_wakeup_fd`). A thread reads the numbers there.

Apps may replace both while they load. `mountpoint.loading.isolation` restores the handlers, and
`SignalReceiver.restore` the descriptor. Until then a handler of the server notices that its descriptor was replaced.
"""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any

from ..loading.forking import close_in_children

logger = logging.getLogger("mountpoint")


class SignalReceiver:
    """Calls *on_signal* with the number of each signal in *names* that this system has, in a thread of its own.

    Does nothing off the main thread, where Python allows no handlers.
    """

    def __init__(self, names: Sequence[str], on_signal: Callable[[int], object]) -> None:
        self._numbers = {number for name in names if (number := getattr(signal, name, None)) is not None}
        self._on_signal = on_signal
        self._previous_handlers: dict[int, Any] = {}  # by signal number
        self._sockets: tuple[socket.socket, socket.socket] | None = None
        self._has_thread = False

    def install(self) -> None:
        """Begin to receive signals."""
        if threading.current_thread() is not threading.main_thread():
            return
        reader, writer = self._sockets = socket.socketpair()
        writer.setblocking(False)
        with suppress(RuntimeError):  # no thread can be started: the handlers act themselves
            threading.Thread(target=self._read, args=(reader,), name="mountpoint-signals", daemon=True).start()
            self._has_thread = True
        self._wakeup(writer.fileno())
        for number in sorted(self._numbers):
            self._previous_handlers[number] = signal.signal(number, self._handle)
        close_in_children(self)

    def restore(self) -> None:
        """Undo the changes of an app that has just loaded: its wakeup descriptor, and handlers that may raise.

        An exception from a handler would be raised in the main thread, in the middle of the load of another app.
        """
        if self._sockets is None:
            return
        self._wakeup(self._sockets[1].fileno())
        for number in signal.valid_signals() - self._numbers:
            handler = signal.getsignal(number)
            if callable(handler) and not isinstance(handler, _Guard) and not _is_own(handler):
                signal.signal(number, _Guard(handler))

    def close(self) -> None:
        """Restore the handlers from before `install`."""
        if self._sockets is None:
            return
        for number, handler in self._previous_handlers.items():
            if handler is not None:  # None stands for a handler that was set in C
                signal.signal(number, handler)
        self._wakeup(-1)
        reader, writer = self._sockets
        self._sockets = None
        writer.close()  # ends the thread, which closes the reader
        if not self._has_thread:
            reader.close()

    def close_in_child(self) -> None:
        """Forget the signals in a forked child. Otherwise each of its signals would be reported to the server."""
        sockets, self._sockets = self._sockets, None
        if sockets is not None:
            self._wakeup(-1)
            for sock in sockets:
                sock.close()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Act on a signal if its number has not gone to the thread."""
        sockets = self._sockets
        if sockets is None:
            return
        previous = self._wakeup(sockets[1].fileno())
        if previous == sockets[1].fileno() and self._has_thread:
            return
        if previous != sockets[1].fileno() and previous != -1:
            self._wakeup(previous)  # the event loop of an app that loads needs it
        _call(self._on_signal, number)

    def _wakeup(self, descriptor: int) -> int:
        try:
            return signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
        except (ValueError, OSError):  # an app has closed the descriptor
            return -1

    def _read(self, reader: socket.socket) -> None:
        with reader, suppress(OSError):
            while numbers := reader.recv(256):
                for number in numbers:
                    if number in self._numbers:
                        _call(self._on_signal, number)


class _Guard:
    """A signal handler of an app. It logs the exceptions of the handler, because they would end the main thread."""

    def __init__(self, handler: Callable[[int, FrameType | None], object]) -> None:
        self._handler = handler

    def __call__(self, number: int, frame: FrameType | None) -> None:
        try:
            self._handler(number, frame)
        except BaseException:
            with suppress(BaseException):
                logger.exception("the handler of an app for %s raised; continuing", signal.Signals(number).name)


def _is_own(handler: Any) -> bool:
    """Whether *handler* is Python's, or one of this package."""
    module = getattr(handler, "__module__", None) or ""
    return handler is signal.default_int_handler or module.startswith("mountpoint.")


def _call(function: Callable[[int], object], number: int) -> None:
    try:
        function(number)
    except Exception:
        logger.exception("unhandled exception after %s; continuing", signal.Signals(number).name)
