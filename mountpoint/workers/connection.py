"""The server's end of one connection to a worker.

A worker may be broken or hostile: every frame from it has a bounded size, a known kind and its place in the order.
Anything else raises `BrokenWorker`, and the worker is ended.
"""

from __future__ import annotations

import sys

assert sys.platform != "win32"  # `processes` imports this module elsewhere only

import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from . import frames

_RECEIVE = 65_536  # bytes; the allocator maps and unmaps larger buffers each time
_RECEIVE_LARGE = 262_144  # bytes, in the middle of a large frame
_FIRST_FRAMES = (frames.HEAD, frames.ERROR, frames.WANT)
_LATER_FRAMES = (frames.DATA, frames.END, frames.ERROR, frames.WANT)
_LAST_FRAMES = (frames.DONE, frames.ERROR)
_LIMITS = {
    frames.HEAD: frames.MAX_HEAD,
    frames.DATA: frames.MAX_PIECE,
    frames.END: 0,
    frames.DONE: 0,
    frames.ERROR: 4 * frames.MAX_TEXT,
    frames.WANT: frames.LENGTH.size,
}

_END, _DONE = frames.FRAME.pack(frames.END, 0), frames.FRAME.pack(frames.DONE, 0)

#: The connection that each thread of the server waits for, by the identifier of the thread.
serving: dict[int, Connection] = {}


class WorkerLost(ConnectionError):
    """The worker has ended, or the server has given it up, before the response was complete."""


class RequestNotTaken(WorkerLost):
    """The worker has ended before it took the request, so another one may serve it."""


class RequestTimedOut(WorkerLost):
    """The app has sent nothing for longer than the ``timeout`` of its mount."""


class BrokenWorker(WorkerLost):
    """The worker has sent something that is not a response."""


class AppFailed(Exception):
    """The app has raised in its worker. The text is its traceback there."""


class ResponseHead(NamedTuple):
    """Status and headers from an app.

    ``is_single`` says that the body is one item, which tells its length, and ``is_whole`` that the worker has sent all
    of the response at once.
    """

    status: str
    headers: list[tuple[str, str]]
    is_single: bool
    is_whole: bool


