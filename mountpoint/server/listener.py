"""A listening socket: the listeners of waitress, with a connection limit that idle connections make room for.

Trouble with the socket itself is in `mountpoint.server.accepting`.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from waitress.server import TcpWSGIServer

from ..config.address import Address
from .accepting import AcceptingListener
from .access_log import AccessLog
from .body_limits import BodyBudget
from .channel import IDLE_SECONDS, Channel, Router
from .event_loop import EventLoop
from .finished import ServerObserver

_ACCEPTS = 16  # connections that are accepted at once

logger = logging.getLogger("mountpoint")


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
    access_log: AccessLog
    observer: ServerObserver | None = None
    loop: EventLoop
    active_channels: dict[int, Channel]  # type: ignore[assignment]  # typeshed has a channel
    task_dispatcher: Any
    router: Callable[[], Router]  # that of the latest reload

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
            self.maintenance(now)
        is_full = self.accepting and len(self._map) >= self.adj.connection_limit
        idle = self._longest_idle() if is_full else None
        if idle is not None:
            self.in_connection_overflow = True  # else waitress logs that it no longer accepts connections
        return super().readable() or (idle is not None and not self.is_paused)

    def maintenance(self, now: float) -> None:
        """Close the connections that have been idle for too long. *now* is from `time.monotonic`."""
        cutoff = now - self.adj.channel_timeout
        for channel in list(self.active_channels.values()):
            if channel.last_activity < cutoff and channel.is_idle():
                channel.will_close = True
                self.loop.update_soon(channel)

    def add_task(self, channel: Any) -> None:
        """Enqueue the first request of *channel*. Called from the loop, and from worker threads."""
        if not self.task_dispatcher.add_task(channel):
            self.loop.wake()

    def may_pause(self) -> bool:
        """Whether the thread that will run the request shall also read the next one of its connection."""
        return self.loop.can_pause and self.task_dispatcher.is_quiet

    def count_decreased(self) -> None:
        """Accept connections again, if the limit was reached. A listener knows that for itself only."""
        if len(self._map) == self.adj.connection_limit - 1:
            for owner in list(self._map.values()):
                if owner.accepting:
                    self.loop.update_soon(owner)

    def handle_read_event(self) -> None:
        """Accept connections: several at once, because under load each iteration of the loop waits for its turn."""
        for _ in range(_ACCEPTS):
            before = len(self._map)
            self.handle_accept()
            if len(self._map) <= before:
                return

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
