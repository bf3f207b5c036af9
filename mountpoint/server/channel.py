"""A client connection and its listener: the classes of waitress, changed in four ways.

- `Channel.route` finds the mount of a request before the request is queued, and builds its environ once.
- The header of a response and the start of its body leave in one packet (`Channel.cork`).
- `Channel.close_if_stuck` closes a connection whose client never finishes its header or stops reading.
- A listener wakes the loop without ever blocking.

`mountpoint.server.waitress_names` lists every name of waitress that this package depends on.
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

RETRY_AFTER = 5  # seconds after which a rejected client may ask again

logger = logging.getLogger("mountpoint")


class Router(Protocol):
    """Finds the app of a request without calling it, as `mountpoint.wsgi.router.Router` does."""

    def route(self, environ: WSGIEnvironment) -> Route:
        """Return the app for *environ*, the environ to call it with, and the key of its mount, if any."""


class Channel(HTTPChannel):
    """A client connection. Its requests are served one after the other, the first of ``requests`` first."""

    server: TcpListener
    requests: list[Parser]
    request: Parser | None
    requests_lock: threading.Lock
    outbuf_lock: threading.Condition
    task_class = AppTask  # type: ignore[assignment]  # typeshed wants a WSGITask
    error_task_class = LoggedErrorTask
    parser_class = Parser
    _corked: list[bytes] | None = None
    _is_rejected = False  # whether the loop itself responds to the first request
    _previous_activity = 0.0  # a Unix time: ``last_activity`` before the data that is being read
    _stalled_since = 0.0  # a Unix time: when the client was first seen not to read a pending response

    # ------------------------------------------------------------------------------------- before a request is served

    def route(self, router: Router) -> str | None:
        """Route the first request, or route it again after a reload.

        Return the key of its mount, or None if no mount owns it.
        """
        request = self.first_request
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
        """Let `service` answer the first request with 503. The loop then calls `service` itself."""
        self._is_rejected = True
        request = self.first_request
        if request.route is not None:
            app = unavailable(RETRY_AFTER, "too many requests wait for the mount")
            request.route = request.route._replace(app=app)

    @property
    def first_request(self) -> Parser:
        """The request that is served now or next."""
        return self.requests[0]

    # ------------------------------------------------------------------------------------- while a response is written

    def cork(self) -> None:
        """Collect all writes until `uncork`, so that the header and the start of the body leave together.

        That takes one system call and one packet. waitress makes two of each, with a needless iteration of its loop.
        """
        self._corked = []

    def uncork(self) -> None:
        """Write the collected data."""
        corked, self._corked = self._corked, None
        self.write_soon(b"".join(corked or ()))

    def write_soon(self, data: Any) -> int:
        if isinstance(data, ReadOnlyFileBasedBuffer) and self.first_request.command == "HEAD":
            data.close()  # waitress would close it after the last byte
            return 0
        if self._corked is None:
            return super().write_soon(data)
        if not self.connected:
            raise ClientDisconnected
        self._corked.append(data)
        return len(data)

    def _flush_outbufs_below_high_watermark(self) -> None:
        # waitress waits here for the loop to send data. A rejected request is answered by the loop itself.
        if not self._is_rejected:
            super()._flush_outbufs_below_high_watermark()  # type: ignore[misc]  # typeshed has none

    def _flush_some(self, do_close: bool = True) -> bool:
        # waitress takes no lock here if no request runs. The thread of the last request may be about to write
        # "100 Continue", and both threads would send the same bytes.
        with self.outbuf_lock:
            return bool(super()._flush_some(do_close=do_close))  # type: ignore[misc]

    def service(self) -> None:
        try:
            super().service()
        except BaseException:  # waitress handles exceptions of the app: this one comes from a log handler
            with self.requests_lock:
                self.close_when_flushed = True
                self.requests = []
            self.server.pull_trigger()
            raise

    # ------------------------------------------------------------------------------------------------- from the loop

    def handle_read(self) -> None:
        self._previous_activity = self.last_activity
        super().handle_read()

    def received(self, data: bytes) -> bool:
        # Blank lines between requests do not count as activity: a client could keep a connection open with them.
        if not data.strip() and not self._is_reading_request():
            self.last_activity = self._previous_activity
        return super().received(data)

    def is_idle(self) -> bool:
        """Whether no request is being read or served, and no response is left to send."""
        return not self._is_reading_request() and not self.requests and not self.total_outbufs_len

    def _is_reading_request(self) -> bool:
        """Whether part of a request has come. Blank lines before it do not count (RFC 9112 section 2.2)."""
        request = self.request
        return request is not None and (request.headers_finished or bool(request.header_plus.strip()))

    def close_if_stuck(self, now: float, header_timeout: float) -> None:
        """Close the connection if its client never finishes a header, or stops reading a response.

        *now* is a Unix time. *header_timeout* is in seconds, 0 for no limit. waitress has neither limit: for it each
        byte of a header is activity, and a thread that writes to a client that does not read waits for ever.
        """
        if self.total_outbufs_len and self.last_activity <= self._stalled_since:
            if now - self._stalled_since > self.adj.channel_timeout and not self._client_reads():
                seconds = self.adj.channel_timeout
                logger.info("closing: the client has read nothing for %d s: %s", seconds, self.description)
                self.handle_close()  # wakes the thread that writes
            return
        self._stalled_since = now if self.total_outbufs_len else 0.0
        request = self.request
        if request is None or not request.first_byte_at or request.headers_finished:
            return
        if self.requests or self.total_outbufs_len:
            # Pipelined behind another request: waitress may not be reading the rest of the header yet.
            request.first_byte_at = now
        elif header_timeout and now - request.first_byte_at > header_timeout:
            self._time_out()

    def _client_reads(self) -> bool:
        """Try to send; return whether the kernel took data, or the connection is closed.

        The kernel reports a socket as writable only when a third of its buffer is free, which may be megabytes. A send
        succeeds earlier.
        """
        before = self.last_activity
        self._flush_exception(self._flush_some_if_lockable)  # type: ignore[attr-defined]
        return self.last_activity > before or not self.connected

    def _time_out(self) -> None:
        """Answer the unfinished header with 408."""
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
        """The request or response in progress, for a line of the log."""
        for request in self.requests[:1]:  # no index: another thread may empty the list
            mount = request.record.mount if request.record else None
            return f"{request.request_line!r} of {self.addr[0]}, mount {mount or '-'}"
        progress = "an incomplete request" if self.request else "a response that was not sent completely"
        return f"{progress}, of {self.addr[0]}"


class _Listener(BaseWSGIServer):
    """A listening socket that wakes the loop without blocking.

    waitress wakes the loop through a pipe. If the loop itself writes into a full pipe, nothing would ever empty it. A
    full pipe wakes the loop anyway, so the write can be skipped.
    """

    channel_class = Channel
    draining = False  # whether each response closes its connection

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        write_end: Any = self.trigger.trigger  # type: ignore[attr-defined]  # typeshed has an int
        if sys.platform == "win32":
            write_end.setblocking(False)  # a socket
        else:
            os.set_blocking(write_end, False)

    def pull_trigger(self) -> None:
        with suppress(BlockingIOError):
            super().pull_trigger()


class TcpListener(_Listener, TcpWSGIServer):
    """A listening TCP socket."""


if sys.platform != "win32":
    from waitress.server import UnixWSGIServer

    class UnixListener(_Listener, UnixWSGIServer):
        """A listening unix socket."""


def listener_class(address: Address) -> Any:
    """Return the listener class for *address*."""
    if sys.platform != "win32" and address.unix:
        return UnixListener
    return TcpListener
