"""The slowest requests of the last hour."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .tally import SPAN, Detailed
from .text import readable

COUNT = 20


class SlowRequest(NamedTuple):
    """A request and its seconds in the app. ``ended_at`` is from the clock of the counters.

    Method and path are as sent.
    """

    seconds: float
    ended_at: float
    mount: str | None
    method: str
    path: str
    status: int
    request_id: str | None

    def as_dict(self, at: float) -> Mapping[str, Any]:
        return {
            "mount": self.mount,
            "method": readable(self.method),
            "path": readable(self.path),
            "status": self.status,
            "seconds": self.seconds,
            "at": at,
            "request_id": self.request_id,
        }


class SlowestRequests:
    """The `COUNT` slowest requests of each minute, for an hour.

    A request of the present minute that took no more than ``threshold`` seconds is not one of them.
    """

    def __init__(self) -> None:
        self.threshold = 0.0
        self._minute = 0
        self._minutes: dict[int, list[SlowRequest]] = {}  # heaps, the oldest first

    def add(self, record: Detailed) -> None:
        """Add a request, unless it is faster than the others of its minute."""
        mount, status, ended_at, _, seconds, _, _, _, (method, path, request_id) = record
        self.expire(ended_at)
        slow = SlowRequest(seconds, ended_at, mount, method, path, status, request_id)
        heap = self._minutes.setdefault(self._minute, [])
        if len(heap) < COUNT:
            heapq.heappush(heap, slow)
        else:
            heapq.heappushpop(heap, slow)
        self.threshold = heap[0].seconds if len(heap) == COUNT else 0.0

    def expire(self, now: float) -> None:
        """Drop the requests that are older than an hour, and begin a new minute if it is due."""
        minute = int(now) // 60
        if minute > self._minute:
            self._minute = minute
            self.threshold = 0.0
        while self._minutes and (oldest := next(iter(self._minutes))) <= self._minute - SPAN:
            del self._minutes[oldest]

    def forget(self, keys: set[str | None]) -> None:
        """Keep only the requests of the mounts *keys*."""
        for heap in self._minutes.values():
            heap[:] = [slow for slow in heap if slow.mount in keys]
            heapq.heapify(heap)

    def read(self, now: float) -> Sequence[SlowRequest]:
        """Return the slowest requests of the hour before *now*, the slowest first."""
        self.expire(now)
        return heapq.nlargest(COUNT, (slow for heap in self._minutes.values() for slow in heap))
