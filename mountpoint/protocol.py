"""HTTP as we have it of waitress: its parser, its tasks and its channel, each with what it lacks.

- Parser: the path as it was sent, and 400 for a request that names its host twice, not at all, or in contradiction.
- Tasks: the access log, written where a response is finished, so that waitress's own 400, 413 and 431 are in it;
  ``Connection: close`` while the server drains; and no body for HEAD, which would be taken for the next response.
- Channel: the environ, built once, when a request is queued; and an end for who sends no header, or takes no byte.

What is used of waitress beyond its documentation, here and in `mountpoint.loop`:

- the class attributes ``channel_class``, ``task_class``, ``error_task_class`` and ``parser_class``;
- of a task ``write``, ``build_response_header``, ``wrote_header``, ``content_length``, ``has_body`` and ``start_time``;
- of the parser ``parse_header``, ``first_line``, ``header_plus`` and ``headers_finished``;
- of a channel ``service``, ``requests``, ``requests_lock``, ``request``, ``connected``, ``write_soon``,
  ``handle_read``, ``received``, ``handle_close``, ``total_outbufs_len``,
  ``_flush_outbufs_below_high_watermark``, ``last_activity``, ``will_close`` and ``close_when_flushed``;
- of a listener its constructor, with a task dispatcher of ours, ``handle_accept``, ``trigger`` and ``pull_trigger``;
  and `wasyncore.loop`, a turn at a time.

The tests run them against the oldest release that ``pyproject.toml`` admits, and the newest.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

from waitress.buffers import ReadOnlyFileBasedBuffer
from waitress.channel import ClientDisconnected, HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import BaseWSGIServer, TcpWSGIServer
from waitress.task import ErrorTask, Task, WSGITask
from waitress.utilities import Error, RequestHeaderFieldsTooLarge

from .answers import unavailable
from .keys import host_name
from .monitor import access_line, access_logger, escaped
from .record import KEY, RequestRecord
from .target import split_target

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


TOGETHER = 16_384  # bytes of a body that are worth a copy to save a system call
RETRY_AFTER = 5  # seconds: how soon a client that was refused is to ask again

logger = logging.getLogger("mountpoint")

_TARGET = re.compile(rb"[^ ]+ ([^ ]+)")
_APP: Final = "mountpoint.app"  # in environ, between the queue and the thread


class Served(Protocol):
    """What is served: a WSGI application that can tell, before it is called, whose request it is."""

    def arrive(self, environ: WSGIEnvironment) -> tuple[WSGIApplication, WSGIEnvironment, str | None]:
        """Return what is to be called, with which environ, and the key of the mount that it comes to, if any."""


class RequestTimeout(Error):
    """The header did not come in time (RFC 9110 section 15.5.9)."""

    code = 408
    reason = "Request Timeout"


class Parser(HTTPRequestParser):
    """A request as it was sent. Its ``record`` is the `RequestRecord`, once there is an environ."""

    headers: dict[str, str]
    command: str = ""  # type: ignore[assignment]  # typeshed has bytes; a request that could not be read has none
    request_uri: str = ""
    path_info: str = ""
    first_line = b""  # type: ignore[assignment]  # typeshed has str
    record: RequestRecord | None = None
    environ: WSGIEnvironment | None = None  # as it was received
    arrival: WSGIEnvironment | None = None  # as it is to be called with
    mount: str | None = None  # the key of the one that it waits for
    head = b""  # the first bytes that were received
    begun = 0.0  # when they were, and when it was read whole: Unix times, in seconds
    arrived = 0.0

    def received(self, data: bytes) -> int:
        if not self.begun and data.strip():  # blank lines in front are none of it (RFC 9112 section 2.2)
            self.head = data
            self.begun = time.time()
        return super().received(data)

    def parse_header(self, header_plus: bytes) -> None:
        # waitress splits the target with urlsplit, which drops TABs, raises for ``http://[::1/x`` and refuses bytes
        # outside ASCII, which nginx and curl send as they are: it is given another one, and the target is split here.
        line = header_plus.partition(b"\r\n")[0].rstrip()
        found = _TARGET.match(line)
        try:
            super().parse_header(
                header_plus[: found.start(1)] + b"/" + header_plus[found.end(1) :] if found else header_plus
            )
            assert found is not None
            self.request_uri = found[1].decode("latin-1")
            target = split_target(self.request_uri)
        except ValueError as error:  # a Content-Length of 5,000 digits, a control character in the target
            raise ParsingError(str(error)) from None
        finally:
            self.first_line = line
        self.path_info, self.query = target.path_info, target.query
        # waitress takes any version for 1.0, and there reads a chunked body as the requests that follow.
        if self.version not in ("1.0", "1.1"):
            raise ParsingError("HTTP/1.0 and HTTP/1.1 are spoken here")
        if self.version == "1.0" and "TRANSFER_ENCODING" in self.headers:  # RFC 9112 section 6.1
            raise ParsingError("Transfer-Encoding in HTTP/1.0")
        self._check_host(target.authority)

    def _check_host(self, authority: str | None) -> None:
        """Raise ParsingError unless the request names one host (RFC 9112 sections 3.2 and 3.2.2)."""
        host = self.headers.get("HOST")
        if host is None:
            if self.version == "1.1":
                raise ParsingError("Host is missing")
            if authority is None:
                return
            host = self.headers["HOST"] = authority
        if host_name(host) is None:
            raise ParsingError("Host is invalid")
        if authority is not None and authority.lower() != host.lower():
            raise ParsingError("Host differs from the authority of the request target")

    @property
    def path(self) -> str:
        """What waitress's own messages name: the target as sent, so that it cannot forge a line of the log."""
        return escaped(self.request_uri)

    @path.setter
    def path(self, _: str) -> None:
        """Do without waitress's, whose leading slashes are collapsed and whose TABs are gone."""

    @property
    def title(self) -> str:
        """The method, and the whole path."""
        return f"{self.command} {self.path_info!r}"

    @property
    def request_line(self) -> str:
        """The request line as it was sent, as far as it was read; empty if there was none."""
        if isinstance(self.error, RequestHeaderFieldsTooLarge):  # waitress has put a line of its own in the place
            return (self.header_plus or self.head).lstrip().partition(b"\r\n")[0].decode("latin-1")
        return self.first_line.decode("latin-1")


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
        if self.channel.server.draining and len(self.channel.requests) <= 1:  # none is waiting behind this one
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
    app: WSGIApplication = environ.pop(_APP)
    process = os.getpid()
    response = app(environ, start_response)
    if os.getpid() != process:  # a child that the app has forked and let go on: it would answer too
        os._exit(1)
    return response


