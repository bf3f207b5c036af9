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

from .histogram import BOUNDS, BUCKETS, quantiles

#: The entries of a window: 60 seconds, or 60 minutes.
SPAN: Final = 60

CLASSES: Final = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
REJECTIONS: Final = ("queue", "limit", "body")

# The places of a tally. A status class has the place of its first digit.
_APP_SUM, _QUEUE_SUM, _BYTES_IN, _BYTES_OUT, _SLOW, _REJECTED = 6, 7, 8, 9, 10, 11
_APP: Final = _REJECTED + len(REJECTIONS)
_QUEUE: Final = _APP + BUCKETS
_SIZE: Final = _QUEUE + BUCKETS

_FASTEST: Final = BOUNDS[0]  # of most requests, whose bucket needs no search

#: Requests, errors, and seconds in the app, of one second or minute.
Row = tuple[int, int, float]
_NO_ROW: Final[Row] = (0, 0, 0.0)
_IDLE: Final[Sequence[Row]] = (_NO_ROW,) * SPAN

# The places of the counts beside a row: requests that were turned away and slow ones, then the buckets of the time in
# the app.
_TURNED_AWAY, _SLOW_ONES, _BUCKETS = range(3)
_NO_COUNTS: Final = (0,) * (_BUCKETS + BUCKETS)


#: The key of the mount of a finished request, the status, the time of the end, the seconds in the queue and in the app,
#: and the bytes of the body of the request and of the response.
Measures = tuple[str | None, int, float, float, float, int, int]
#: The same, why the request was rejected, and its method, path and id: only of one that was rejected, or that may be
#: among the slowest. Plain tuples: a named one takes three times as long.
Detailed = tuple[str | None, int, float, float, float, int, int, str | None, tuple[str, str, str | None]]


class Window:
    """The rows and counts of the latest `SPAN` seconds or minutes, and their sums. Units without requests have none."""

    __slots__ = ("counts", "entries", "row")

    def __init__(self) -> None:
        self.entries: dict[int, tuple[Row, array[int]]] = {}  # by second or minute, the oldest first
        self.row = _NO_ROW
        self.counts: Sequence[int] = _NO_COUNTS

    def add(self, unit: int, row: Row, counts: Sequence[int]) -> None:
        """Add a row and its counts to those of *unit*, which is not before the latest one."""
        self.row = _added(self.row, row)
        self.counts = [*map(add, self.counts, counts)]
        if (known := self.entries.get(unit)) is not None:
            row, counts = _added(known[0], row), [*map(add, known[1], counts)]
        self.entries[unit] = row, array("I", counts)

    def expire(self, unit: int) -> None:
        """Drop the entries that are too old at *unit*."""
        while self.entries and (oldest := next(iter(self.entries))) <= unit - SPAN:
            (requests, errors, seconds), counts = self.entries.pop(oldest)
            self.row = _added(self.row, (-requests, -errors, -seconds))
            self.counts = [*map(sub, self.counts, counts)]
        if not self.entries:
            self.row = _NO_ROW  # without the rounding errors of the subtractions


def _added(one: Row, other: Row) -> Row:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]


class MountCounts:
    """The counts of one mount. A request is slow if it runs for longer than *slow_after* seconds, unless that is 0."""

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
        """Begin *second*, which is later than the one before."""
        if any(self.tally[:_APP_SUM]):
            row, counts = _entry(self.tally)
            self.seconds.add(self.second, row, counts)
            self.minutes.add(self.second // 60, row, counts)
            self.total = [*map(add, self.total, self.tally)]
            self.tally = [0] * _SIZE
        self.second = second
        self.seconds.expire(second)
        self.minutes.expire(second // 60)

    def count(self, measures: Measures, rejection: str | None = None) -> None:
        """Count a request. If it ended before the present second, it counts as of this one."""
        _, status, ended_at, queue_seconds, app_seconds, bytes_in, bytes_out = measures
        if ended_at >= self.second + 1:
            self.begin(int(ended_at))
        tally = self.tally
        tally[status // 100] += 1
        if bytes_in:  # most requests have no body
            tally[_BYTES_IN] += bytes_in
        tally[_BYTES_OUT] += bytes_out
        if rejection is not None:
            tally[_REJECTED + REJECTIONS.index(rejection)] += 1
            return
        tally[_APP_SUM] += app_seconds
        tally[_QUEUE_SUM] += queue_seconds
        tally[_APP + bisect_left(BOUNDS, app_seconds) if app_seconds > _FASTEST else _APP] += 1
        tally[_QUEUE + bisect_left(BOUNDS, queue_seconds) if queue_seconds > _FASTEST else _QUEUE] += 1
        if app_seconds > self.slow_after > 0:
            tally[_SLOW] += 1

    def read(self, second: int) -> Reading:
        """Return the numbers at *second*, for `Reading.as_dict` to work out without the lock."""
        if second > self.second:
            self.begin(second)
        return Reading(
            self.second,
            [*map(add, self.total, self.tally)],
            _entry(self.tally),
            _copy(self.seconds),
            _copy(self.minutes),
            self.raised,
            [*self.exceptions.items()],
        )


def _copy(window: Window) -> Window:
    copy = Window()
    copy.entries, copy.row, copy.counts = window.entries.copy(), window.row, window.counts  # none of these changes
    return copy


class Reading(NamedTuple):
    """The numbers of a mount at one ``second``, the ``latest``: the windows have no entry of it yet."""

    second: int
    total: Sequence[float]
    latest: tuple[Row, Sequence[int]]
    seconds: Window
    minutes: Window
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
            "last_minute": _span(self.seconds, *self.latest),
            "last_hour": _span(self.minutes, *self.latest),
            "seconds": _rows(self.seconds, self.second, self.latest[0]),
            "minutes": _rows(self.minutes, self.second // 60, self.latest[0]),
        }


def _entry(tally: Sequence[Any]) -> tuple[Row, Sequence[int]]:
    """Return the part of a *tally* that a window keeps."""
    turned_away = tally[_REJECTED] + tally[_REJECTED + 1]
    row = sum(tally[:_APP_SUM]), tally[5] - turned_away, float(tally[_APP_SUM])
    return row, (turned_away, tally[_SLOW], *tally[_APP:_QUEUE])


def _histogram(counts: Sequence[float], total: float) -> Mapping[str, Any]:
    return {"bounds": BOUNDS, "counts": counts, "sum": float(total)}


def _span(window: Window, row: Row, latest: Sequence[int]) -> Mapping[str, Any]:
    counts = [*map(add, window.counts, latest)]
    return {
        "requests": window.row[0] + row[0],
        "errors": window.row[1] + row[1],
        "rejected": counts[_TURNED_AWAY],
        "slow": counts[_SLOW_ONES],
        **quantiles(counts[_BUCKETS:]),
    }


def _rows(window: Window, unit: int, latest: Row) -> Sequence[Row]:
    """Return the rows up to *unit*, the oldest first. *latest* belongs to *unit* and is not in the window yet."""
    if not window.entries and not latest[0]:
        return _IDLE
    rows = [*_IDLE]
    for key, (row, _) in window.entries.items():
        rows[key - unit - 1] = row
    rows[-1] = _added(rows[-1], latest)
    return rows
