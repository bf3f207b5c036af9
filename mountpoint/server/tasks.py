"""Run a request and write its response: the tasks of waitress, changed in six ways.

- `AppTask` calls the app of the request's route.
- The access log is written where a response ends, so waitress's own 400, 413 and 431 are in it too.
- While the server drains, responses carry ``Connection: close``.
- A response to HEAD has no body. waitress writes one, and the client would take it for the next response.
- A status or header that cannot be sent is an exception in the app, and the client gets 500.
- An app that raises SystemExit or forks harms neither its thread nor the connection.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Sized
from typing import TYPE_CHECKING, Any, Protocol

from waitress.buffers import ReadOnlyFileBasedBuffer
from waitress.channel import ClientDisconnected
from waitress.task import ErrorTask, Task

from .access_log import access_line, access_logger, log_access
from .app_header import AppHeaderError, content_length, require_header, require_status
from .parser import Parser

if TYPE_CHECKING:
    from _typeshed import OptExcInfo

COALESCE_LIMIT = 16_384  # bytes: a larger start of a body costs more to copy than a second system call


class TaskChannel(Protocol):
    """The part of a `mountpoint.server.channel.Channel` that a task uses."""

    addr: Any
    requests: list[Parser]
    server: Any

    def cork(self) -> None: ...
    def uncork(self) -> None: ...
    def write_soon(self, data: Any) -> int: ...


class ResponseCutOff(ClientDisconnected):
    """The rest of a response cannot be stored. The log has a line about it."""


class _HeadDone(Exception):
    """The header of a response to HEAD is written, and the app goes on to write a body."""


class _LoggedTask(Task):
    """A task that treats HEAD and draining as the module says, and that can be logged."""

    channel: TaskChannel  # type: ignore[assignment]  # waitress has an HTTPChannel
    request: Parser  # type: ignore[assignment]  # the parser_class of our channel
    body_bytes = 0
    sets_server = False  # whether the app names a server

    def __init__(self, channel: TaskChannel, request: Parser) -> None:
        super().__init__(channel, request)  # type: ignore[arg-type]
        # For a 500, waitress makes up a second request. The one that the client sent is still the first of the channel.
        self.client_request: Parser = channel.requests[0] if channel.requests else request

    def build_response_header(self) -> bytes:
        is_last = self.channel.server.draining and len(self.channel.requests) <= 1
        # waitress compares the whole value with one option. The environ has the value as the client sent it.
        closes = is_last or self.close_on_finish or not self.request.keeps_alive
        self.request.headers["CONNECTION"] = "close" if closes else "keep-alive"
        header = super().build_response_header()
        if self.sets_server:  # waitress adds itself as a proxy, as the last Via
            adj = self.request.adj
            via = f"\r\nVia: {adj.ident or 'waitress'}\r\n".encode("latin-1")
            before, found, after = header.rpartition(via)
            header = before + b"\r\n" + after if found else header
        return header

    def write(self, data: bytes) -> None:
        if self.client_request.command == "HEAD":  # no body (RFC 9110 section 9.3.2)
            if not self.wrote_header:
                super().write(b"")
            elif data:  # the body may be endless, and the client gets none of it
                raise _HeadDone
        elif self.wrote_header or len(data) > COALESCE_LIMIT:
            super().write(data)
        else:
            self.channel.cork()
            try:
                super().write(data)
            finally:
                self.channel.uncork()
        self.body_bytes += len(data)

    def finish(self) -> None:
        if self.client_request.command == "HEAD":
            if not self.wrote_header:
                self.write(b"")  # may announce a chunked body, as for GET
            self.chunked_response = False  # but no last chunk follows
        super().finish()

    def log(self) -> None:
        """Write the line of the access log."""
        if not access_logger.isEnabledFor(logging.INFO):
            return
        headers, record = self.client_request.headers, self.client_request.record
        finished = time.time()
        received_at = self.client_request.received_at
        started = finished - (time.monotonic() - received_at) if received_at else self.start_time
        log_access(
            access_line(
                remote_addr=record.remote_addr if record else self.channel.addr[0],
                request_line=self.client_request.request_line,
                status=self.status[:3] if self.wrote_header else "-",
                size=self._size(),
                referer=headers.get("REFERER"),
                user_agent=headers.get("USER_AGENT"),
                mount=record.mount if record else None,
                started=started,
                finished=finished,
            ),
        )

    def _size(self) -> int:
        if not self.has_body or self.client_request.command == "HEAD":
            return 0
        if self.content_length is None:
            return self.body_bytes
        # A file of wsgi.file_wrapper does not pass through write(): the loop sends it, at its full length.
        return min(self.body_bytes, self.content_length) or self.content_length


class AppTask(_LoggedTask):
    """A request that an app answers. It replaces waitress's ``WSGITask``, which calls one app for all requests."""

    def service(self) -> None:
        try:
            super().service()
        except ResponseCutOff:
            self.close_on_finish = True
        except ClientDisconnected:
            self.log()
            raise
        except BaseException:
            if self.wrote_header:  # else a LoggedErrorTask answers with 500, and logs that
                self.log()
            raise
        self.log()

    def execute(self) -> None:
        """Call the app and write its response. Raises only an `Exception`, for which waitress answers 500."""
        try:
            self._send(self._call_app())
        except _HeadDone:
            pass
        except Exception:
            raise
        except BaseException as error:
            raise RuntimeError(f"the app raised {error!r}") from error

    def _call_app(self) -> Iterable[bytes]:
        app, environ, _ = self.request.routed
        process = os.getpid()
        try:
            return app(environ, self.start_response)
        finally:
            if os.getpid() != process:  # a child that the app has forked: it must neither respond nor serve
                os._exit(1)

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: OptExcInfo | None = None
    ) -> Callable[[bytes], object]:
        """Take status and headers from the app, and return ``write`` (PEP 3333)."""
        if self.complete and not exc_info:
            raise AssertionError("start_response called a second time without providing exc_info.")
        if exc_info:
            try:
                if self.wrote_header:  # too late for another status
                    assert exc_info[1] is not None
                    raise exc_info[1]
                self.complete, self.response_headers, self.content_length = False, [], None
            finally:
                exc_info = None
        try:
            length, sets_server = _check(status, headers)
        except AppHeaderError as error:
            raise AppHeaderError(f"mount {self.request.routed.mount}: {error}") from None
        self.content_length = length if self.content_length is None else self.content_length
        self.sets_server = sets_server
        self.status = status
        self.response_headers = [*self.response_headers, *headers]
        self.complete = True
        return self.write

    def _send(self, response: Iterable[bytes]) -> None:
        closes_response = True
        try:
            if isinstance(response, ReadOnlyFileBasedBuffer) and (size := response.prepare(self.content_length)):
                if self.content_length != size:
                    if self.content_length is not None:
                        self.remove_content_length_header()
                    self.content_length = size
                self.write(b"")
                self.channel.write_soon(response)
                closes_response = False  # the channel closes it, after the last byte or when the client disconnects
                return
            self._write_each(response)
        finally:
            if closes_response and hasattr(response, "close"):
                response.close()

    def _write_each(self, response: Iterable[bytes]) -> None:
        is_first = True
        for chunk in response:
            if is_first:
                is_first = False
                size = len(chunk)  # raises TypeError for None and for numbers
                if self.content_length is None and isinstance(response, Sized) and len(response) == 1:
                    self.content_length = size
            if chunk:  # the header leaves with the first byte of the body (PEP 3333)
                self.write(chunk)
        expected = self.content_length
        if expected is not None and self.content_bytes_written != expected and self.client_request.command != "HEAD":
            self.set_close_on_finish()  # else the client waits for the missing bytes
            self.logger.warning(
                "application returned too few bytes (%s) for specified Content-Length (%s) via app_iter",
                self.content_bytes_written,
                expected,
            )


def _check(status: str, headers: Iterable[tuple[str, str]]) -> tuple[int | None, bool]:
    """Return the length in *headers*, and whether they name the server. Raises `AppHeaderError`."""
    length, sets_server = None, False
    require_status(status)
    for name, value in headers:
        require_header(name, value)
        lower = name.lower()
        if lower == "content-length":
            length = content_length(value, length)
        elif lower == "server":
            sets_server = True
    return length, sets_server


class LoggedErrorTask(_LoggedTask, ErrorTask):
    """A request that waitress answers itself: it could not be read, or its app raised an exception."""

    def service(self) -> None:
        try:
            super().service()
        finally:
            self.log()
