"""All that is counted for one mount: since the start, for the last minute by seconds, and for the last hour by minutes.

The requests of one second are counted in a list with a place for each number. When the second is over, the list is
added to the total and to the two windows. So a request costs a few additions, and each mount takes bounded memory:
at most 60 entries of each window. A mount without requests has empty windows.

Seconds and minutes are whole numbers, from a clock that never goes back. Nothing here is safe for several threads at
once: `mountpoint.status.counters` has the lock.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from operator import add, sub
from typing import Any, Final, NamedTuple

from .histogram import BOUNDS, BUCKETS, quantile

#: The entries of a window: 60 seconds, or 60 minutes.
SPAN: Final = 60

CLASSES: Final = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
REJECTIONS: Final = ("queue", "limit", "body")

# The places of a tally. A status class has the place of its first digit.
_APP_SUM, _QUEUE_SUM, _BYTES_IN, _BYTES_OUT, _SLOW, _REJECTED = 6, 7, 8, 9, 10, 11
_APP: Final = _REJECTED + len(REJECTIONS)
_QUEUE: Final = _APP + BUCKETS
_SIZE: Final = _QUEUE + BUCKETS

# The places of an entry of a window; the buckets of the time in the app follow.
_REQUESTS, _ERRORS, _SECONDS, _TURNED_AWAY, _SLOW_ONES, _BUCKETS = range(6)
_NOTHING: Final = (0,) * (_BUCKETS + BUCKETS)
_IDLE: Final[Sequence[tuple[int, int, float]]] = ((0, 0, 0.0),) * SPAN


#: Of a finished request: the key of its mount, its status, the time of its end, its seconds in the queue and in the
#: app, the bytes of its body and of that of its response.
Measures = tuple[str | None, int, float, float, float, int, int]
#: The method, the path and the id of a request that may be among the slowest.
Detail = tuple[str, str, str | None]
#: A finished request, why it was rejected, and its detail. A plain tuple: a named one takes three times as long.
Record = tuple[Measures, str | None, Detail | None]


class Window:
    """The entries of the latest `SPAN` seconds or minutes, and their sums. Units without requests have no entry."""

    __slots__ = ("entries", "sums")

    def __init__(self) -> None:
        self.entries: dict[int, array[float]] = {}  # by second or minute, the oldest first
        self.sums: Sequence[float] = _NOTHING

    def add(self, unit: int, entry: Sequence[float]) -> None:
        """Add *entry* to that of *unit*, which is not before the latest one."""
        known = self.entries.get(unit)
        self.entries[unit] = array("d", entry if known is None else map(add, known, entry))
        self.sums = [*map(add, self.sums, entry)]

    def expire(self, unit: int) -> None:
        """Drop the entries that are too old at *unit*."""
        while self.entries and (oldest := next(iter(self.entries))) <= unit - SPAN:
            self.sums = [*map(sub, self.sums, self.entries.pop(oldest))]
        if not self.entries:
            self.sums = _NOTHING  # without the rounding errors of the subtractions

    def rows(self, unit: int, entry: Sequence[float]) -> Sequence[tuple[int, int, float]]:
        """Return requests, errors and seconds in the app for each unit up to *unit*, the oldest first.

        *entry* is not in the window yet, and belongs to *unit*.
        """
        if not self.entries and not entry[_REQUESTS]:
            return _IDLE
        rows = [*_IDLE]
        for key, one in self.entries.items():
            rows[key - unit - 1] = (int(one[_REQUESTS]), int(one[_ERRORS]), one[_SECONDS])
        before = rows[-1]
        rows[-1] = (before[0] + int(entry[_REQUESTS]), before[1] + int(entry[_ERRORS]), before[2] + entry[_SECONDS])
        return rows


class MountCounts:
    """The counts of one mount. A request slower than *slow_after* seconds counts as slow, with 0 none does."""

    __slots__ = ("exceptions", "minutes", "raised", "second", "seconds", "slow_after", "tally", "total")

    def __init__(self, slow_after: float) -> None:
        self.slow_after = slow_after
        self.second = 0  # that `tally` belongs to
        self.tally: list[float] = [0] * _SIZE
        self.total: Sequence[float] = [0] * _SIZE
        self.seconds = Window()
        self.minutes = Window()
        self.exceptions: dict[tuple[str, str | None], tuple[int, float]] = {}  # count and time of the latest
        self.raised = 0  # exceptions in all

    def begin(self, second: int) -> None:
        """Count *second* from now on, which is later than the one before."""
        if any(self.tally[:_APP_SUM]):
            entry = _entry(self.tally)
            self.seconds.add(self.second, entry)
            self.minutes.add(self.second // 60, entry)
            self.total = [*map(add, self.total, self.tally)]
            self.tally = [0] * _SIZE
        self.second = second
        self.seconds.expire(second)
        self.minutes.expire(second // 60)

    def count(self, record: Record) -> None:
        """Count *record*. If it ended before the present second, it counts as of this one."""
        (_, status, ended_at, queue_seconds, app_seconds, bytes_in, bytes_out), rejection, _ = record
        second = int(ended_at)
        if second > self.second:
            self.begin(second)
        tally = self.tally
        tally[status // 100] += 1
        tally[_BYTES_IN] += bytes_in
        tally[_BYTES_OUT] += bytes_out
        if rejection is not None:
            tally[_REJECTED + REJECTIONS.index(rejection)] += 1
            return
        tally[_APP_SUM] += app_seconds
        tally[_QUEUE_SUM] += queue_seconds
        tally[_APP + bisect_left(BOUNDS, app_seconds)] += 1
        tally[_QUEUE + bisect_left(BOUNDS, queue_seconds)] += 1
        if app_seconds > self.slow_after > 0:
            tally[_SLOW] += 1

    def read(self, second: int) -> Reading:
        """Return the numbers at *second*, for `Reading.as_dict` to work out without the lock."""
        if second > self.second:
            self.begin(second)
        entry = _entry(self.tally)
        minute = self.second // 60
        return Reading(
            [*map(add, self.total, self.tally)],
            [*map(add, self.seconds.sums, entry)],
            [*map(add, self.minutes.sums, entry)],
            self.seconds.rows(self.second, entry),
            self.minutes.rows(minute, entry),
            self.raised,
            [*self.exceptions.items()],
        )


class Reading(NamedTuple):
    """The numbers of a mount at one moment: three sums, the rows of both windows, and the exceptions."""

    total: Sequence[float]
    minute: Sequence[float]
    hour: Sequence[float]
    seconds: Sequence[tuple[int, int, float]]
    minutes: Sequence[tuple[int, int, float]]
    raised: int
    exceptions: Sequence[tuple[tuple[str, str | None], tuple[int, float]]]

    def as_dict(self) -> dict[str, Any]:
        """Return the part of the snapshot that comes from the counts alone."""
        total = self.total
        return {
            "requests": dict(zip(CLASSES, total, strict=False)),
            "rejected": dict(zip(REJECTIONS, total[_REJECTED:], strict=False)),
            "bytes_in": total[_BYTES_IN],
            "bytes_out": total[_BYTES_OUT],
            "slow": total[_SLOW],
            "exceptions": self.raised,
            "queue_seconds": _histogram(total[_QUEUE:], total[_QUEUE_SUM]),
            "app_seconds": _histogram(total[_APP:_QUEUE], total[_APP_SUM]),
            "last_minute": _span(self.minute),
            "last_hour": _span(self.hour),
            "seconds": self.seconds,
            "minutes": self.minutes,
        }


def _entry(tally: Sequence[float]) -> Sequence[float]:
    """Return what a window keeps of a *tally*."""
    rejected = tally[_REJECTED] + tally[_REJECTED + 1]
    requests, errors = sum(tally[:_APP_SUM]), tally[5] - rejected
    return (requests, errors, tally[_APP_SUM], rejected, tally[_SLOW], *tally[_APP:_QUEUE])


def _histogram(counts: Sequence[float], total: float) -> Mapping[str, Any]:
    return {"bounds": BOUNDS, "counts": counts, "sum": float(total)}


def _span(sums: Sequence[float]) -> Mapping[str, Any]:
    requests, errors, _, rejected, slow = map(int, sums[:_BUCKETS])
    counts = sums[_BUCKETS:]
    return {
        "requests": requests,
        "errors": errors,
        "rejected": rejected,
        "slow": slow,
        "p50": quantile(0.5, counts),
        "p95": quantile(0.95, counts),
        "p99": quantile(0.99, counts),
    }
