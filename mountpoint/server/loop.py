"""The loop: waitress's, run a turn at a time, and the drain that loses nothing.

A signal only sets a flag and wakes the loop. From then on: the accept queue is taken and the listeners closed; answers
carry ``Connection: close``; connections that have been idle for a moment are closed; and whatever is in flight, queued
requests and slow readers included, has until ``drain_timeout`` to finish.
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
from .channel import Channel, Router, listener_class
from .fair_queue import FairQueues, QueueLimits
from .slow_requests import SlowWatch, log_in_flight, log_slow_end
from .sockets import BoundSocket, cannot_listen

IDLE = 1.0  # seconds without a byte, after which a keep-alive connection is taken to be idle while draining
TURN = 1.0  # seconds after which the loop looks around, though nothing has come

logger = logging.getLogger("mountpoint")


class Server:
    """Serves *router* on bound sockets, each mount within its *limits*.

    `run` serves until `stop` is called, and then drains. Any thread and any signal handler may call
    `call_soon_threadsafe` and `stop`; the rest belongs to the thread that runs the loop.
    """

    def __init__(
        self, router: Router, limits: Mapping[str, QueueLimits], settings: ServerConfig, bound: Sequence[BoundSocket]
    ) -> None:
        self.settings = settings
        self._router = router
        self._bound = bound
        self._map: dict[int, Any] = {}
        self._callbacks: deque[Callable[[], object]] = deque()
        self._stops = 0  # how often we were told to stop
        self._is_handed_over = False
        self._looked = 0.0  # when it was last looked around, a Unix time
        adjustments = Adjustments(
            **settings.adjustments,
            threads=settings.threads,
            # waitress counts its listeners and their triggers among the connections.
            connection_limit=settings.connection_limit + 2 * len(bound),
            sockets=[one.socket for one in bound],
            asyncore_use_poll=True,  # select() dies past 1,024 descriptors
            trusted_proxy=None,  # the proxy is ours to judge
            clear_untrusted_proxy_headers=False,
        )
        self._turn_timeout = min(adjustments.asyncore_loop_timeout, TURN)
        self.queues: FairQueues[Channel] = FairQueues(
            settings.threads, lambda channel: channel.route(self._router), log_slow_end
        )
        self.queues.reconfigure(limits)
        self._watch = SlowWatch(self.queues)
        self._listeners = [self._listen(adjustments, one) for one in bound]

    def _listen(self, adjustments: Adjustments, one: BoundSocket) -> Any:
        sock = one.socket
        try:
            return listener_class(one.address)(
                None,  # the app: our tasks ask the route of their request
                self._map,
                _sock=sock,
                dispatcher=self.queues,
                adj=adjustments,
                sockinfo=(sock.family, sock.type, sock.proto, sock.getsockname()),
                bind_socket=False,
            )
        except OSError as error:
            raise cannot_listen(one.address, error) from None

    def urls(self) -> list[str]:
        """Return where it listens: URLs, or ``unix:`` and a path."""
        urls = []
        for one in self._bound:
            if one.address.unix:
                urls.append(str(one.address))
            else:
                host, port = one.socket.getsockname()[:2]
                urls.append(f"http://{f'[{host}]' if ':' in host else host}:{port}/")
        return urls

    # ------------------------------------------------------------------------- from any thread, and signal handlers

    def call_soon_threadsafe(self, order: Callable[[], object]) -> None:
        """Have the loop call *order* after its turn."""
        self._callbacks.append(order)
        self._wake()

    def stop(self) -> None:
        """Begin to drain; called again, end at once."""
        self._stops += 1
        self._wake()

    def _wake(self) -> None:
        for listener in self._listeners[:1]:
            listener.pull_trigger()

    # ------------------------------------------------------------------------------------------ in the loop's thread

    def replace(self, router: Router, limits: Mapping[str, QueueLimits], settings: ServerConfig) -> None:
        """Serve *router* from now on; requests that run end on what they began with, those that wait are sorted anew.

        Of *settings* are taken the times of the drain and of headers; the rest is what it was made with.
        """
        self.settings = settings
        self._router = router
        self.queues.reconfigure(limits)
        self._watch.look_again()

    def hand_over(self) -> None:
        """Drain, and leave the listening sockets to the process that has them too."""
        self._is_handed_over = True
        for one in self._bound:
            one.file = None
        self._wake()

    def log_in_flight(self) -> None:
        """Log all requests in flight, with their stacks."""
        log_in_flight(self.queues)

    def run(
        self,
        ready: Callable[[], object] = lambda: None,
        each_turn: Callable[[], object] = lambda: None,
        longest_turn: float = TURN,
    ) -> int:
        """Call *ready*, serve until `stop`, then drain. Return 0, or 1 if something was cut off, which is logged.

        *each_turn* is called in the loop, while it serves, at least every *longest_turn* seconds.
        """
        ready()
        while not self._stops and not self._is_handed_over:
            each_turn()
            self._run_once(min(self._turn_timeout, longest_turn))
        try:
            return self._drain()
        finally:
            self.queues.stop()
            self._watch.stop()

    def _run_once(self, seconds: float) -> None:
        """Let the loop wait for events, for at most *seconds*, and handle them."""
        wasyncore.loop(timeout=seconds, use_poll=True, map=self._map, count=1)
        _run_callback(self.queues.answer_rejected)
        while self._callbacks:
            _run_callback(self._callbacks.popleft())
        now = time.time()
        if not 0 <= now - self._looked < TURN:
            self._looked = now
            for channel in self._channels():
                _run_callback(partial(channel.end_if_stuck, now, self.settings.header_timeout))

    # ------------------------------------------------------------------------------------------------------- draining

    def _drain(self) -> int:
        for listener in self._listeners:
            listener.draining = True  # before it is said: answers from now on are the last of their connections
        logger.info("draining: no new connections, up to %g s for what is in flight", self.settings.drain_timeout)
        deadline = time.monotonic() + self.settings.drain_timeout

        def is_over() -> bool:
            return self._stops > 1 or time.monotonic() >= deadline

        self._close_listeners()
        while self._channels() and not is_over():
            self._close_idle_channels()
            self._run_once(0.1)
        unfinished = [channel for channel in self._channels() if not channel.is_idle()]
        # What is left runs for clients that have gone; it may still write to a database.
        while not unfinished and self.queues.is_busy and not is_over():
            self._run_once(0.02)
        if unfinished or self.queues.is_busy:
            for channel in unfinished:
                logger.warning("cut off: %s", channel.description)
            running = len(self.queues.runs())
            logger.warning("stopped; cut off: %d connections, %d running threads", len(unfinished), running)
            return 1
        self._listeners = []  # a reload may still run: what it posts would go into a pipe that is another's by then
        wasyncore.close_all(self._map)
        logger.info("stopped, nothing was cut off")
        return 0

    def _close_listeners(self) -> None:
        """Take the connections that wait to be accepted, so that they are answered, and listen no longer.

        Where another process listens on the same sockets, it takes them.
        """
        for one in self._bound:
            one.unlink()
        for listener in self._listeners:
            taken = len(self._map) if self._is_handed_over else -1
            while taken != len(self._map):  # an accept that takes none leaves the map as it is
                taken = len(self._map)
                listener.handle_accept()
            # Not listener.close(), which closes the trigger too, and the loop could no longer be woken.
            wasyncore.dispatcher.close(listener)

    def _close_idle_channels(self) -> None:
        latest = time.time() - IDLE
        for channel in self._channels():
            if channel.is_idle() and channel.last_activity < latest:
                channel.will_close = True

    def _channels(self) -> list[Channel]:
        return [channel for channel in self._map.values() if isinstance(channel, Channel)]


def _run_callback(order: Callable[[], object]) -> None:
    """Call *order*. Whatever it raises is logged: the loop is everybody's."""
    try:
        order()
    except Exception:
        logger.exception("the loop goes on, but not what it was told to do")
