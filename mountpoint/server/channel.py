"""A client connection: reads requests, finds their mounts, and runs them.

It replaces these parts of waitress's ``HTTPChannel``:

- All clocks are monotonic. waitress uses the system's clock, and setting that would stop its time-outs.
- `Channel.route` finds the mount of a request before the request is queued, and builds its environ once.
- A request that mountpoint itself answers is answered before its body has arrived (`Channel._answer_early`).
- The end of a request wakes the loop only if that has something to do (`Channel._end_request`).

Further parts are in the modules of its base classes: `mountpoint.server.writing`, `mountpoint.server.closing` and
`mountpoint.server.deadlines`.

`mountpoint.server.waitress_names` lists every name of waitress that this package depends on.
"""

from __future__ import annotations

import logging
import time
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from waitress.channel import ClientDisconnected
from waitress.utilities import InternalServerError

from ..loading.log_fields import log_with_fields
from ..wsgi.dispatch import Route
from ..wsgi.limits import MaxBody
from ..wsgi.request_id import RequestIds, set_request_id
from ..wsgi.responses import OwnResponse, unavailable
from .deadlines import DeadlineChannel
from .environ import make_environ, set_body
from .parser import RETRY_AFTER, Parser
from .selector import wait_for_data
from .tasks import AppTask, LoggedErrorTask

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

IDLE_SECONDS = 1.0  # without a byte, after which a connection may be closed to make room or for a drain
WAIT = 0.001  # seconds for which a thread without other work waits for the next request of its connection

logger = logging.getLogger("mountpoint")


class Router(Protocol):
    """Finds the app of a request without calling it, as `mountpoint.wsgi.router.Router` does."""

    @property
    def request_ids(self) -> RequestIds | None: ...

    def route(self, environ: WSGIEnvironment) -> Route:
        """Return the app for *environ*, the environ to call it with, and the key of its mount, if any."""


