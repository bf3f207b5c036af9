"""Run a request and write its response: the tasks of waitress, changed in eight ways.

- `AppTask` calls the app of the request's route.
- The end of each response is reported to the access log and to the observer, also that of a 400, 413 and 431.
- While the server drains, responses carry ``Connection: close``.
- A response keeps its connection if the client can find its end: it has a length, no body, or is chunked. waitress
  closes the connection after each response without a length.
- A response to HEAD has no body. waitress writes one, and the client would take it for the next response.
- A status, header or body that cannot be sent is an exception in the app, and the client gets 500.
- A response that fails after its first byte ends with its connection, and without the last chunk.
- An app that raises SystemExit or forks harms neither its thread nor the connection.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence, Sized
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from waitress.buffers import ReadOnlyFileBasedBuffer
from waitress.channel import ClientDisconnected
from waitress.task import ErrorTask, Task
from waitress.utilities import build_http_date

from ..loading import forking
from ..wsgi.app_body import AppBodyError, close_of, piece_of_body, require_body
from ..wsgi.app_header import AppHeaderError, Headers, read_headers, require_status
from ..wsgi.request_id import REQUEST_ID_HEADER
from .access_log import access_logger
from .finished import FinishedRequest, Measures, measure
from .parser import Parser

if TYPE_CHECKING:
    from _typeshed import OptExcInfo

COALESCE_LIMIT = 16_384  # bytes: a larger start of a body costs more to copy than a second system call

logger = logging.getLogger("mountpoint")

_mounts_lock = threading.Lock()
_warned_mounts: set[str | None] = set()  # the mounts whose hop-by-hop headers are in the log


class TaskChannel(Protocol):
    """The part of a `mountpoint.server.channel.Channel` that a task uses."""

    addr: Any
    requests: list[Parser]
    server: Any

    def write_soon(self, data: Any) -> int: ...


class ResponseCutOff(ClientDisconnected):
    """The rest of a response cannot be stored. The log has a line about it."""


class _BodyDone(Exception):
    """The header of a response without a body is written, and the app goes on to write a body."""


class _ReportedTask(Task):
    """A task that handles HEAD, draining and connections as described above, and that reports its end."""

    channel: TaskChannel  # type: ignore[assignment]  # waitress has an HTTPChannel
    request: Parser  # type: ignore[assignment]  # the parser_class of our channel
    headers = Headers([], None, set(), [])
    status_code = 200
    has_body = True  # a property of waitress, which would compare the status many times in a request
    body_bytes = 0
    is_finished = False  # whether the last byte is written
    measures: Measures  # once the response has ended

    def __init__(self, channel: TaskChannel, request: Parser) -> None:
        super().__init__(channel, request)  # type: ignore[arg-type]
        # For a 500, waitress makes up a second request. The one that the client sent is still the first of the channel.
        self.client_request: Parser = channel.requests[0] if channel.requests else request
        self.is_head = self.client_request.command == "HEAD"

    def build_response_header(self) -> bytes:
        """Return the header, and decide how the client finds the end of the body (RFC 9112 section 6)."""
        lines = [f"HTTP/{self.version} {self.status}", *self.headers.lines]
        if request_id := self.client_request.request_id:
            if "x-request-id" in self.headers.names:  # the client gets the id that the log has
                lines = [line for line in lines if not line.startswith("X-Request-Id:")]
            lines.append(f"{REQUEST_ID_HEADER}: {request_id}")
        has_end = not self.has_body or self.is_head
        if self.has_body:
            if self.content_length is not None:
                lines.append(f"Content-Length: {self.content_length}")
                has_end = True
            elif self.version == "1.1":
                lines.append("Transfer-Encoding: chunked")
                self.chunked_response = not self.is_head
                has_end = True
        is_last = self.channel.server.draining and len(self.channel.requests) <= 1
        if is_last or not has_end or not self.request.keeps_alive:
            self.close_on_finish = True
        if self.close_on_finish:
            lines.append("Connection: close")
        elif self.version == "1.0":
            lines.append("Connection: Keep-Alive")
        ident = self.channel.server.adj.ident
        if ident and "server" not in self.headers.names:
            lines.append(f"Server: {ident}")
        if "date" not in self.headers.names:
            lines.append(_date_line(int(self.start_time)))
        lines.append("\r\n")
        return "\r\n".join(lines).encode("latin-1")

    def write(self, data: bytes) -> None:
        """Send *data*, after the header if that has not been sent. Raises `_BodyDone` for a body that is not sent."""
        if not self.complete:
            raise AppHeaderError("start_response was not called before the first byte of the body")
        if not self.wrote_header:
            head = self.build_response_header()
            first = b"" if self.is_head else self._framed(data)
            if len(first) <= COALESCE_LIMIT:
                self.channel.write_soon(head + first)
                self.wrote_header = True
            else:
                self.channel.write_soon(head)
                self.wrote_header = True
                self.channel.write_soon(first)
        elif self.is_head or not self.has_body:  # the body may be endless, and the client gets none of it
            raise _BodyDone
        elif framed := self._framed(data):
            self.channel.write_soon(framed)
        self.body_bytes += len(data)

    def _framed(self, data: bytes) -> bytes:
        """Return *data* as it is sent."""
        if not data:
            return b""
        if not self.has_body:
            self.logger.warning("the body of a response with the status %s is not sent", self.status)
            return b""
        if self.chunked_response:
            return b"%X\r\n%b\r\n" % (len(data), data)
        if (length := self.content_length) is None:
            return data
        framed = data[: length - self.content_bytes_written]
        self.content_bytes_written += len(framed)
        if len(framed) < len(data) and not self.logged_write_excess:
            self.logged_write_excess = True
            self.logger.warning("application-written content exceeded its Content-Length (%s)", length)
        return framed

    def finish(self) -> None:
        """Write the end of the response. A second call does nothing."""
        if self.is_finished:
            return
        if not self.wrote_header:
            if self.content_length is None and not self.is_head:
                self.content_length = 0  # the whole body is known, and it is empty
            self.write(b"")
        if self.chunked_response:
            self.channel.write_soon(b"0\r\n\r\n")
        self.is_finished = True

    def report_end(self) -> None:
        """Report the end of the request to the observer and to the access log."""
        observer = self.channel.server.observer
        is_logged = access_logger.isEnabledFor(logging.INFO) and not self.client_request.is_excluded
        if observer is None and not is_logged:
            return
        status = self.status_code if self.wrote_header else 0
        size, length = self.body_bytes, self.content_length
        if self.is_head or not self.has_body:
            size = 0
        elif length is not None and size > length:
            size = length
        self.measures = measure(self.client_request, status, size, time.monotonic())
        if observer is not None:
            observer.request_finished(self.measures, self.describe_end)
        if is_logged:
            self.channel.server.access_log.log_request(self.describe_end())

    def describe_end(self) -> FinishedRequest:
        """Return all about the request, once `report_end` has its `measures`."""
        return FinishedRequest(self.client_request, self.channel.addr[0], self.measures, not self.is_finished)

    def take_status(self, status: str) -> None:
        """Take *status*, which begins with three digits, as that of the response."""
        self.status = status
        self.status_code = int(status[:3])
        self.has_body = self.status_code not in (204, 304)  # RFC 9110 section 6.4.1; a 1xx is never a final status


class AppTask(_ReportedTask):
    """A request that an app answers. It replaces waitress's ``WSGITask``, which calls one app for all requests."""

    _forks = 0  # of this process, when the app was called
    _is_ours_to_close = True  # whether this thread closes the app's response

    def service(self) -> None:
        """Respond. Raises only an `Exception`, for which waitress answers 500 if no byte was sent."""
        try:
            self.start()
            self._respond()
        except ResponseCutOff:
            self.close_on_finish = True
        except ClientDisconnected:
            self.report_end()
            raise
        except BaseException as error:
            if self.wrote_header:  # else a LoggedErrorTask answers with 500, and logs that
                self.report_end()
            if isinstance(error, (AppBodyError, AppHeaderError)):
                error.args = (f"mount {self.request.routed.mount}: {error}",)
            if not isinstance(error, Exception):
                raise RuntimeError(f"the app raised {error!r}") from error
            raise
        self.report_end()

    def _respond(self) -> None:
        """Call the app, send its response, and close it."""
        self._forks = forking.generation
        app, environ, _ = self.request.routed
        try:
            response = app(environ, self.start_response)
            self._end_forked_child()
            close = close_of(response)
            try:
                self._send(response)
                if self.wrote_header:  # an exception from `close` is too late for the response
                    self.finish()
            except _BodyDone:
                pass
            finally:
                self._end_forked_child()
                if close is not None and self._is_ours_to_close:
                    close()
        except _BodyDone:  # from `write` of the app
            pass
        finally:
            self._end_forked_child()
        self.finish()

    def _end_forked_child(self) -> None:
        """End this process if the app has forked it: a child must neither respond nor serve."""
        if forking.generation != self._forks:  # pragma: no cover - the child ends before it saves its coverage
            forking.end_child()

    # ------------------------------------------------------------------------------------------- for the app (PEP 3333)

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: OptExcInfo | None = None
    ) -> Callable[[bytes], object]:
        """Take status and headers from the app, and return ``write`` (PEP 3333)."""
        if exc_info:
            try:
                if self.wrote_header:  # too late for another status
                    raise exc_info[1] or AppHeaderError("start_response was called after the header was sent")
            finally:
                exc_info = None
        elif self.complete:
            raise AppHeaderError("start_response was called a second time without exc_info")
        self.complete = False
        require_status(status)
        self.headers = read_headers(headers)
        self.content_length = self.headers.length
        self.take_status(status)
        self.complete = True
        if self.headers.dropped:
            _warn_of_dropped_headers(self.request.routed.mount, self.headers.dropped)
        return self._write_for_app

    def _write_for_app(self, data: bytes) -> None:
        """Send *data* at once: the ``write`` that `start_response` returns."""
        self._end_forked_child()
        if piece := piece_of_body(data, "the app called write() with"):
            self.write(piece)

    # --------------------------------------------------------------------------------------------------------- the body

    def _send(self, response: Iterable[bytes]) -> None:
        if isinstance(response, ReadOnlyFileBasedBuffer) and self._send_file(response):
            return
        require_body(response)
        self._write_each(response)
        expected = self.content_length
        if expected is not None and self.content_bytes_written != expected and self.has_body and not self.is_head:
            self.close_on_finish = True  # else the client waits for the missing bytes
            self.logger.warning(
                "application returned too few bytes (%s) for specified Content-Length (%s) via app_iter",
                self.content_bytes_written,
                expected,
            )

    def _send_file(self, file: ReadOnlyFileBasedBuffer) -> bool:
        """Let the loop send *file*, and return True; return False if this thread has to iterate over it."""
        if self.wrote_header or not self.has_body:
            return False
        size = file.prepare(self.content_length)
        if not size:
            return False
        self.content_length = size
        self.write(b"")
        self.channel.write_soon(file)
        self._is_ours_to_close = False  # the channel closes it after the last byte or when the client disconnects
        self.body_bytes = size
        return True

    def _write_each(self, response: Iterable[bytes]) -> None:
        is_first = True
        for piece in response:
            self._end_forked_child()
            data = piece if type(piece) is bytes else piece_of_body(piece, "the body of the app has")
            if is_first:
                is_first = False
                if self._is_whole(response, data):
                    self.content_length = len(data)
            if data:  # the header leaves with the first byte of the body (PEP 3333)
                self.write(data)
        self._end_forked_child()

    def _is_whole(self, response: Iterable[bytes], data: bytes) -> bool:
        """Whether *data*, the first piece of *response*, is the whole body of a response without a length."""
        if self.content_length is not None or self.wrote_header or not isinstance(response, Sized):
            return False
        return len(response) == 1 and bool(data or not self.is_head)  # an app may leave out the body for HEAD


class LoggedErrorTask(_ReportedTask, ErrorTask):
    """A request that waitress answers itself: it could not be read, or its app raised an exception."""

    def service(self) -> None:
        try:
            super().service()
        finally:
            self.report_end()

    def execute(self) -> None:
        assert self.request.error is not None
        headers: Sequence[tuple[str, str]]
        body: Any  # bytes, which typeshed does not know
        status, headers, body = self.request.error.to_response(self.channel.server.adj.ident)
        self.take_status(status)
        self.headers = read_headers(headers)
        self.close_on_finish = True
        self.content_length = len(body)
        self.write(body)


@lru_cache(maxsize=2)
def _date_line(seconds: int) -> str:
    """Return the header Date for a Unix time."""
    return f"Date: {build_http_date(seconds)}"


def _warn_of_dropped_headers(mount: str | None, names: Sequence[str]) -> None:
    """Log that hop-by-hop headers were dropped, once for each mount."""
    with _mounts_lock:
        if mount in _warned_mounts:
            return
        _warned_mounts.add(mount)
    logger.warning(
        "%s: dropped hop-by-hop headers of the app, which the server sets itself (PEP 3333): %s; the response was sent "
        "without them, and this is logged once for each mount",
        mount or "-",
        ", ".join(names),
    )
