"""Receive the signals of the server while the main thread may be in the code of an app.

Python calls a signal handler in the main thread, between two instructions. The main thread loads apps, and a load may
block in C code, so a handler alone could wait for ever. Python's C code also writes the number of each signal to the
*wakeup descriptor* as soon as the signal comes (`signal.set_wakeup_fd`). A thread reads the numbers there.

Apps may replace both while they load. `mountpoint.loading.isolation` restores the handlers, and
`SignalReceiver.restore` the descriptor. A number that went to the descriptor of an app is not lost, because the handler
sends a mark to the thread.
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

_MARK = 128  # is added to the number of a signal whose handler Python has called; numbers are smaller

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
        """Restore the wakeup descriptor, which an app that has just loaded may have replaced."""
        if self._sockets is not None:
            self._wakeup(self._sockets[1].fileno())

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
        """Send a mark to the thread. It acts on the signal if it has not read the number itself."""
        sockets = self._sockets
        if sockets is None:
            return
        if self._has_thread:
            with suppress(OSError):  # the thread has enough to read
                sockets[1].send(bytes([_MARK + number]))
        else:
            _call(self._on_signal, number)

    def _wakeup(self, descriptor: int) -> int:
        try:
            return signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
        except (ValueError, OSError):  # an app has closed the descriptor
            return -1

    def _read(self, reader: socket.socket) -> None:
        with reader, suppress(OSError):
            read: set[int] = set()  # the numbers since the latest mark of each
            while data := reader.recv(256):
                for value in data:
                    number, is_mark = value % _MARK, value > _MARK
                    if number in self._numbers and not (is_mark and number in read):
                        _call(self._on_signal, number)
                    if is_mark:
                        read.discard(number)
                    else:
                        read.add(number)


def _call(function: Callable[[int], object], number: int) -> None:
    try:
        function(number)
    except Exception:
        logger.exception("unhandled exception after %s; continuing", signal.Signals(number).name)
