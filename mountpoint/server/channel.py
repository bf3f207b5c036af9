"""A client connection and its listener: the classes of waitress, changed in seven ways.

- All of their clocks are monotonic. waitress uses the system's clock, and setting that would stop its time-outs.
- `Channel.route` finds the mount of a request before the request is queued, and builds its environ once.
- A request that mountpoint itself answers is answered before its body has arrived (`Channel._answer_early`).
- `Channel.close_if_stuck` closes a connection whose client never finishes its header or stops reading;
  `Channel.close_if_body_is_slow` closes one whose client sends a body too slowly.
- At the connection limit, a listener closes the connection that has been idle for the longest time.
- A listener wakes the loop without ever blocking.
- A response that cannot be stored is cut off (`Channel.write_soon`).

The end of a connection is in `mountpoint.server.closing`, and trouble with a listener in `mountpoint.server.accepting`.

`mountpoint.server.waitress_names` lists every name of waitress that this package depends on.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from waitress.buffers import OverflowableBuffer, ReadOnlyFileBasedBuffer
from waitress.server import TcpWSGIServer

from ..config.address import Address
from ..wsgi.dispatch import Route
from ..wsgi.limits import MaxBody
from ..wsgi.responses import OwnResponse, unavailable
from .accepting import AcceptingListener
from .body_limits import BodyBudget
from .closing import ClosingChannel
from .environ import make_environ
from .parser import RETRY_AFTER, Parser
from .tasks import AppTask, LoggedErrorTask, ResponseCutOff

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

IDLE_SECONDS = 1.0  # without a byte, after which a connection may be closed to make room or for a drain

logger = logging.getLogger("mountpoint")


class Router(Protocol):
    """Finds the app of a request without calling it, as `mountpoint.wsgi.router.Router` does."""

    def route(self, environ: WSGIEnvironment) -> Route:
        """Return the app for *environ*, the environ to call it with, and the key of its mount, if any."""


class Channel(ClosingChannel):
    """A client connection. Its requests are served one after the other, the first of ``requests`` first."""

    server: TcpListener
    requests: list[Parser]  # type: ignore[assignment]  # ours stands in for waitress's parser
    request: Parser | None  # type: ignore[assignment]
    requests_lock: threading.Lock
    outbuf_lock: threading.Condition
    task_class = AppTask  # type: ignore[assignment]  # typeshed wants a WSGITask
    error_task_class = LoggedErrorTask
    _is_rejected = False  # whether the loop itself answers the first request
    _active_at = 0.0  # this and the next two are from `time.monotonic`, in seconds
    _previous_activity = 0.0  # ``last_activity`` before the data that is being read
    _stalled_since = 0.0  # when the client was first seen not to read a pending response

    @property
    def last_activity(self) -> float:
        """When the last byte came or left, from `time.monotonic`, in seconds."""
        return self._active_at

    @last_activity.setter
    def last_activity(self, _: float) -> None:
        # waitress assigns the time of the system's clock, and always means now.
        self._active_at = time.monotonic()

    # ------------------------------------------------------------------------------------- before a request is served

    def parser_class(self, adj: Any) -> Parser:  # type: ignore[override]  # waitress calls a class
        return Parser(adj, self.server.body_budget, self._answer_early)

    def _answer_early(self, request: Parser) -> bool:
        """Route *request*, whose body has not arrived. Return whether mountpoint itself answers it: it needs no body.

        Otherwise a client could upload to a path that no mount owns.
        """
        environ = make_environ(self, request)
        route = self.server.find_route(environ)
        app = route.app
        if isinstance(app, MaxBody):
            app = app.refusal(route.environ) or app
        if not isinstance(app, OwnResponse):
            request.record = None  # `route` makes it, with the environ of the whole request
            return False
        request.environ = environ
        request.route = route._replace(app=app)
        return True

    def route(self, router: Router) -> str | None:
        """Route the first request, or route it again after a reload.

        Return the key of its mount, or None if no mount owns it.
        """
        request = self.first_request
        request.received_at = request.received_at or time.monotonic()
        self._is_rejected = False
        if request.is_last:  # it needs no app, so it does not wait for one either
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

    def write_soon(self, data: Any) -> int:
        if isinstance(data, ReadOnlyFileBasedBuffer) and self.first_request.command == "HEAD":
            data.close()  # waitress would close it after the last byte
            return 0
        return self._store(data)

    def _store(self, data: Any) -> int:
        """Send *data*, or store it until the client reads. Raises `ResponseCutOff` if the disk is full."""
        with self.outbuf_lock:  # the loop must not send from a buffer that holds half of the data
            try:
                return super().write_soon(data)
            except OSError as error:
                logger.error("cut off: no room to store the response: %s: %s", self.description, error)
                for buffer in self.outbufs:
                    with suppress(OSError):  # the file cannot write its last bytes
                        buffer.close()
                self.outbufs = [OverflowableBuffer(self.adj.outbuf_overflow)]
                self.total_outbufs_len = 0
                self.connected = False
                self.will_close = True
        self.server.pull_trigger()
        raise ResponseCutOff

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
                for request in self.requests:
                    request.close()
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
            self._active_at = self._previous_activity
        if any(request.is_last for request in self.requests[-1:]):
            return False  # the rest of a body that is not read
        return super().received(data)

    def handle_close(self) -> None:
        super().handle_close()
        if (request := self.request) is not None:  # waitress closes only the requests that it serves
            request.close()

    def is_idle(self) -> bool:
        """Whether no request is being read or served, and no response is left to send."""
        return not self._is_reading_request() and not self.requests and not self.total_outbufs_len

    @property
    def idle_since(self) -> float | None:
        """The time of the last activity, from `time.monotonic`; None if the connection is not idle, or closes."""
        is_closing = self.will_close or self.close_when_flushed
        return None if is_closing or not self.is_idle() else self.last_activity

    def has_unread_data(self) -> bool:
        """Whether data has arrived that the loop has not read. The end of the connection counts as data."""
        try:
            assert self.socket is not None
            self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    def _is_reading_request(self) -> bool:
        """Whether part of a request has come. Blank lines before it do not count (RFC 9112 section 2.2)."""
        request = self.request
        return request is not None and request.has_begun

    def close_if_stuck(self, now: float, header_timeout: float) -> None:
        """Close the connection if its client never finishes a header, or stops reading a response.

        *now* is from `time.monotonic`. *header_timeout* is in seconds, 0 for no limit. waitress has neither limit: for
        it each byte of a header is activity, and a thread that writes to a client that does not read waits for ever.
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
            self._time_out("The header did not come in time.")

    def close_if_body_is_slow(self, now: float, body_timeout: float, min_rate: int) -> None:
        """Respond 408 if the body that is being read lags more than *body_timeout* seconds behind *min_rate*.

        *now* is a `time.monotonic`. A timeout of 0 turns this off. The rate is in bytes a second.
        """
        request = self.request
        if request is None or request.pace is None or not body_timeout:
            return
        if self.requests or self.total_outbufs_len:
            # Pipelined behind another request: waitress may not be reading the rest of the body yet.
            request.pace.restart(now, request.body_length)
        elif request.pace.lag(now, request.body_length, min_rate) > body_timeout:
            self._time_out("The body did not come in time.")

    def _client_reads(self) -> bool:
        """Try to send; return whether the kernel took data, or the connection is closed.

        The kernel reports a socket as writable only when a third of its buffer is free, which may be megabytes. A send
        succeeds earlier.
        """
        before = self.last_activity
        self._flush_exception(self._flush_some_if_lockable)  # type: ignore[attr-defined]
        return self.last_activity > before or not self.connected

    def _time_out(self, message: str) -> None:
        """Answer the unfinished request with 408."""
        with self.requests_lock:
            request = self.request
            if self.requests or request is None or not self.connected:
                return
            request.refuse(408, message)
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