class Connection:
    """A connection to the worker *pid*. One request is on it at a time. *timeout* is in seconds, 0 for none."""

    def __init__(self, pid: int, sock: socket.socket, number: int, timeout: float) -> None:
        self.pid = pid
        self.number = number
        self.deadline = 0.0  # from `time.monotonic`, in seconds, while the server waits for the worker; else 0
        self.has_expired = False
        self._socket = sock
        self._timeout = timeout
        self._buffer = b""
        self._at = 0  # bytes of the buffer that have been read
        self._left = 0  # bytes of the current DATA frame that have not been returned
        self._read_body: Callable[[int], bytes] = lambda size: b""

    def begin(self, request: bytes, read_body: Callable[[int], bytes]) -> ResponseHead:
        """Send *request*, whole frames, and return the head of its response.

        *read_body* is called with a size for each further piece of the body. Raises `AppFailed` or `WorkerLost`.
        """
        self._read_body = read_body
        thread = threading.get_ident()
        serving[thread] = self
        try:
            try:
                self._socket.sendall(request)
            except OSError:
                raise self._lost(RequestNotTaken) from None
            kind, length = self._next_frame(_FIRST_FRAMES, RequestNotTaken)
            while kind == frames.WANT:
                self._send_body(length)
                kind, length = self._next_frame(_FIRST_FRAMES)
            if kind == frames.ERROR:
                raise AppFailed(self._text(length))
            return self._parse_head(self._read(length))
        finally:
            del serving[thread]

    def next_piece(self) -> bytes | None:
        """Return the next bytes of the body, at once when they arrive; None at its end."""
        if not self._left:
            thread = threading.get_ident()
            serving[thread] = self
            try:
                kind, length = self._next_frame(_LATER_FRAMES)
                while kind == frames.WANT:
                    self._send_body(length)
                    kind, length = self._next_frame(_LATER_FRAMES)
            finally:
                del serving[thread]
            if kind == frames.END:
                return None
            if kind == frames.ERROR:
                raise AppFailed(self._text(length))
            self._left = length
            if not length:
                return b""
        if self._at == len(self._buffer):
            self._buffer, self._at = self._receive(_RECEIVE_LARGE if self._left > _RECEIVE else _RECEIVE), 0
        piece = self._buffer[self._at : self._at + self._left]
        self._at += len(piece)
        self._left -= len(piece)
        return piece

    def finish(self) -> None:
        """Wait until the app has closed its response, whose end has come. Raises `AppFailed` or `WorkerLost`."""
        kind, length = self._next_frame(_LAST_FRAMES)
        if kind == frames.ERROR:
            raise AppFailed(self._text(length))

    def short_body(self) -> list[bytes] | None:
        """Return a body of one piece at most, if all of it has arrived, and the app has closed it already."""
        size = frames.FRAME.size
        if len(self._buffer) - self._at < size:
            return None
        kind, length = frames.FRAME.unpack_from(self._buffer, self._at)
        end = self._at + size
        body: list[bytes] = []
        if kind == frames.DATA and length <= frames.MAX_PIECE:
            end += length
            if len(self._buffer) < end + 2 * size:
                return None
            body = [self._buffer[end - length : end]]
            end += size
        if self._buffer[end - size : end + size] != _END + _DONE:
            return None
        self._at = end + size
        return body

    def whole_body(self) -> list[bytes]:
        """Return the body of a response that the worker has sent at once, and that the app has closed already.

        Raises `WorkerLost`, before anything is sent to the client.
        """
        body = self.short_body()
        if body is not None:
            return body
        kind, length = self._next_frame(_LATER_FRAMES)
        if kind != frames.DATA:
            raise BrokenWorker("a whole response without a body")
        length += len(_END + _DONE)
        missing = length - (len(self._buffer) - self._at)
        while missing > 0:
            data = self._receive(missing, WorkerLost, socket.MSG_WAITALL)
            self._buffer, self._at = self._buffer[self._at :] + data, 0
            missing -= len(data)
        data = self._read(length)
        if data[-len(_END + _DONE) :] != _END + _DONE:
            raise BrokenWorker("a whole response without its end")
        return [data[: -len(_END + _DONE)]]

    def read_whole(self) -> bytes:
        """Return the next DATA frame as a whole, empty if the response ends without one."""
        first = self.next_piece()
        if first is None:
            self._at -= frames.FRAME.size  # of END, for the caller to find
            return b""
        if not self._left:
            return first
        pieces = [first]
        while self._left:
            pieces.append(self.next_piece() or b"")
        return b"".join(pieces)

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

    def _next_frame(self, kinds: tuple[bytes, ...], on_reset: type[WorkerLost] = WorkerLost) -> tuple[bytes, int]:
        size = frames.FRAME.size
        while len(self._buffer) - self._at < size:
            data = self._receive(_RECEIVE, on_reset)
            self._buffer, self._at = self._buffer[self._at :] + data, 0
        kind, length = frames.FRAME.unpack_from(self._buffer, self._at)
        if kind not in kinds or length > _LIMITS[kind]:
            raise BrokenWorker(f"a frame {kind!r} of {length} bytes")
        self._at += size
        return kind, length

    def _read(self, length: int) -> bytes:
        if len(self._buffer) - self._at < length:
            pieces = [self._buffer[self._at :]]
            size = len(pieces[0])
            while size < length:
                pieces.append(self._receive(_RECEIVE))
                size += len(pieces[-1])
            self._buffer, self._at = b"".join(pieces), 0
        self._at += length
        return self._buffer[self._at - length : self._at]

    def _text(self, length: int) -> str:
        return self._read(length).decode("utf-8", "replace")

    def _send_body(self, length: int) -> None:
        if length != frames.LENGTH.size:
            raise BrokenWorker("a WANT frame without a size")
        (wanted,) = frames.LENGTH.unpack(self._read(length))
        if not 0 < wanted <= frames.MAX_PIECE:
            raise BrokenWorker(f"a WANT frame for {wanted} bytes")
        piece = self._read_body(wanted)
        try:
            self._socket.sendall(frames.FRAME.pack(frames.BODY, len(piece)) + piece)
        except OSError:
            raise self._lost(WorkerLost) from None

    def _parse_head(self, payload: bytes) -> ResponseHead:
        try:
            status, pairs, is_single, length, file_length = json.loads(payload)
            headers = [(name, value) for name, value in pairs]
        except (ValueError, TypeError, RecursionError):
            raise BrokenWorker("a head that is not one") from None
        texts = [status, *(text for pair in headers for text in pair)]
        numbers = [number for number in (length, file_length) if number is not None]
        if not all(isinstance(text, str) for text in texts) or any(
            type(number) is not int or number < 0 for number in numbers
        ):
            raise BrokenWorker("a head with values of wrong types")
        if file_length is not None:
            headers = [(name, value) for name, value in headers if name.lower() != "content-length"]
            headers.append(("Content-Length", str(file_length)))
        elif length is not None and not any(name.lower() == "content-length" for name, _ in headers):
            headers.append(("Content-Length", str(length)))
        return ResponseHead(status, headers, bool(is_single), is_single == frames.WHOLE)

    def _receive(self, size: int, on_reset: type[WorkerLost] = WorkerLost, flags: int = 0) -> bytes:
        if self._timeout:
            self.deadline = time.monotonic() + self._timeout
        try:
            data = self._socket.recv(size, flags)
        except ConnectionResetError:
            # Linux resets a connection whose other end closed without reading everything.
            raise self._lost(on_reset) from None
        except OSError:
            raise self._lost(WorkerLost) from None
        finally:
            self.deadline = 0.0
        if not data:
            raise self._lost(WorkerLost)
        return data

    def _lost(self, error: type[WorkerLost]) -> WorkerLost:
        if self.has_expired:
            return RequestTimedOut(f"the app sent nothing for {self._timeout:g} s")
        return error(f"worker {self.pid} has ended")
