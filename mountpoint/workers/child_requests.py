"""Serve requests in a worker process: call the app and send its response as frames.

It treats the app as `mountpoint.server.tasks` does, so that an app cannot tell in which process it runs. The standard
library is all that is used, on Python 3.8 and later. The functions that gevent's monkey patching replaces are bound
here, before the app is imported: these threads stay real threads.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
import traceback
from _thread import allocate_lock, get_ident
from collections.abc import Callable
from socket import socket
from types import TracebackType
from typing import Any

from . import frames

_STATUS = re.compile(r"[2-5][0-9]{2} [\t -~\x80-\xff]*", re.ASCII)
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_VALUE = re.compile(r"[\t -~\x80-\xff]*")


_END = frames.FRAME.pack(frames.END, 0)
_DONE = frames.FRAME.pack(frames.DONE, 0)


class ServerGone(ConnectionError):
    """The server has closed the connection: the client has disconnected, or the request took too long."""


class Connection:
    """One connection to the server. *number* names it in the messages of the control socket."""

    def __init__(self, sock: socket, number: int) -> None:
        self.number = number
        self.thread = 0  # the identifier of the thread that serves it, 0 while it is idle
        self._socket = sock
        self._buffer = b""
        self._lock = allocate_lock()  # an app may read and write in two threads

    def close(self) -> None:
        self._socket.close()

    def send(self, kind: bytes, payload: bytes = b"", *more: bytes) -> None:
        """Send one frame, and then *more*, which are whole frames already. Raises `ServerGone`."""
        self.send_frames(frames.FRAME.pack(kind, len(payload)), payload, *more)

    def send_frames(self, *parts: bytes) -> None:
        """Send *parts*, which are whole frames together. Raises `ServerGone`."""
        data = b"".join(parts)
        try:
            with self._lock:
                self._socket.sendall(data)
        except OSError as error:
            raise ServerGone(str(error)) from None

    def read_frame(self) -> tuple[bytes, bytes]:
        """Return kind and payload of the next frame. Raises `ServerGone`."""
        kind, length = self.read_frame_header()
        return kind, self.read(length)

    def read_frame_header(self) -> tuple[bytes, int]:
        kind, length = frames.FRAME.unpack(self.read(frames.FRAME.size))
        return kind, length

    def read(self, size: int) -> bytes:
        """Read exactly *size* bytes."""
        buffer = self._buffer
        while len(buffer) < size:
            data = self._receive(max(size - len(buffer), 65_536))
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

    def _receive(self, size: int) -> bytes:
        try:
            data = self._socket.recv(size)
        except OSError as error:
            raise ServerGone(str(error)) from None
        if not data:
            raise ServerGone("closed")
        return data


class _RestOfBody(io.RawIOBase):
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
            self._ask(max(len(target), frames.EAGER_BODY))
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

    def _ask(self, size: int) -> None:
        self._connection.send(frames.WANT, frames.LENGTH.pack(min(size, frames.MAX_PIECE)))
        _, self._left = self._connection.read_frame_header()
        self._is_over = not self._left


class FileWrapper:
    """``wsgi.file_wrapper`` (PEP 3333): iterates over *file* in large pieces."""

    def __init__(self, file: Any, block_size: int = frames.MAX_PIECE) -> None:
        self.file = file
        self.block_size = max(block_size, frames.MAX_PIECE) if _is_quick(file) else block_size
        if hasattr(file, "close"):
            self.close = file.close

    def __iter__(self) -> FileWrapper:
        return self

    def __next__(self) -> bytes:
        data: bytes = self.file.read(self.block_size)
        if not data:
            raise StopIteration
        return data

    def length(self, declared: int | None) -> int:
        """Return how many bytes the server shall announce, at most *declared*; 0 if the file does not tell."""
        file = self.file
        if not _is_quick(file) or not hasattr(file, "seek") or not hasattr(file, "tell"):
            return 0
        try:
            start = file.tell()
            size: int = file.seek(0, os.SEEK_END) - start
            file.seek(start)
        except (OSError, ValueError):
            return 0
        return size if declared is None else min(size, declared)


def _is_quick(file: Any) -> bool:
    """Whether *file* is what `open` or `io.BytesIO` returns, or one of them in a wrapper of `tempfile`."""
    file = getattr(file, "file", file)
    if type(file) in (io.BufferedReader, io.BufferedRandom):
        file = file.raw
    return type(file) in (io.FileIO, io.BytesIO)


class RequestRecord:
    """The facts about the request that the server shares with the app, as ``mountpoint.request``."""

    def __init__(self, facts: dict[str, object]) -> None:
        self.__dict__.update(facts)


class RequestServer:
    """Serves connections with *app*. *flags* are the ``wsgi.multithread`` and ``wsgi.multiprocess`` of the worker."""

    def __init__(self, app: Callable[..., Any], flags: dict[str, bool]) -> None:
        self._app = app
        self._constants: dict[str, Any] = {
            **flags,
            "wsgi.version": (1, 0),
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
            "wsgi.file_wrapper": FileWrapper,
        }

    def serve(self, connection: Connection) -> None:
        """Serve requests until the server closes the connection."""
        try:
            while True:
                _, payload = connection.read_frame()
                connection.thread = get_ident()
                self._serve_one(connection, payload)
                connection.thread = 0
        except ServerGone:
            pass
        finally:
            connection.thread = 0
            connection.close()

    def _serve_one(self, connection: Connection, payload: bytes) -> None:
        environ, record, has_body, has_more = json.loads(payload)
        start = connection.read_frame()[1] if has_body else b""
        body = _RestOfBody(connection, start) if has_more else None
        environ.update(self._constants)
        environ["wsgi.input"] = io.BytesIO(start) if body is None else io.BufferedReader(body, 65_536)
        environ["wsgi.errors"] = sys.stderr
        if record is not None:
            environ["mountpoint.request"] = RequestRecord(record)
        response = _Response(connection, environ)
        try:
            response.run(self._app)
        except ServerGone:
            raise
        except BaseException as error:  # as in the server, SystemExit ends neither thread nor process
            connection.send(frames.ERROR, describe(error, error.__traceback__).encode("utf-8", "backslashreplace"))
        finally:
            if body is not None:
                body.finish()


class _Response:
    """The response of the app to one request."""

    def __init__(self, connection: Connection, environ: dict[str, Any]) -> None:
        self._connection = connection
        self._environ = environ
        self._is_head = environ["REQUEST_METHOD"] == "HEAD"
        self._status = ""
        self._headers: list[tuple[str, str]] = []
        self._is_started = False  # whether start_response was called
        self._is_sent = False  # whether the server has the head
        self._is_over = False  # whether the rest of the body is not needed: the method is HEAD

    def run(self, app: Callable[..., Any]) -> None:
        process = os.getpid()
        try:
            result = app(self._environ, self.start_response)
        finally:
            if os.getpid() != process:  # a child that the app has forked: it must neither respond nor serve
                os._exit(1)
        if type(result) in (list, tuple) and not self._is_sent and len(result) <= 1:
            self._send_whole(b"".join(result), len(result))
            return
        close = getattr(result, "close", None)
        end = (_END,) if close is not None else (_END, _DONE)
        try:
            self._send_each(result)
            if not self._is_sent:
                self._connection.send(frames.HEAD, self._head(), *end)
            else:
                self._connection.send_frames(*end)
        finally:
            if close is not None:
                close()
        if close is not None:
            self._connection.send_frames(_DONE)

    def _send_whole(self, data: bytes, items: int) -> None:
        """Send a response that is complete, in one call of the system if it is short."""
        if len(data) > frames.MAX_PIECE:
            self._write(data, self._head(length=len(data)))
            self._connection.send_frames(_END, _DONE)
        elif data:
            head = self._head(is_single=frames.WHOLE)
            piece = frames.FRAME.pack(frames.DATA, len(data))
            self._connection.send(frames.HEAD, head, piece, data, _END, _DONE)
        else:
            self._connection.send(frames.HEAD, self._head(is_single=frames.WHOLE * items), _END, _DONE)

    def _send_each(self, result: Any) -> None:
        head = None
        if isinstance(result, FileWrapper) and not self._is_sent:
            declared = next((value for name, value in self._headers if name.lower() == "content-length"), None)
            if size := result.length(None if declared is None else int(declared)):
                head = self._head(file_length=size)
        for chunk in result:
            length = len(chunk)  # raises TypeError for None and for numbers
            if head is None and not self._is_sent:
                head = self._head(is_single=_length(result) == 1 and length <= frames.MAX_PIECE)
            if chunk:
                self._write(chunk, head)
                if self._is_over:
                    break
        if head is not None and not self._is_sent:
            self._write(b"", head)

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        """Take status and headers from the app, and return ``write`` (PEP 3333)."""
        if self._is_started and not exc_info:
            raise AssertionError("start_response called a second time without providing exc_info.")
        if exc_info:
            try:
                if self._is_sent:  # too late for another status
                    raise exc_info[1]
            finally:
                exc_info = None
        _check(status, headers, self._environ.get("mountpoint.mount"))
        self._status, self._headers = status, list(headers)
        self._is_started = True
        return self.write

    def write(self, data: bytes) -> None:
        """Send *data* at once, with the head before it (PEP 3333)."""
        if not self._is_over:
            self._write(data, None if self._is_sent else self._head())

    def _head(self, *, is_single: int = False, length: int | None = None, file_length: int | None = None) -> bytes:
        if not self._is_started:
            raise AssertionError("start_response was not called before the body was written")
        return json.dumps((self._status, self._headers, is_single, length, file_length)).encode("ascii")

    def _write(self, data: bytes, head: bytes | None) -> None:
        """Send *data* in pieces, and before them *head*, unless the server has it."""
        if self._is_sent and self._is_head:
            self._is_over = bool(data)  # the client of HEAD gets no body, and the body may be endless
            return
        view = memoryview(data)
        first = view[: frames.MAX_PIECE]
        packed = (frames.FRAME.pack(frames.DATA, len(first)), bytes(first)) if data else ()
        if not self._is_sent:
            assert head is not None
            self._connection.send(frames.HEAD, head, *packed)
            self._is_sent = True
            self._is_over = self._is_head and bool(data)
        elif data:
            self._connection.send(frames.DATA, bytes(first))
        for start in range(frames.MAX_PIECE, len(view), frames.MAX_PIECE):
            self._connection.send(frames.DATA, bytes(view[start : start + frames.MAX_PIECE]))


def _length(result: Any) -> int | None:
    """Return the number of items in *result*, None if it does not say."""
    try:
        return len(result)
    except (TypeError, NotImplementedError):
        return None


def _check(status: object, headers: Any, mount: object) -> None:
    """Raise ValueError if the server cannot send them, as `mountpoint.server.app_header` does."""
    _require_text("status", status, _STATUS, 'such as "200 OK"', mount)
    for name, value in headers:
        _require_text("header name", name, _NAME, "a token", mount)
        _require_text("header value", value, _VALUE, "latin-1 without control characters", mount)


def _require_text(kind: str, text: object, pattern: Any, expected: str, mount: object) -> None:
    if not isinstance(text, str):
        raise ValueError(f"mount {mount}: {kind} {text!r} is not a string")
    if pattern.fullmatch(text) is None:
        if "\n" in text or "\r" in text:
            expected_text = f"carriage return/line feed character present in {kind} {text!r}"
            raise ValueError(f"mount {mount}: {expected_text}")
        raise ValueError(f"mount {mount}: {kind} {text!r} is not {expected}")


def describe(error: BaseException, trace: TracebackType | None) -> str:
    """Return the traceback of *error* from the app's first frame on, in at most `frames.MAX_TEXT` characters."""
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    text = "".join(traceback.format_exception(type(error), error, trace)).rstrip()
    return text if len(text) <= frames.MAX_TEXT else "..." + text[-frames.MAX_TEXT + 3 :]
