"""The server: it runs the event loop one iteration at a time, and drains without losing a request.

A signal handler only sets a flag and wakes the loop. The drain then goes through these steps:

1. Every connection in the accept queue is accepted, and the listeners are closed.
2. Responses carry ``Connection: close``, and connections that have been idle for `IDLE_SECONDS` are closed.
3. Requests in flight, waiting requests and responses to slow readers have up to ``drain_timeout`` to finish.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from waitress import wasyncore
from waitress.adjustments import Adjustments

from ..config.reader import ServerConfig
from .access_log import AccessLog
from .body_limits import BodyBudget
from .channel import IDLE_SECONDS, Channel, Router
from .descriptors import ServerDescriptors
from .event_loop import EventLoop
from .fair_queue import FairQueues, QueueLimits
from .finished import ServerObserver
from .listener import listener_class
from .loop_delay import LoopDelay
from .selector import Selector
from .slow_requests import SlowRequestReporter, log_in_flight, log_slow_end
from .sockets import BoundSocket, listen_error, urls_of

MAX_WAIT = 1.0  # seconds for which the loop waits for an event at most

logger = logging.getLogger("mountpoint")


class Server:
    """Serves *router* on bound sockets, with the *limits* of each mount by its key. *observer* sees each response.

    `run` serves until `stop` is called, and then drains. `call_soon_threadsafe` and `stop` may be called from any
    thread and from signal handlers. All other methods belong to the thread that runs the loop.
    """

    def __init__(  # noqa: PLR0913 - the parts of a server
        self,
        router: Router,
        limits: Mapping[str, QueueLimits],
        settings: ServerConfig,
        bound: Sequence[BoundSocket],
        selector: Selector | None = None,
        *,
        observer: ServerObserver | None = None,
    ) -> None:
        self.settings = settings
        self._access_log_form = settings.access_log
        self._router = router
        self._bound = bound
        self._urls = urls_of(bound)  # while the sockets are open
        self._loop = EventLoop(self._pull_trigger, selector)
        self._map = self._loop.owners
        self._descriptors = ServerDescriptors(self._map)
        self._listeners: list[Any] = []
        self._callbacks: deque[Callable[[], object]] = deque()
        self._stop_calls = 0
        self._keeps_sockets = False  # open for the successor, while this process drains
        self._stuck_check_at = 0.0  # from `time.monotonic`, in seconds: the latest search for stuck connections
        self._has_failed = False  # whether an app has closed a listening socket
        adjustments = Adjustments(
            **settings.adjustments,
            threads=settings.threads,
            # waitress counts each listener and its trigger as connections.
            connection_limit=settings.connection_limit + 2 * len(bound),
            sockets=[one.socket for one in bound],
            trusted_proxy=None,  # `mountpoint.wsgi.proxies` handles the headers of proxies
            clear_untrusted_proxy_headers=False,
        )
        self._max_wait = min(adjustments.asyncore_loop_timeout, MAX_WAIT)
        self.queues: FairQueues[Channel] = FairQueues(
            settings.threads, lambda channel: channel.route(self._router), log_slow_end
        )
        self.queues.reconfigure(limits)
        self.loop_delay = LoopDelay()
        self._body_budget = BodyBudget(settings.max_buffered_bodies)
        self._observer = observer
        self._slow_reporter = SlowRequestReporter(self.queues)
        self._listeners = [self._listen(adjustments, one) for one in bound]

    def _listen(self, adjustments: Adjustments, bound: BoundSocket) -> Any:
        sock = bound.socket
        try:
            listener = listener_class(bound.address)(
                None,  # the app: our tasks call the app of the route
                self._map,
                _sock=sock,
                dispatcher=self.queues,
                adj=adjustments,
                sockinfo=(sock.family, sock.type, sock.proto, sock.getsockname()),
                bind_socket=False,
            )
        except OSError as error:
            raise listen_error(bound.address, error) from None
        listener.body_budget = self._body_budget
        listener.loop = self._loop
        listener.observer = self._observer
        listener.access_log = AccessLog(self.settings.access_log, self.settings.access_log_exclude)
        listener.router = lambda: self._router
        return listener

    def urls(self) -> list[str]:
        """Return the addresses of the server: URLs, or ``unix:`` and a path."""
        return self._urls

    @property
    def turned_at(self) -> float:
        """When the loop has turned, from `time.monotonic`, in seconds. It turns at least every `MAX_WAIT`."""
        return self._loop.woken_at

    @property
    def connections(self) -> int:
        """How many connections are open. For any thread: the copy is atomic."""
        return sum(isinstance(owner, Channel) for owner in dict.copy(self._map).values())

    # ------------------------------------------------------------------------- from any thread, and signal handlers

    def call_soon_threadsafe(self, callback: Callable[[], object]) -> None:
        """Have the loop call *callback* at the end of an iteration."""
        self._callbacks.append(callback)
        self._wake()

    def stop(self) -> None:
        """Drain. A second call ends the drain at once."""
        self._stop_calls += 1
        self._wake()

    def _wake(self) -> None:
        self._loop.wake()

    def _pull_trigger(self) -> None:
        for listener in self._listeners[:1]:
            listener.pull_trigger()

    # ------------------------------------------------------------------------------------------ in the loop's thread

    def replace(self, router: Router, limits: Mapping[str, QueueLimits], settings: ServerConfig) -> None:
        """Serve *router* from now on. Running requests finish on the old one; waiting requests are routed again.

        Of *settings* only ``drain_timeout``, ``header_timeout``, ``access_log_exclude`` and the limits on bodies take
        effect.
        """
        self.settings = settings
        self._body_budget.limit = settings.max_buffered_bodies
        self._router = router
        for listener in self._listeners:
            listener.access_log = AccessLog(self._access_log_form, settings.access_log_exclude)
        self.queues.reconfigure(limits)
        self._slow_reporter.reschedule()

    def drain_and_keep_sockets(self) -> None:
        """Drain, but leave the listening sockets and their files to the process that takes over."""
        self._keeps_sockets = True
        for bound in self._bound:
            bound.file = None
        self._wake()

    def log_in_flight(self) -> None:
        """Log every request in flight, with the stack of its thread."""
        log_in_flight(self.queues)

    def run(
        self,
        on_ready: Callable[[], object] = lambda: None,
        on_iteration: Callable[[], object] = lambda: None,
        max_wait: float = MAX_WAIT,
    ) -> int:
        """Call *on_ready*, serve until `stop`, then drain. Return 0, or 1 if the drain cut off a request.

        While the server serves, each iteration of the loop calls *on_iteration*, at least every *max_wait* seconds.
        """
        on_ready()
        while not self._stop_calls and not self._keeps_sockets and not self._has_lost_listener():
            on_iteration()
            self._run_once(min(self._max_wait, max_wait))
        try:
            return self._drain() or int(self._has_failed)
        finally:
            self.queues.stop()
            self._slow_reporter.stop()

    def _run_once(self, max_wait: float) -> None:
        """Wait up to *max_wait* seconds for events, and handle them."""
        began_at = time.monotonic()
        self._loop.run_once(max_wait)
        _run_callback(self.queues.answer_rejected)
        _run_callback(self.queues.use_spare_threads)
        while self._callbacks:
            _run_callback(self._callbacks.popleft())
        now = time.monotonic()
        if now - self._stuck_check_at >= MAX_WAIT:
            self._stuck_check_at = now
            for channel in self._channels():
                _run_callback(partial(channel.close_if_stuck, now, self.settings.header_timeout))
                settings = self.settings
                _run_callback(
                    partial(channel.close_if_body_is_slow, now, settings.body_timeout, settings.body_min_rate)
                )
                _run_callback(channel.close_if_over)
            self._loop.check()
            now = time.monotonic()
        woken_at = self._loop.woken_at
        self.loop_delay.record(max(now - woken_at, woken_at - began_at - max_wait), now)

    def _has_lost_listener(self) -> bool:
        """Whether an app has closed the descriptor of a listening socket. Only a new process can listen again."""
        for listener, bound in zip(self._listeners, self._bound, strict=True):
            if listener.is_lost and not self._has_failed:
                self._has_failed = True
                logger.error("the process ends: an app has closed the descriptor that listens on %s", bound.address)
        return self._has_failed

    # ------------------------------------------------------------------------------------------------------- draining

    def request_fields(self, thread: int) -> Mapping[str, object]:
        """Return the fields that log records of *thread* have, none while it runs no request. For any thread."""
        running = self.queues.running_request(thread)
        return running.request.log_fields if running else {}

    def _drain(self) -> int:
        for listener in self._listeners:
            listener.draining = True  # before the log line: each response after it closes its connection
        logger.info("draining: no new connections; requests in flight have up to %g s", self.settings.drain_timeout)
        deadline = time.monotonic() + self.settings.drain_timeout

        def is_over() -> bool:
            return self._stop_calls > 1 or time.monotonic() >= deadline

        self._close_listeners()
        while self._channels() and not is_over():
            self._close_idle_channels()
            self._run_once(0.1)
        unfinished = [channel for channel in self._channels() if not channel.is_idle()]
        # The requests of disconnected clients may still run, and may still write to a database.
        while not unfinished and self.queues.is_busy and not is_over():
            self._run_once(0.02)
        if unfinished or self.queues.is_busy:
            for channel in unfinished:
                logger.warning("cut off: %s", channel.description)
            running = len(self.queues.running_requests())
            logger.warning("stopped; cut off: %d connections, %d running threads", len(unfinished), running)
            return 1
        self._listeners = []  # a reload may still call `_wake`, and the descriptor of the trigger may be reused
        wasyncore.close_all(self._map)
        logger.info("stopped; no request was cut off")
        return 0

    def _close_listeners(self) -> None:
        """Accept the connections in the accept queue, so that they get their responses, and stop listening.

        If another process listens on the same sockets, that process accepts the rest.
        """
        for bound in self._bound:
            bound.unlink()
        for listener in self._listeners:
            if listener.is_lost:
                listener.abandon()
                continue
            count = len(self._map) if self._keeps_sockets else -1
            while count != len(self._map):  # an accept adds its connection to the map
                count = len(self._map)
                listener.handle_accept()
            # Not listener.close(): that also closes the trigger, and nothing could wake the loop.
            wasyncore.dispatcher.close(listener)

    def _close_idle_channels(self) -> None:
        idle_since = time.monotonic() - IDLE_SECONDS
        for channel in self._channels():
            if channel.is_idle() and channel.last_activity < idle_since:
                channel.will_close = True
                self._loop.update_soon(channel)

    def _channels(self) -> list[Channel]:
        return [channel for channel in self._map.values() if isinstance(channel, Channel)]


def _run_callback(callback: Callable[[], object]) -> None:
    """Call *callback* and log what it raises. All connections depend on the loop, so the loop continues."""
    try:
        callback()
    except Exception:
        logger.exception("unhandled exception in a loop callback; continuing")
