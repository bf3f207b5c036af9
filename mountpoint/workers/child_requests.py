"""Serve requests in a worker process: call the app and send its response as frames.

It treats the app as `mountpoint.server.tasks` does, so that an app cannot tell in which process it runs. The standard
library is all that is used, on Python 3.8 and later.
"""

from __future__ import annotations

import sys

assert sys.platform != "win32"  # `processes` imports this module elsewhere only

import io
import marshal
import os
import traceback
from _thread import get_ident
from collections.abc import Callable
from functools import lru_cache
from itertools import chain
from types import TracebackType
from typing import Any

from ..wsgi.app_body import AppBodyError, close_of, piece_of_body, require_body
from ..wsgi.app_header import AppHeaderError, pairs_of, read_headers, require_status
from . import frames
from .child_connection import Connection, RestOfBody, ServerGone

_END = frames.FRAME.pack(frames.END, 0)
_DONE = frames.FRAME.pack(frames.DONE, 0)
_PIECE = "the body of the app has"


class _BodyDone(Exception):
    """The head of a response without a body is sent, and the app goes on to write a body."""


class FileWrapper:
    """``wsgi.file_wrapper`` (PEP 3333): iterates over *file* in large pieces."""

    def __init__(self, file: Any, block_size: int = frames.MAX_PIECE) -> None:
        self.file = file
        self.block_size = max(block_size, frames.MAX_PIECE) if _is_quick(file) else block_size
        self._left: int | None = None  # bytes that are to be sent, None for all
        if hasattr(file, "close"):
            self.close = file.close

    def __iter__(self) -> FileWrapper:
        return self

    def __next__(self) -> bytes:
        size = self.block_size if self._left is None else min(self.block_size, self._left)
        data: bytes = self.file.read(size) if size else b""
        if not data:
            raise StopIteration
        if self._left is not None:
            self._left -= len(data)
        return data

    def prepare(self, declared: int | None) -> int:
        """Return how many bytes of the file are sent, at most *declared*; 0 if the file does not tell its size."""
        file = self.file
        if not _is_quick(file) or not hasattr(file, "seek") or not hasattr(file, "tell"):
            return 0
        try:
            start = file.tell()
            size: int = file.seek(0, os.SEEK_END) - start
            file.seek(start)
        except (OSError, ValueError):
            return 0
        self._left = size if declared is None else min(size, declared)
        return self._left


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
                payload = connection.read_frame()
                connection.thread = get_ident()
                self._serve_one(connection, payload)
                connection.thread = 0
        except ServerGone:
            pass
        finally:
            connection.thread = 0
            connection.close()

    def _serve_one(self, connection: Connection, payload: bytes) -> None:
        names, values, facts, start, has_more = marshal.loads(payload)  # noqa: S302 - from the server
        environ: dict[str, Any] = dict(zip(_names(names), values))  # noqa: B905 - Python 3.8
        environ.update(self._constants)
        body = RestOfBody(connection, start) if has_more else None
        environ["wsgi.input"] = io.BytesIO(start) if body is None else io.BufferedReader(body, 65_536)
        environ["wsgi.errors"] = sys.stderr
        if facts is not None:
            environ["mountpoint.request"] = RequestRecord(facts)
        response = _Response(connection, environ)
        try:
            response.run(self._app)
        except ServerGone:
            raise
        except BaseException as error:  # as in the server, SystemExit ends neither thread nor process
            if isinstance(error, (AppBodyError, AppHeaderError)):
                error.args = (f"mount {environ.get('mountpoint.mount')}: {error}",)
            connection.send(frames.ERROR, describe(error, error.__traceback__).encode("utf-8", "backslashreplace"))
        finally:
            response.is_over = True
            if body is not None:
                body.finish()


@lru_cache(maxsize=64)
def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split("\n"))


