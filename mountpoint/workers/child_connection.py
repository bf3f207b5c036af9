"""The worker's end of a connection to the server, and the body of a request that comes over it.

Standard library only, on Python 3.8 and later. The functions that gevent's monkey patching replaces are bound here,
before the app is imported, so the threads that serve stay real threads.
"""

from __future__ import annotations

import sys

assert sys.platform != "win32"  # `processes` imports this module elsewhere only

import io
from _thread import allocate_lock
from socket import socket
from typing import Any

from . import frames

_RECEIVE = 65_536  # bytes
_COPIED = 16_384  # bytes: to copy more costs more than to pass the system several buffers


class ServerGone(ConnectionError):
    """The server has closed the connection: the client has disconnected, or the request took too long."""


class Connection:
    """One connection to the server. *number* names it in the messages of the control socket."""

    def __init__(self, sock: socket, number: int) -> None:
        self.number = number
        self.thread = 0  # the identifier of the thread that serves it, 0 while it is idle
        self._socket = sock
        sock.settimeout(None)  # the app may have called socket.setdefaulttimeout()
        self._buffer = b""
        self._lock = allocate_lock()  # an app may read and write in two threads

    def close(self) -> None:
        self._socket.close()

    def send(self, kind: bytes, *payload: bytes) -> None:
        """Send one frame. Raises `ServerGone`."""
        self.send_frames(frames.FRAME.pack(kind, sum(map(len, payload))), *payload)

    def send_frames(self, *parts: bytes) -> None:
        """Send *parts*, which are whole frames together. Raises `ServerGone`."""
        size = sum(map(len, parts))
        try:
            with self._lock:
                if size <= _COPIED:
                    self._socket.sendall(b"".join(parts))
                elif (sent := self._socket.sendmsg(parts)) < size:  # a signal has come
                    self._socket.sendall(memoryview(b"".join(parts))[sent:])
        except OSError as error:
            raise ServerGone(str(error)) from None

    def read_frame(self) -> bytes:
        """Return the payload of the next frame. Raises `ServerGone`."""
        return self.read(self.read_length())

    def read_length(self) -> int:
        """Return the length of the next frame, whose payload is still to be read."""
        length: int = frames.FRAME.unpack(self.read(frames.FRAME.size))[1]
        return length

    def read(self, size: int) -> bytes:
        """Return exactly *size* bytes."""
        buffer = self._buffer
        while len(buffer) < size:
            try:
                data = self._socket.recv(max(size - len(buffer), _RECEIVE))
            except OSError as error:
                raise ServerGone(str(error)) from None
            if not data:
                raise ServerGone("closed")
            buffer = buffer + data if buffer else data
        self._buffer = buffer[size:]
        return buffer[:size]

    def read_some_into(self, target: memoryview) -> int:
        """Read at least one byte into *target*; return how many."""
        if self._buffer:
            piece = self._buffer[: len(target)]
            self._buffer = self._buffer[len(piece) :]
            target[: len(piece)] = piece
            return len(piece)
        try:
            size = self._socket.recv_into(target)
        except OSError as error:
            raise ServerGone(str(error)) from None
        if not size:
            raise ServerGone("closed")
        return size


class RestOfBody(io.RawIOBase):
    """The body of a request: *start*, and then what the server sends on demand."""

    def __init__(self, connection: Connection, start: bytes) -> None:
        super().__init__()
        self._connection = connection
        self._start = memoryview(start)
        self._left = 0  # bytes of the current BODY frame that are still on the socket
        self._is_over = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast("B")
        if not len(target):
            return 0
        if self._start:
            size = min(len(self._start), len(target))
            target[:size] = self._start[:size]
            self._start = self._start[size:]
            return size
        if not self._left and not self._is_over:
            self._connection.send(frames.WANT, frames.LENGTH.pack(frames.MAX_PIECE))
            self._left = self._connection.read_length()
            self._is_over = not self._left
        if self._is_over:
            return 0
        size = self._connection.read_some_into(target[: self._left])
        self._left -= size
        return size

    def readall(self) -> bytes:
        data = io.BytesIO()
        piece = bytearray(frames.MAX_PIECE)
        while size := self.readinto(piece):
            data.write(memoryview(piece)[:size])
        return data.getvalue()

    def finish(self) -> None:
        """Drop the rest of the current frame, so that the next request can be read. Later reads find the end."""
        self._is_over = True
        self._start = memoryview(b"")
        if self._left:
            self._connection.read(self._left)
            self._left = 0