class Channel(DeadlineChannel):
    """A client connection. Its requests are served one after the other, the first of ``requests`` first."""

    task_class = AppTask  # type: ignore[assignment]  # typeshed wants a WSGITask
    error_task_class = LoggedErrorTask
    is_paused = False  # whether the loop does not read, since the worker thread calls `resume` after the request

    # ------------------------------------------------------------------------------------- before a request is served

    def readable(self) -> bool:
        return not self.is_paused and super().readable()

    def awaits_end(self) -> bool:
        """Whether the loop reads only if the client closes its sending half."""
        return self.is_paused and super().readable()

    def handle_read_event(self) -> None:
        """Read what has arrived. Called by the loop."""
        if self.lingers_until:
            self.drop()
        elif self._read() == b"":
            self.half_close()

    def _read(self) -> bytes | None:
        """Read what has arrived, and enqueue a request that is complete. Return the data, None if nothing has arrived.

        From any thread. The lock keeps the order of the data.
        """
        with self.requests_lock:
            data = self._receive()
            if data:
                self._parse(data)
            return data

    def _receive(self) -> bytes | None:
        with self.outbuf_lock:  # until it is released, no other connection can get the descriptor
            if self.socket is None:
                return None
            try:
                data: bytes = self.socket.recv(self.adj.recv_bytes)
                return data
            except BlockingIOError:
                return None
            except OSError:  # a reset
                self.will_close = True
        self.update_soon()
        return None

    def _parse(self, data: bytes) -> None:
        if self.will_close or self.is_over or (self.requests and self.requests[-1].is_last):
            return  # the rest of a body that is not read
        # Blank lines between requests do not count as activity: a client could keep a connection open with them.
        if self._is_reading_request() or data.strip():
            self._active_at = time.monotonic()
        while data:
            request = self.request
            if request is None:
                request = self.request = Parser(self.adj, self.server.body_budget, self._answer_early)
            used = request.received(data)
            if not self.requests and self._may_send_continue():
                self.send_continue()
            if request.completed:
                self.sent_continue = False
                self.request = None
                self.requests.append(request)
                if len(self.requests) == 1:  # else the end of the request before it enqueues it
                    self._pause()
                    self.server.add_task(self)
            data = data[used:]

    def _answer_early(self, request: Parser) -> bool:
        """Route *request*, whose body has not arrived. Return whether mountpoint itself answers it: it needs no body.

        Otherwise a client could upload to a path that no mount owns.
        """
        request.router = self.server.router()
        self._identify(request, request.router)
        environ = request.environ = make_environ(self, request)
        request.route = request.router.route(environ)
        app = request.route.app
        if isinstance(app, MaxBody):
            app = app.refusal(request.route.environ) or app
        if not isinstance(app, OwnResponse):
            return False
        request.route = request.route._replace(app=app)
        return True

    def route(self, router: Router) -> str | None:
        """Route the first request, or route it again after a reload.

        Return the key of its mount, or None if no mount owns it.
        """
        request = self.requests[0]
        request.received_at = request.received_at or time.monotonic()
        self._is_rejected = False
        self._identify(request, router)
        if request.is_last:  # it needs no app, so it does not wait for one either
            return None
        if request.environ is None:
            request.environ = make_environ(self, request)
        elif request.route is not None and request.router is router:  # since its head was complete
            set_body(request.environ, request)
            set_body(request.route.environ, request)
            return request.route.mount
        elif request.record is not None:
            request.record.reset(request.environ["REMOTE_ADDR"])
            set_body(request.environ, request)
            if request.request_id:  # the reload may have turned them on
                set_request_id(request.environ, request.request_id)
        request.router = router
        request.route = router.route(request.environ)
        return request.route.mount

    def _identify(self, request: Parser, router: Router) -> None:
        """Give *request* an id, if the server gives ids and the request has none."""
        if router.request_ids is not None and request.request_id is None:
            request.request_id = router.request_ids.choose(self.addr[0], request.headers.get("X_REQUEST_ID"))

    def reject(self, is_at_limit: bool) -> None:
        """Let `service` answer the first request with 503. The loop then calls `service` itself."""
        self._is_rejected = True
        request = self.requests[0]
        request.rejection = "limit" if is_at_limit else "queue"
        if request.route is not None:
            app = unavailable(RETRY_AFTER, "too many requests wait for the mount")
            request.route = request.route._replace(app=app)

    @property
    def first_request(self) -> Parser:
        """The request that is served now or next."""
        return self.requests[0]

    # ------------------------------------------------------------------------------------------- from a worker thread

    def service(self) -> None:
        """Run the first request."""
        request = self.requests[0]
        request.started_at = time.monotonic()
        request.is_excluded = self.server.access_log.excludes(request.route)
        self._may_send_more = request.is_last or request.keeps_alive
        closes = True
        try:
            closes = self._run_task(request)
        finally:  # an exception comes from a log handler: those of the app are handled
            self._end_request(request, closes=closes)

    def _run_task(self, request: Parser) -> bool:
        """Respond to *request*, and return whether the connection ends with the response."""
        if not self.connected:
            return True
        task: Any = (self.error_task_class if request.error else self.task_class)(self, request)
        try:
            task.service()
        except ClientDisconnected:
            self.logger.info("Client disconnected while serving %s", request.path)
            return True
        except Exception as error:
            self._log_exception(request, error)
            if self.server.observer is not None and request.route is not None:
                self.server.observer.app_raised(request.route.mount, error)
            if not task.wrote_header:
                self._respond_500(request)
            return True
        return bool(task.close_on_finish)

    def _log_exception(self, request: Parser, error: Exception) -> None:
        """Log the *error* of an app. Python cannot format a traceback with the name of a file that has a NUL."""
        message, fields = "Exception while serving %s", request.log_fields
        try:
            log_with_fields(self.logger, logging.ERROR, message, request.path, fields=fields, error=error)
        except Exception as failure:
            message += ": %s; its traceback cannot be logged: %r"
            name = type(error).__name__
            log_with_fields(self.logger, logging.ERROR, message, request.path, name, failure, fields=fields)

    def _respond_500(self, request: Parser) -> None:
        is_verbose = self.adj.expose_tracebacks
        body = traceback.format_exc() if is_verbose else "The server encountered an unexpected internal server error"
        failed = Parser(self.adj)
        failed.error = InternalServerError(body)
        failed.version = request.version
        if "CONNECTION" in request.headers:
            failed.headers["CONNECTION"] = request.headers["CONNECTION"]
        with suppress(ClientDisconnected):
            self.error_task_class(self, failed).service()

    def _end_request(self, request: Parser, *, closes: bool) -> None:
        """Remove *request*, and enqueue the next one. Wake the loop if the connection wants something else now."""
        with self.requests_lock:
            if closes:
                self.is_over = self.close_when_flushed = True
                for each in self.requests:
                    each.close()
                self.requests = []
            else:
                if self.current_outbuf_count:  # the next response gets a buffer of its own
                    self.current_outbuf_count = self.adj.outbuf_high_watermark
                request.close()
                self.requests.pop(0)
                if self.requests:
                    if self.connected:
                        self._pause()
                        self.server.add_task(self)
                elif self._is_half_closed:
                    self.close_when_flushed = True
                elif self.connected and self._may_send_continue():
                    self.send_continue()
            is_full = len(self.requests) >= self.adj.channel_request_lookahead  # the loop did not read any more
        self._active_at = time.monotonic()
        if is_full or self.close_when_flushed or self.will_close or self.server.draining:
            self.update_soon()

    def _pause(self) -> None:
        """Let the thread that runs the next request read the one after it, if the server is quiet."""
        if not self.is_paused and self.requests[0].keeps_alive and self.server.may_pause():
            self.is_paused = True
            self.server.loop.update(self)

    def resume(self, may_wait: bool) -> None:
        """Read the next request, or let the loop read it. The worker thread calls this after a request.

        If *may_wait*, no other thread has work. Then this thread waits a moment for the next request. A client that
        sends one request after the other is served without a switch of threads.
        """
        if not self.is_paused:
            return
        has_next = False
        try:
            may_wait = may_wait and not self.is_over and bool(super().readable())
            has_next = may_wait and wait_for_data(self._fileno, WAIT) and bool(self._read() and self.requests)
        finally:  # after an exception too, or the loop would never read again
            if not has_next:
                self.is_paused = False
                self.server.loop.update(self)

    def _may_send_continue(self) -> bool:
        """Whether the next request waits for 100 (Continue), which had to wait for the responses before it."""
        request = self.request
        return request is not None and request.expect_continue and request.headers_finished and not self.sent_continue

    # ------------------------------------------------------------------------------------------------- from the loop

    def handle_close(self) -> None:
        with self.outbuf_lock:  # no thread reads or writes now: the next connection may get the descriptor
            super().handle_close()
        self.server.count_decreased()
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

    def _is_reading_request(self) -> bool:
        """Whether part of a request has come. Blank lines before it do not count (RFC 9112 section 2.2)."""
        request = self.request
        return request is not None and request.has_begun