class _Response:
    """The response of the app to one request."""

    def __init__(self, connection: Connection, environ: dict[str, Any]) -> None:
        self.is_over = False  # whether nothing more may be sent
        self._connection = connection
        self._environ = environ
        self._is_head = environ["REQUEST_METHOD"] == "HEAD"
        self._is_started = False  # whether start_response was called
        self._is_sent = False  # whether the server has the head
        self._status = ""
        self._headers: list[tuple[str, str]] = []
        self._length: int | None = None  # the Content-Length
        self._written = 0  # bytes of the body

    def run(self, app: Callable[..., Any]) -> None:
        process = os.getpid()
        try:
            result = app(self._environ, self.start_response)
        except _BodyDone:  # from `write`
            self._connection.send_frames(_END, _DONE)
            return
        finally:
            if os.getpid() != process:  # a child that the app has forked: it must neither respond nor serve
                os._exit(1)
        if type(result) in (list, tuple) and len(result) <= 1 and not self._is_sent:
            self._send_whole(piece_of_body(result[0], _PIECE) if result else b"")
            return
        close = close_of(result)
        try:
            self._send_each(result)
            end = self._end()
            if close is not None and not self._is_complete():  # else the client need not wait for ``close()``
                self._connection.send_frames(*end)
                end = ()
        finally:
            if close is not None:
                close()
        self._connection.send_frames(*end, _DONE)

    def _end(self) -> tuple[bytes, ...]:
        """Return the frames that end the response."""
        if self._is_sent:
            return (_END,)
        head = self._head()
        self._is_sent = True
        return (frames.FRAME.pack(frames.HEAD, len(head)), head, _END)

    def _is_complete(self) -> bool:
        """Whether the client has the whole response, and knows its end, before ``close()`` has run."""
        return self._length is not None and self._written >= self._length > 0

    def _send_whole(self, data: bytes) -> None:
        """Send a response that is complete, in one frame if it is short."""
        if len(data) > frames.MAX_PIECE:
            if self._length is None:
                self._length = len(data)
            self._write(data)
            self._connection.send_frames(_END, _DONE)
        else:
            head = self._head()
            self._connection.send(frames.WHOLE, frames.LENGTH.pack(len(head)), head, data)

    def _send_each(self, result: Any) -> None:
        require_body(result)
        if isinstance(result, FileWrapper) and not self._is_sent:
            self._length = result.prepare(self._length) or self._length
        kind = frames.HEAD
        is_first = True
        for item in result:
            data = item if type(item) is bytes else piece_of_body(item, _PIECE)
            if is_first:
                is_first = False
                if _length_of(result) == 1 and len(data) <= frames.MAX_PIECE:
                    kind = frames.SINGLE
            if data:
                try:
                    self._write(data, kind)
                except _BodyDone:
                    return

    # ------------------------------------------------------------------------------------------- for the app (PEP 3333)

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        """Take status and headers from the app, and return ``write`` (PEP 3333)."""
        if exc_info:
            try:
                if self._is_sent:  # too late for another status
                    raise exc_info[1] or AppHeaderError("start_response was called after the header was sent")
            finally:
                exc_info = None
        elif self._is_started:
            raise AppHeaderError("start_response was called a second time without exc_info")
        self._is_started = False
        require_status(status)
        pairs = list(pairs_of(headers))
        self._length = read_headers(pairs).length
        self._status, self._headers = status, pairs
        self._is_started = True
        return self.write

    def write(self, data: bytes) -> None:
        """Send *data* at once, with the head before it (PEP 3333)."""
        if piece := piece_of_body(data, "the app called write() with"):
            self._write(piece)

    # ----------------------------------------------------------------------------------------------------------- frames

    def _head(self) -> bytes:
        if not self._is_started:
            raise AppHeaderError("start_response was not called before the first byte of the body")
        headers = self._headers
        if self._length is not None:
            headers = [pair for pair in headers if pair[0].lower() != "content-length"]
            headers.append(("Content-Length", str(self._length)))
        head = "\n".join((self._status, *chain.from_iterable(headers))).encode("latin-1")
        if len(head) > frames.MAX_HEAD:
            raise AppHeaderError(f"the headers have {len(head)} bytes; expected at most {frames.MAX_HEAD}")
        return head

    def _write(self, data: bytes, kind: bytes = frames.HEAD) -> None:
        """Send *data* in pieces, and before them the head, unless the server has it. Raises `_BodyDone`."""
        if self.is_over:  # a thread of the app writes, and the connection may serve the next request
            raise AppHeaderError("write was called after the end of the response")
        if self._is_sent and self._is_head:  # the client of HEAD gets no body, and the body may be endless
            raise _BodyDone
        pieces = [data]
        if len(data) > frames.MAX_PIECE:
            view = memoryview(data)
            pieces = [bytes(view[at : at + frames.MAX_PIECE]) for at in range(0, len(data), frames.MAX_PIECE)]
        for piece in pieces:
            frame = (frames.FRAME.pack(frames.DATA, len(piece)), piece)
            if self._is_sent:
                self._connection.send_frames(*frame)
            else:
                head = self._head()
                self._connection.send_frames(frames.FRAME.pack(kind, len(head)), head, *frame)
                self._is_sent = True
        self._written += len(data)


def _length_of(result: Any) -> int | None:
    """Return the number of items in *result*, None if it has no length."""
    try:
        return len(result)
    except (TypeError, NotImplementedError):
        return None


def describe(error: BaseException, trace: TracebackType | None) -> str:
    """Return the traceback of *error* from the app's first frame on, in at most `frames.MAX_TEXT` characters."""
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    try:
        text = "".join(traceback.format_exception(type(error), error, trace)).rstrip()
    except Exception as failure:  # the code has the name of a file that no file can have, such as one with a NUL
        return f"{type(error).__name__}: its traceback cannot be formatted: {failure!r}"[: frames.MAX_TEXT]
    return text if len(text) <= frames.MAX_TEXT else "..." + text[-frames.MAX_TEXT + 3 :]
