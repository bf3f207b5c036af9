"""One connection of a command to the control socket of a server."""

from __future__ import annotations

import sys

assert sys.platform != "win32"  # the command line imports this module elsewhere only

import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import ControlError
from .control_messages import MAX_RESPONSE, decode, encode
from .control_socket import peer

_FULL_SECONDS = 0.02  # between two attempts to connect to a server that has many clients
GREETING_SECONDS = 5.0  # for which a server may take to greet a client


class Connection:
    """A connection to the server that listens at *path*, and its *greeting*.

    Raises OSError if no process listens there, and `ControlError` if it does not greet within *seconds*.
    """

    def __init__(self, path: Path, seconds: float) -> None:
        self._data = bytearray()
        self.path = path
        self._name = "the server"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(seconds)
            try:
                self._connect(time.monotonic() + seconds)
                pid = peer(self._socket)[0]
                self._name = f"process {pid}" if pid else "the server"
                self.greeting = self._read(time.monotonic() + seconds)
            except TimeoutError:
                raise ControlError(
                    f"{self._name} listens on {path} and did not answer within {seconds:g} s: it is suspended, or "
                    "hangs in C code that holds the interpreter"
                ) from None
            if "ok" in self.greeting:  # it rejects the connection
                raise ControlError(f"{self._name} does not take commands now: {self.greeting.get('message')}")
        except BaseException:
            self._socket.close()
            raise

    def ask(self, request: Mapping[str, Any], deadline: float, on_line: Callable[[str], object]) -> Mapping[str, Any]:
        """Return the outcome of *request*. Raises `ControlError` if it does not come until *deadline*."""
        started_at = time.monotonic()
        try:
            self._socket.settimeout(GREETING_SECONDS)
            self._socket.sendall(encode(request))
            while True:
                message = self._read(deadline)
                if "ok" in message:
                    return message
                if "line" in message:
                    on_line(str(message["line"]))
        except TimeoutError:
            raise ControlError(
                f"{self._name} has not answered within {time.monotonic() - started_at:.0f} s; the command may "
                "still be done, and the log of the server has the outcome"
            ) from None
        except OSError:
            raise ControlError(f"{self._name} ended before it had answered; its log has the reason") from None

    def close(self) -> None:
        self._socket.close()

    def _connect(self, deadline: float) -> None:
        """Connect. While the queue of the socket is full, as with many commands at once, the kernel does not wait."""
        while True:
            try:
                return self._socket.connect(os.fsencode(self.path))
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError from None
                time.sleep(_FULL_SECONDS)

    def _read(self, deadline: float) -> dict[str, Any]:
        """Return the next message. Raises OSError if the server closes the connection."""
        while b"\n" not in self._data:
            if (seconds := deadline - time.monotonic()) <= 0:
                raise TimeoutError
            self._socket.settimeout(seconds)
            data = self._socket.recv(2**20)
            if not data:
                raise ConnectionAbortedError("the server has closed the connection")
            self._data += data
            if len(self._data) > MAX_RESPONSE:
                raise ControlError(
                    f"{self.path} has sent more than {MAX_RESPONSE} bytes, so it is not a control socket"
                )
        line, _, self._data = self._data.partition(b"\n")
        try:
            return decode(bytes(line))
        except ValueError:
            raise ControlError(
                f"{self.path} has sent something else than JSON, so it is not a control socket"
            ) from None
