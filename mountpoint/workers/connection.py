"""The server's end of one connection to a worker.

A worker may be broken or hostile: every frame from it has a bounded size, a known kind and its place in the order.
Anything else raises `BrokenWorker`, and the worker is ended.
"""

from __future__ import annotations

import sys

assert sys.platform != "win32"  # `processes` imports this module elsewhere only

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from . import frames
from .report import AppFailed

_RECEIVE = 65_536  # bytes; the allocator maps and unmaps larger buffers each time
_RECEIVE_LARGE = 262_144  # bytes, in the middle of a large frame
_FIRST_FRAMES = (frames.WHOLE, frames.HEAD, frames.SINGLE, frames.ERROR, frames.WANT)
_LATER_FRAMES = (frames.DATA, frames.END, frames.ERROR, frames.WANT)
_LAST_FRAMES = (frames.DONE, frames.ERROR)
_LIMITS = {
    frames.WHOLE: frames.LENGTH.size + frames.MAX_HEAD + frames.MAX_PIECE,
    frames.HEAD: frames.MAX_HEAD,
    frames.SINGLE: frames.MAX_HEAD,
    frames.DATA: frames.MAX_PIECE,
    frames.END: 0,
    frames.DONE: 0,
    frames.ERROR: 4 * frames.MAX_TEXT,
    frames.WANT: frames.LENGTH.size,
}
_HEADER_SIZE = frames.FRAME.size
_END_AND_DONE = frames.FRAME.pack(frames.END, 0) + frames.FRAME.pack(frames.DONE, 0)
_unpack_header = frames.FRAME.unpack_from

#: The connection that each thread of the server waits for, by the identifier of the thread.
serving: dict[int, Connection] = {}


class WorkerLost(ConnectionError):
    """The worker has ended, or the server has closed the connection, before the response was complete."""


class RequestNotTaken(WorkerLost):
    """The worker has ended before it took the request, so another one may serve it."""


class RequestTimedOut(WorkerLost):
    """The app has sent nothing for longer than the ``timeout`` of its mount."""


class BrokenWorker(WorkerLost):
    """The worker has sent something that is not a response."""


class Response(NamedTuple):
    """The response of an app, or its beginning.

    ``body`` is None while it is still to be read. ``is_single`` says that it is one item, which tells its length.
    """

    status: str
    headers: list[tuple[str, str]]
    body: list[bytes] | None = None
    is_single: bool = False


