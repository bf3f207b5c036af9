"""How a request is answered: waitress's tasks, with what they lack.

The access log is written where a response is finished, so that waitress's own 400, 413 and 431 are in it. Responses
carry ``Connection: close`` while the server drains. HEAD has no body, which would be taken for the next response.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Sized
from typing import TYPE_CHECKING, Any, Protocol

from waitress.buffers import ReadOnlyFileBasedBuffer
from waitress.channel import ClientDisconnected
from waitress.task import ErrorTask, Task, WSGITask, hop_by_hop

from .access_log import access_line, access_logger
from .parser import Parser

if TYPE_CHECKING:
    from _typeshed import OptExcInfo

COALESCE_LIMIT = 16_384  # bytes of a body that are worth a copy to save a system call


class Channel(Protocol):
    """The connection of a task, as far as a task uses it."""

    addr: Any
    requests: list[Parser]
    server: Any

    def cork(self) -> None: ...
    def uncork(self) -> None: ...
    def write_soon(self, data: Any) -> int: ...


class _HeadDone(Exception):
    """The header that a HEAD asks for is written, and the app has more."""


class _LoggedTask(Task):
    """What our tasks do beyond waitress's, when they begin and when they finish a response."""

    channel: Channel  # type: ignore[assignment]  # an `HTTPChannel` of ours
    request: Parser  # type: ignore[assignment]  # of the parser_class of our channel
    body_bytes = 0

    def __init__(self, channel: Channel, request: Parser) -> None:
        super().__init__(channel, request)  # type: ignore[arg-type]
        # For an exception of the app waitress makes up a request of its own: the one that failed is still the first.
        self.sent: Parser = channel.requests[0] if channel.requests else request

    def build_response_header(self) -> bytes:
        is_last = self.channel.server.draining and len(self.channel.requests) <= 1  # none is waiting behind this one
        # waitress compares the whole value with one option; the environ has the value as it was sent.
        closes = is_last or self.close_on_finish or not self.request.keeps_alive
        self.request.headers["CONNECTION"] = "close" if closes else "keep-alive"
        return super().build_response_header()

    def write(self, data: bytes) -> None:
        if self.sent.command == "HEAD":  # has no body (RFC 9110 section 9.3.2)
            if not self.wrote_header:
                super().write(b"")
            elif data:  # the header is out: what follows is for nobody, and may have no end
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
        if self.sent.command == "HEAD":
            if not self.wrote_header:  # which says, as for GET, that the body would be chunked
                self.write(b"")
            self.chunked_response = False  # there is no last chunk either
        super().finish()

    def log(self) -> None:
        """Write the line of the access log."""
        if not access_logger.isEnabledFor(logging.INFO):
            return
        headers, record = self.sent.headers, self.sent.record
        access_logger.info(
            "%s",
            access_line(
                remote_addr=record.remote_addr if record else self.channel.addr[0],
                request_line=self.sent.request_line,
                status=self.status[:3] if self.wrote_header else "-",
                size=self._size(),
                referer=headers.get("REFERER"),
                user_agent=headers.get("USER_AGENT"),
                mount=record.mount if record else None,
                started=self.sent.received_at or self.start_time,
                finished=time.time(),
            ),
        )

    def _size(self) -> int:
        if not self.has_body or self.sent.command == "HEAD":
            return 0
        if self.content_length is None:
            return self.body_bytes
        # A file handed over by wsgi.file_wrapper goes past write(), at its full length.
        return min(self.body_bytes, self.content_length) or self.content_length


class AppTask(_LoggedTask, WSGITask):
    """A request on its way through the app."""

    def service(self) -> None:
        try:
            super().service()
        except ClientDisconnected:
            self.log()
            raise
        except BaseException:
            if self.wrote_header:  # else an LoggedErrorTask answers, and logs, in the place of this one
                self.log()
            raise
        self.log()

    def execute(self) -> None:
        """Call the app of the route, and write its response."""
        app, environ, _ = self.request.routed
        process = os.getpid()
        try:
            response = app(environ, self.start_response)
            if os.getpid() != process:  # a child that the app has forked must not respond too
                os._exit(1)
            self._send(response)
        except _HeadDone:
            pass
        except Exception:
            raise
        except BaseException as error:  # for SystemExit and the like waitress would leave the client without a response
            raise RuntimeError(f"the app raised {error!r}") from error

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: OptExcInfo | None = None, /
    ) -> Callable[[bytes], object]:
        """Take status and headers from the app, and return the ``write`` of PEP 3333."""
        if self.complete and not exc_info:
            raise AssertionError("start_response called a second time without providing exc_info.")
        if exc_info:
            try:
                if self.wrote_header:  # the client has another status already
                    assert exc_info[1] is not None
                    raise exc_info[1]
                self.response_headers = []
            finally:
                exc_info = None
        self.complete = True
        _require_line("status", status)
        self.status = status
        for name, value in headers:
            _require_line("header name", name)
            _require_line("header value", value)
            lower = name.lower()
            if lower == "content-length":
                self.content_length = int(value)
            elif lower in hop_by_hop:
                raise AssertionError(f'{name} is a "hop-by-hop" header; it cannot be used by a WSGI application')
        self.response_headers = [*self.response_headers, *headers]
        return self.write

    def _send(self, response: Iterable[bytes]) -> None:
        closes = True
        try:
            if isinstance(response, ReadOnlyFileBasedBuffer) and (size := response.prepare(self.content_length)):
                if self.content_length != size:
                    if self.content_length is not None:
                        self.remove_content_length_header()
                    self.content_length = size
                self.write(b"")
                self.channel.write_soon(response)
                closes = False  # the channel closes it, once it is sent or the client has gone
                return
            self._write_each(response)
        finally:
            if closes and hasattr(response, "close"):
                response.close()

    def _write_each(self, response: Iterable[bytes]) -> None:
        is_first = True
        for chunk in response:
            if is_first and self.content_length is None and isinstance(response, Sized) and len(response) == 1:
                self.content_length = len(chunk)
            is_first = False
            if chunk:  # the header leaves with the first byte of the body (PEP 3333)
                self.write(chunk)
        expected = self.content_length
        if expected is not None and self.content_bytes_written != expected and self.sent.command != "HEAD":
            self.set_close_on_finish()  # or the client would wait for the rest
            self.logger.warning(
                "application returned too few bytes (%s) for specified Content-Length (%s) via app_iter",
                self.content_bytes_written,
                expected,
            )


def _require_line(kind: str, text: object) -> None:
    """Raise an error unless *text* is a string that cannot begin another line of the header."""
    if not isinstance(text, str):
        raise AssertionError(f"{kind} {text!r} is not a string")
    if "\n" in text or "\r" in text:
        raise ValueError(f"carriage return/line feed character present in {kind}")


class LoggedErrorTask(_LoggedTask, ErrorTask):
    """A request that waitress answers itself: one that it could not read, or whose app raised."""

    def service(self) -> None:
        try:
            super().service()
        finally:
            self.log()
