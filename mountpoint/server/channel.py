"""A connection and what listens for it: waitress's, with what they lack.

The environ is built once, when a request is queued; and there is an end for who sends no header, or takes no byte.

What is used of waitress beyond its documentation, here and in `mountpoint.server.parser`, `tasks`, `filewrapper` and
`loop`, which are the only ones that import it:

- the class attributes ``channel_class``, ``task_class``, ``error_task_class`` and ``parser_class``: to be there at all;
- of the parser ``received``, ``parse_header``, ``first_line``, ``header_plus``, ``headers_finished``, ``body_rcv``,
  ``expect_continue``, ``completed`` and ``error``, with `waitress.utilities`, `ChunkedReceiver` and
  ``HEADER_FIELD_RE``: for the path as it was sent, and for what could be read in two ways;
- of a task ``service``, ``execute``, ``get_environment``, ``write``, ``finish``, ``build_response_header``,
  ``complete``, ``wrote_header``, ``chunked_response``, ``content_length``, ``has_body`` and ``start_time``: for the
  log, and for HEAD;
- of a channel ``service``, ``requests``, ``requests_lock``, ``request``, ``received``, ``connected``: for the queues;
- of a channel ``write_soon``, ``handle_read``, ``handle_close``, ``total_outbufs_len``, ``last_activity``,
  ``will_close``, ``close_when_flushed``, ``outbuf_lock``, ``_flush_some``, ``_flush_some_if_lockable``,
  ``_flush_exception`` and ``_flush_outbufs_below_high_watermark``: for who is slow, and for the drain;
- of `ReadOnlyFileBasedBuffer` ``prepare``, ``get``, ``file`` and ``remain``: for files that take long to read;
- of a listener its constructor, with a task dispatcher of ours, ``handle_accept``, ``trigger`` and ``pull_trigger``;
  and ``loop``, ``close_all`` and ``dispatcher.close`` of `waitress.wasyncore`: for signals, and for the drain.

The tests run them against the oldest release that ``pyproject.toml`` admits, and the newest.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from waitress.buffers import ReadOnlyFileBasedBuffer
from waitress.channel import ClientDisconnected, HTTPChannel
from waitress.server import BaseWSGIServer, TcpWSGIServer

from ..config.address import Address
from ..wsgi.dispatch import Route
from ..wsgi.responses import unavailable
from .environ import make_environ
from .parser import Parser, RequestTimeout
from .tasks import AppTask, LoggedErrorTask

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

RETRY_AFTER = 5  # seconds: how soon a client that was refused is to ask again

logger = logging.getLogger("mountpoint")


class Router(Protocol):
    """Finds the app of a request without calling it: `mountpoint.wsgi.router.Router` does."""

    def route(self, environ: WSGIEnvironment) -> Route:
        """Return the app that answers *environ*, the environ to call it with, and the key of its mount, if any."""


class Channel(HTTPChannel):
    """A connection."""

    server: TcpListener
    requests: list[Parser]
    request: Parser | None
    requests_lock: threading.Lock
    outbuf_lock: threading.Condition
    task_class = AppTask
    error_task_class = LoggedErrorTask
    parser_class = Parser
    _corked: list[bytes] | None = None
    _is_rejected = False  # whether the loop itself answers the first request
    _active = 0.0  # the last activity before what is being read; a Unix time
    _stands_since = 0.0  # when it was first seen that the client takes nothing of what is to be sent; a Unix time

    # ------------------------------------------------------------------------------------------- before it is served

    def route(self, router: Router) -> str | None:
        """Route the first request, again after a reload; return the key of its mount, None if no mount owns it."""
        request = self.requests[0]
        request.received_at = request.received_at or time.time()
        self._is_rejected = False
        if request.error:
            return None
        if request.environ is None:
            request.environ = make_environ(self, request)
        elif request.record is not None:
            request.record.reset(request.environ["REMOTE_ADDR"])
        request.route = router.route(request.environ)
        return request.route.mount

    def reject(self) -> None:
        """Let the first request be answered 503, by the loop."""
        self._is_rejected = True
        request = self.requests[0]
        if request.route is not None:
            app = unavailable(RETRY_AFTER, "too many requests wait for the mount")
            request.route = request.route._replace(app=app)

    @property
    def first(self) -> Parser:
        """The request that is to be served, or is being served."""
        return self.requests[0]

    # ------------------------------------------------------------------------------------------------ while it is sent

    def cork(self) -> None:
        """Keep what is written until `uncork`, so that the header leaves with the first of the body.

        That is one system call and one packet; waitress makes two, and its loop turns idly in between.
        """
        self._corked = []

    def uncork(self) -> None:
        """Write what was kept."""
        held, self._corked = self._corked, None
        self.write_soon(b"".join(held or ()))

    def write_soon(self, data: Any) -> int:
        if isinstance(data, ReadOnlyFileBasedBuffer) and self.requests[0].command == "HEAD":
            data.close()  # as waitress does once it has sent it
            return 0
        if self._corked is None:
            return super().write_soon(data)
        if not self.connected:
            raise ClientDisconnected
        self._corked.append(data)
        return len(data)

    def _flush_outbufs_below_high_watermark(self) -> None:
        if not self._is_rejected:  # else we are in the loop, which would wait for itself to send
            super()._flush_outbufs_below_high_watermark()  # type: ignore[misc]  # typeshed has none

    def _flush_some(self, do_close: bool = True) -> bool:
        # waitress's loop does it without the lock where no request runs; the thread of the last one may be about to
        # write "100 Continue", and both would send the same bytes.
        with self.outbuf_lock:
            return bool(super()._flush_some(do_close=do_close))  # type: ignore[misc]

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
            if now - self._stands_since > self.adj.channel_timeout and not self._moves():
                logger.info("closing: %s has taken nothing for %d s", self.description, self.adj.channel_timeout)
                self.handle_close()  # which wakes the thread that writes
            return
        self._stands_since = now if self.total_outbufs_len else 0.0
        request = self.request
        if request is None or not request.first_byte_at or request.headers_finished:
            return
        if self.requests or self.total_outbufs_len:
            request.first_byte_at = now  # pipelined, behind a response: waitress may be leaving the rest unread
        elif header_timeout and now - request.first_byte_at > header_timeout:
            self._time_out()

    def _moves(self) -> bool:
        """Whether the client has taken something after all.

        The kernel wakes the loop only once a third of its buffer is free, which may be megabytes; it takes less.
        """
        before = self.last_activity
        self._flush_exception(self._flush_some_if_lockable)  # type: ignore[attr-defined]
        return self.last_activity > before or not self.connected

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
        if sys.platform == "win32":
            end.setblocking(False)  # a socket
        else:
            os.set_blocking(end, False)

    def pull_trigger(self) -> None:
        with suppress(BlockingIOError):
            super().pull_trigger()


class TcpListener(_Waking, TcpWSGIServer):
    """A listening socket."""


if sys.platform != "win32":
    from waitress.server import UnixWSGIServer

    class UnixListener(_Waking, UnixWSGIServer):
        """A listening unix socket."""


def listener_class(address: Address) -> Any:
    """Return the class whose instances listen on *address*."""
    return UnixListener if sys.platform != "win32" and address.unix else TcpListener