class _AppFile:
    """A file that an app has handed over, which the loop reads and closes: it would end with a SystemExit of it."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._file, name)

        def called(*args: Any) -> Any:
            try:
                return found(*args)
            except (SystemExit, KeyboardInterrupt) as error:
                raise RuntimeError(f"the file of an app raised {error!r}") from error

        return called if callable(found) else found


class Channel(HTTPChannel):
    """A connection."""

    server: TcpListener
    requests: list[Parser]
    request: Parser | None
    requests_lock: threading.Lock
    task_class = AppTask
    error_task_class = OurErrorTask
    parser_class = Parser
    _held: list[bytes] | None = None
    _is_refused = False  # whether the loop itself answers the first request
    _active = 0.0  # the last activity before what is being read; a Unix time
    _stands_since = 0.0  # when it was first seen that the client takes nothing of what is to be sent; a Unix time

    # ------------------------------------------------------------------------------------------- before it is served

    def arrive(self, served: Served) -> str | None:
        """Make the environ of the first request, if there is none yet; return the key of the mount that it comes to."""
        request = self.requests[0]
        request.arrived = request.arrived or time.time()
        self._is_refused = False
        if request.error:
            return None
        if request.environ is None:
            request.environ = AppTask(self, request).new_environment()
        elif request.record is not None:  # sorted anew: other proxies may be trusted now
            request.record.remote_addr = request.environ["REMOTE_ADDR"]
        app, request.arrival, request.mount = served.arrive(request.environ)
        request.arrival[_APP] = app
        return request.mount

    def refuse(self) -> None:
        """Let the first request be answered 503, by the loop."""
        self._is_refused = True
        request = self.requests[0]
        if request.arrival is not None and request.record is not None:
            request.record.mount = request.mount
            request.arrival[_APP] = unavailable(RETRY_AFTER, "too many requests wait for the mount")

    @property
    def first(self) -> Parser:
        """The request that is to be served, or is being served."""
        return self.requests[0]

    # ------------------------------------------------------------------------------------------------ while it is sent

    def hold(self) -> None:
        """Keep what is written until `let_go`, so that the header leaves with the first of the body.

        That is one system call and one packet; waitress makes two, and its loop turns idly in between.
        """
        self._held = []

    def let_go(self) -> None:
        """Write what was kept."""
        held, self._held = self._held, None
        self.write_soon(b"".join(held or ()))

    def write_soon(self, data: Any) -> int:
        if isinstance(data, ReadOnlyFileBasedBuffer) and self.requests[0].command == "HEAD":
            data.close()  # as waitress does once it has sent it
            return 0
        if isinstance(data, ReadOnlyFileBasedBuffer):
            data.file = _AppFile(data.file)  # type: ignore[assignment]  # typeshed has a BytesIO
        if self._held is None:
            return super().write_soon(data)
        if not self.connected:
            raise ClientDisconnected
        self._held.append(data)
        return len(data)

    def _flush_outbufs_below_high_watermark(self) -> None:
        if not self._is_refused:  # else we are in the loop, which would wait for itself to send
            super()._flush_outbufs_below_high_watermark()  # type: ignore[misc]  # typeshed has none

    def service(self) -> None:
        try:
            super().service()
        except BaseException:  # waitress has dealt with the app's: it is the log that cannot be written
            with self.requests_lock:
                self.close_when_flushed = True
                self.requests = []
            self.server.pull_trigger()
            raise

    # ------------------------------------------------------------------------------------------------- from the loop

    def handle_read(self) -> None:
        self._active = self.last_activity
        super().handle_read()

    def received(self, data: bytes) -> bool:
        if not data.strip() and not self._reads():  # blank lines keep no connection: one could send them for ever
            self.last_activity = self._active
        return super().received(data)

    def is_idle(self) -> bool:
        """Whether nothing is read of a request, being answered, or waiting to be sent."""
        return not self._reads() and not self.requests and not self.total_outbufs_len

    def _reads(self) -> bool:
        """Whether a request is half read. Blank lines in front of one are none yet (RFC 9112 section 2.2)."""
        request = self.request
        return request is not None and (request.headers_finished or bool(request.header_plus.strip()))

    def end_if_stuck(self, now: float, header_timeout: float) -> None:
        """End the connection if its client sends a header for too long, or takes no byte of a response.

        *now* is a Unix time, *header_timeout* in seconds, 0 for no end. waitress has an end for neither: each byte of
        a header counts as activity, and a thread that writes to a client who does not read waits for ever.
        """
        if self.total_outbufs_len and self.last_activity <= self._stands_since:
            if now - self._stands_since > self.adj.channel_timeout:
                logger.info("closing: %s has taken nothing for %d s", self.description, self.adj.channel_timeout)
                self.handle_close()  # which wakes the thread that writes
            return
        self._stands_since = now if self.total_outbufs_len else 0.0
        request = self.request
        if request is None or not request.begun or request.headers_finished:
            return
        if self.requests or self.total_outbufs_len:
            request.begun = now  # pipelined, behind a response: waitress may be leaving the rest unread
        elif header_timeout and now - request.begun > header_timeout:
            self._time_out()

    def _time_out(self) -> None:
        """Answer the header that does not end 408."""
        with self.requests_lock:
            request = self.request
            if self.requests or request is None or not self.connected:
                return
            request.error = RequestTimeout("The header did not come in time.")
            self.request = None
            self.requests.append(request)
            self.server.add_task(self)  # type: ignore[arg-type]  # typeshed has a Task

    @property
    def description(self) -> str:
        """What is going on, for a line of the log."""
        for request in self.requests[:1]:  # a thread may be taking it away
            mount = request.record.mount if request.record else None
            return f"{request.request_line!r} of {self.addr[0]}, mount {mount or '-'}"
        what = "a request that was not read whole" if self.request else "a response that was not taken whole"
        return f"{what}, of {self.addr[0]}"


class _Waking(BaseWSGIServer):
    """A listener that wakes the loop and never waits for that.

    Its pipe can be full, and the loop the one that writes: nobody else would empty it. A full one wakes the loop too.
    """

    channel_class = Channel
    draining = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        end: Any = self.trigger.trigger  # type: ignore[attr-defined]  # typeshed has an int
        if isinstance(end, int):
            os.set_blocking(end, False)
        else:  # Windows: a socket
            end.setblocking(False)

    def pull_trigger(self) -> None:
        with suppress(BlockingIOError):
            super().pull_trigger()


class TcpListener(_Waking, TcpWSGIServer):
    """A listening socket."""


if sys.platform != "win32":
    from waitress.server import UnixWSGIServer

    class UnixListener(_Waking, UnixWSGIServer):
        """A listening unix socket."""