class _Listener(AcceptingListener):
    """A listening socket that closes an idle connection when there are too many.

    The loop is woken through a pipe, which must not block: if the loop itself writes into a full pipe, nothing would
    ever empty it. `AcceptingListener.pull_trigger` skips that write, since a full pipe wakes the loop anyway.
    """

    channel_class = Channel
    draining = False  # whether each response closes its connection
    # waitress's own time for `maintenance`, by the system's clock: never
    next_channel_cleanup = math.inf  # type: ignore[assignment]  # typeshed has an int
    _next_maintenance = 0.0  # from `time.monotonic`, in seconds
    _is_making_room = False  # True from the logged warning until a connection is accepted below the limit
    body_budget: BodyBudget  # of all listeners together
    find_route: Callable[[WSGIEnvironment], Route]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        write_end: Any = self.trigger.trigger
        if sys.platform == "win32":
            write_end.setblocking(False)  # a socket
        else:
            os.set_blocking(write_end, False)

    def readable(self) -> bool:
        now = time.monotonic()
        if now >= self._next_maintenance:
            self._next_maintenance = now + self.adj.cleanup_interval
            self.maintenance(now)  # type: ignore[arg-type]  # typeshed has an int
        is_full = self.accepting and len(self._map) >= self.adj.connection_limit
        idle = self._longest_idle() if is_full else None
        if idle is not None:
            self.in_connection_overflow = True  # else waitress logs that it no longer accepts connections
        return super().readable() or (idle is not None and not self.is_paused)

    def handle_accept(self) -> None:
        """Accept a connection. At the limit, close an idle one for it; if none is idle, the new one has to wait."""
        before = len(self._map)
        if self.draining or before < self.adj.connection_limit:
            self._is_making_room = False
            super().handle_accept()
        elif (idle := self._longest_idle()) is not None:
            super().handle_accept()  # first, so that the new connection does not get the descriptor of the old one
            if len(self._map) == before:  # the client has left
                return
            idle.handle_close()
            if not self._is_making_room:
                self._is_making_room = True
                logger.warning("connection_limit is reached: a new connection closes the one that is idle the longest")

    def _longest_idle(self) -> Channel | None:
        """Return the connection that has been idle for the longest time, of all listeners, if it may be closed.

        A connection that is idle for less than `IDLE_SECONDS` is kept: its next request may be on its way.
        """
        idle_before = time.monotonic() - IDLE_SECONDS
        channels = [channel for channel in self._map.values() if isinstance(channel, Channel)]
        idle = [(since, channel) for channel in channels if (since := channel.idle_since) is not None]
        for since, channel in sorted(idle, key=lambda item: item[0]):
            if since > idle_before:
                break
            if not channel.has_unread_data():
                return channel
        return None


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
