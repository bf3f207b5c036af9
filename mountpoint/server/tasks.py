"""How a request is answered: waitress's tasks, with what they lack.

The access log is written where a response is finished, so that waitress's own 400, 413 and 431 are in it. Responses
carry ``Connection: close`` while the server drains. HEAD has no body, which would be taken for the next response.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from waitress.channel import ClientDisconnected
from waitress.task import ErrorTask, Task, WSGITask

from .file_wrapper import FileWrapper
from .access_log import access_line, access_logger
from .parser import Parser
from ..wsgi.record import KEY, RequestRecord

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from .channel import Channel

APP: Final = "mountpoint.app"  # what is to be called; in environ, between the queue and the thread
TOGETHER = 16_384  # bytes of a body that are worth a copy to save a system call


class _HeadIsAnswered(Exception):
    """The header that a HEAD asks for is written, and the app has more."""


class _Finishing(Task):
    """What our tasks do beyond waitress's, when they begin and when they finish a response."""

    channel: Channel
    request: Parser  # type: ignore[assignment]  # of the parser_class of our channel
    body_bytes = 0

    def __init__(self, channel: Channel, request: Parser) -> None:
        super().__init__(channel, request)  # type: ignore[arg-type]
        # For an exception of the app waitress makes up a request of its own: the one that failed is still the first.
        self.sent: Parser = channel.requests[0] if channel.requests else request

    def build_response_header(self) -> bytes:
        is_last = self.channel.server.draining and len(self.channel.requests) <= 1  # none is waiting behind this one
        if is_last or self.close_on_finish:
            # As if the client had asked for it: an HTTP/1.0 client that asks to stay would be told both.
            self.request.headers["CONNECTION"] = "close"
        return super().build_response_header()

    def write(self, data: bytes) -> None:
        if self.sent.command == "HEAD":  # has no body (RFC 9110 section 9.3.2)
            if not self.wrote_header:
                super().write(b"")
            elif data:  # the header is out: what follows is for nobody, and may have no end
                raise _HeadIsAnswered
        elif self.wrote_header or len(data) > TOGETHER:
            super().write(data)
        else:
            self.channel.hold()
            try:
                super().write(data)
            finally:
                self.channel.let_go()
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
                started=self.sent.arrived or self.start_time,
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


class AppTask(_Finishing, WSGITask):
    """A request on its way through the app."""

    def service(self) -> None:
        try:
            super().service()
        except ClientDisconnected:
            self.log()
            raise
        except BaseException:
            if self.wrote_header:  # else an OurErrorTask answers, and logs, in the place of this one
                self.log()
            raise
        self.log()

    def execute(self) -> None:
        try:
            super().execute()
        except _HeadIsAnswered:
            pass
        except Exception:
            raise
        except BaseException as error:  # SystemExit, say: waitress would leave the client without an answer
            raise RuntimeError(f"the app raised {error!r}") from error

    def get_environment(self) -> WSGIEnvironment:
        assert self.request.arrival is not None
        return self.request.arrival

    def new_environment(self) -> WSGIEnvironment:
        """Return the environ of the request as it was received."""
        environ: WSGIEnvironment = super().get_environment()
        environ["PATH_INFO"] = self.request.path_info  # waitress has collapsed slashes at its beginning
        environ["wsgi.file_wrapper"] = FileWrapper
        environ[KEY] = self.request.record = RequestRecord(environ["REMOTE_ADDR"])
        return environ


class OurErrorTask(_Finishing, ErrorTask):
    """A request that waitress answers itself: one that it could not read, or whose app raised."""

    def service(self) -> None:
        try:
            super().service()
        finally:
            self.log()


def call(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Call what the request has come to: the WSGI application of every listener."""
    app: WSGIApplication = environ.pop(APP)
    process = os.getpid()
    response = app(environ, start_response)
    if os.getpid() != process:  # a child that the app has forked and let go on: it would answer too
        os._exit(1)
    return response