class Connection:
    """A connection to the worker *pid*. One request is on it at a time. *timeout* is in seconds, 0 for none."""

    def __init__(self, pid: int, sock: socket.socket, number: int, timeout: float) -> None:
        self.pid = pid
        self.number = number
        self.deadline = 0.0  # from `time.monotonic`, in seconds, while the server waits for the worker; else 0
        self.has_expired = False
        self._socket = sock
        sock.settimeout(None)  # an app may have called socket.setdefaulttimeout()
        self._timeout = timeout
        self._buffer = b""
        self._at = 0  # bytes of the buffer that have been read
        self._left = 0  # bytes of the current DATA frame that have not been returned
        self._read_body: Callable[[int], bytes] = lambda size: b""
        self._is_body_over = False

    def begin(self, request: bytes, read_body: Callable[[int], bytes]) -> Response:
        """Send *request*, a whole frame, and return its response as soon as its head has come.

        *read_body* is called with a size for each further piece of the body. Raises `AppFailed` or `WorkerLost`.
        """
        self._read_body, self._is_body_over = read_body, False
        thread = threading.get_ident()
        serving[thread] = self
        if self._timeout:
            self.deadline = time.monotonic() + self._timeout
        try:
            try:
                self._socket.sendall(request)
            except OSError:
                raise self._lost(RequestNotTaken) from None
            kind, length = self._next_frame(_FIRST_FRAMES, RequestNotTaken)
            while kind == frames.WANT:
                self._send_body(length)
                kind, length = self._next_frame(_FIRST_FRAMES)
            if kind == frames.WHOLE:
                return self._whole(length)
            data = self._read(length)
        finally:
            self.deadline = 0.0
            del serving[thread]
        if kind == frames.ERROR:
            raise self._failed(data)
        status, headers = _parse_head(data)
        return Response(status, headers, self._short_body(), kind == frames.SINGLE)

    def next_piece(self) -> bytes | None:
        """Return the next bytes of the body as soon as they arrive, None at its end."""
        if not self._left:
            kind, length = self._wait_for_frame(_LATER_FRAMES)
            if kind == frames.END:
                return None
            if not length:  # an endless series of them would keep this thread
                raise BrokenWorker("an empty piece of a body")
            self._left = length
        if self._at == len(self._buffer):
            self._receive(_RECEIVE_LARGE if self._left > _RECEIVE else _RECEIVE)
        piece = self._buffer[self._at : self._at + self._left]
        self._at += len(piece)
        self._left -= len(piece)
        return piece

    def read_whole(self) -> bytes:
        """Return the next DATA frame as a whole, empty if the response ends without one."""
        first = self.next_piece()
        if first is None:
            self._at -= _HEADER_SIZE  # of END, for the caller to find
            return b""
        return first + self._read(self._left) if self._left else first

    def finish(self) -> None:
        """Wait until the app has closed its response, whose end has come. Raises `AppFailed` or `WorkerLost`."""
        self._wait_for_frame(_LAST_FRAMES)
        self._require_nothing_more()

    def expire(self, now: float) -> bool:
        """Give the request up if its time is over at *now*; return whether it is. Called in another thread."""
        if not self.deadline or now < self.deadline:
            return False
        self.has_expired = True
        self.shut_down()
        return True

    def shut_down(self) -> None:
        """Wake the thread that waits for the worker, and let the worker's next write fail."""
        with suppress(OSError):  # closed, or shut down already
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._socket.close()

    # -------------------------------------------------------------------------------------------------------- frames

    def _wait_for_frame(self, kinds: tuple[bytes, ...]) -> tuple[bytes, int]:
        """Return kind and length of the next frame, after the body that the worker wants. Raises `AppFailed`."""
        thread = threading.get_ident()
        serving[thread] = self
        if self._timeout:
            self.deadline = time.monotonic() + self._timeout
        try:
            kind, length = self._next_frame(kinds)
            while kind == frames.WANT:
                self._send_body(length)
                kind, length = self._next_frame(kinds)
            if kind == frames.ERROR:
                raise self._failed(self._read(length))
        finally:
            self.deadline = 0.0
            del serving[thread]
        return kind, length

    def _next_frame(self, kinds: tuple[bytes, ...], on_reset: type[WorkerLost] = WorkerLost) -> tuple[bytes, int]:
        while len(self._buffer) - self._at < _HEADER_SIZE:
            self._receive(_RECEIVE, on_reset)
        kind, length = _unpack_header(self._buffer, self._at)
        if kind not in kinds or length > _LIMITS[kind]:
            raise BrokenWorker(f"a frame {kind!r} of {length} bytes")
        self._at += _HEADER_SIZE
        return kind, length

    def _read(self, length: int) -> bytes:
        """Return exactly *length* bytes."""
        start, end = self._at, self._at + length
        missing = end - len(self._buffer)
        if missing <= 0:
            self._at = end
            return self._buffer[start:end]
        pieces = [memoryview(self._buffer)[start:]]
        self._buffer, self._at = b"", 0
        while missing > 0:
            self._receive(missing, flags=socket.MSG_WAITALL)
            pieces.append(memoryview(self._buffer))
            missing -= len(self._buffer)
            self._buffer = b""
        return b"".join(pieces)

    def _whole(self, length: int) -> Response:
        """Return a response of *length* bytes that the worker has sent as one frame."""
        data = self._read(length)
        size = frames.LENGTH.size
        if length < size:
            raise BrokenWorker("a response without the length of its head")
        end = size + frames.LENGTH.unpack_from(data)[0]
        if end > length:
            raise BrokenWorker("a response that is shorter than its head")
        self._require_nothing_more()
        status, headers = _parse_head(data[size:end])
        return Response(status, headers, [data[end:]] if end < length else [], is_single=True)

    def _short_body(self) -> list[bytes] | None:
        """Return a body of at most one piece if all of it has arrived and the app has closed it, else None."""
        start = end = self._at
        if len(self._buffer) - start >= _HEADER_SIZE:
            kind, length = _unpack_header(self._buffer, start)
            if kind == frames.DATA:
                start += _HEADER_SIZE
                end = start + length
        if self._buffer[end:] != _END_AND_DONE:
            return None
        body = self._buffer[start:end]
        self._buffer, self._at = b"", 0
        return [body] if body else []

    def _require_nothing_more(self) -> None:
        """Raise `BrokenWorker` if more has come after the end of a response: it would answer the next request."""
        if self._at < len(self._buffer):
            raise BrokenWorker("a frame after the end of a response")
        self._buffer, self._at = b"", 0

    def _failed(self, text: bytes) -> AppFailed:
        self._require_nothing_more()
        return AppFailed(text.decode("utf-8", "replace"))

    def _send_body(self, length: int) -> None:
        if length != frames.LENGTH.size:
            raise BrokenWorker("a WANT frame without a size")
        (wanted,) = frames.LENGTH.unpack(self._read(length))
        if not 0 < wanted <= frames.MAX_PIECE:
            raise BrokenWorker(f"a WANT frame for {wanted} bytes")
        if self._is_body_over:  # an endless series of requests for it would keep this thread
            raise BrokenWorker("a WANT frame after the end of the body")
        piece = self._read_body(wanted)
        self._is_body_over = not piece
        try:
            self._socket.sendall(frames.FRAME.pack(frames.BODY, len(piece)) + piece)
        except OSError:
            raise self._lost(WorkerLost) from None

    def _receive(self, size: int, on_reset: type[WorkerLost] = WorkerLost, flags: int = 0) -> None:
        """Add up to *size* bytes to the buffer. An end is an error."""
        try:
            data = self._socket.recv(size, flags)
        except ConnectionResetError:
            # Linux resets a connection whose other end closed without reading everything.
            raise self._lost(on_reset) from None
        except OSError:
            raise self._lost(WorkerLost) from None
        if not data:
            raise self._lost(WorkerLost)
        self._buffer, self._at = self._buffer[self._at :] + data if self._at < len(self._buffer) else data, 0

    def _lost(self, error: type[WorkerLost]) -> WorkerLost:
        if self.has_expired:
            return RequestTimedOut(f"the app sent nothing for {self._timeout:g} s")
        return error(f"worker {self.pid} has ended")


def _parse_head(data: bytes) -> tuple[str, list[tuple[str, str]]]:
    """Return status and headers. They are only text: the server checks them like those of any app."""
    status, *texts = data.decode("latin-1").split("\n")
    if len(texts) % 2:
        raise BrokenWorker("a head with a name that has no value")
    return status, list(zip(texts[::2], texts[1::2], strict=True))
