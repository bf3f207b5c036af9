"""The counters of a server: an observer of its requests.

A thread that has served a request appends one tuple to a deque, which takes no lock. The thread that appends the last
tuple of a batch adds the batch to the counts of the mounts, if no other thread does so at that moment. A reader adds
the rest before it reads. So no thread that serves requests ever waits for the lock, and no request is lost: a tuple
stays in the deque until one thread has counted it.

Counts per thread, which readers would add up, are not cheaper: each thread would have to start a new list for each
second, and a reader would have to know when the thread has done so.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from ..config.reader import MountConfig
from .exceptions import MAX_TEXT
from .exceptions import describe as describe_exception
from .slowest import SlowestRequests, SlowRequest
from .tally import Detailed, Measures, MountCounts, Reading
from .text import METHOD_CHARACTERS, PATH_CHARACTERS

_BATCH = 64  # requests that are counted together
_MOST = 512  # requests that one thread counts at once, if a reader has held the lock for long
_MAX_EXCEPTIONS = 10  # kinds of each mount
_REJECTING = frozenset({413, 503, 507})


class Request(Protocol):
    """The part of a `mountpoint.server.finished.FinishedRequest` that is kept of one that is rejected or slow."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def request_id(self) -> str | None: ...
    @property
    def rejection(self) -> str | None: ...


class CountersReading(NamedTuple):
    """The counts at ``now``, a time of the clock, by the key of each mount. None has the requests without a mount."""

    now: float
    started_at: float
    mounts: Mapping[str | None, Reading]
    slowest: Sequence[SlowRequest]


class Counters:
    """Counts requests and exceptions by mount. *clock* returns seconds, as `time.monotonic` does.

    The times of the requests must come from the same clock. Requests of a mount that `configure` has not named, such as
    those that end after their mount was removed, are not counted.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started_at = clock()
        self._lock = threading.Lock()  # for all below, except that any thread appends to the two deques
        self._records: deque[Measures | Detailed] = deque()
        self._raised: deque[tuple[str | None, str, str | None, float]] = deque()
        self._mounts: dict[str | None, MountCounts] = {None: MountCounts(0.0)}
        self._roots: Mapping[str | None, Path] = {}
        self._slowest = SlowestRequests()

    def configure(self, mounts: Sequence[MountConfig]) -> None:
        """Count for *mounts* from now on. The counts of those that were there before go on."""
        with self._lock:
            self._count(len(self._records))
            before = self._mounts
            counts: dict[str | None, MountCounts] = {
                mount.key: before.get(mount.key) or MountCounts(mount.slow_after) for mount in mounts
            }
            for mount in mounts:
                counts[mount.key].slow_after = mount.slow_after
            counts[None] = before[None]
            self._mounts = counts
            self._roots = {mount.key: mount.root for mount in mounts}
            self._slowest.forget(set(counts))

    # ----------------------------------------------------------------------------------- in threads that serve requests

    def request_finished(self, measures: Measures, describe: Callable[[], Request]) -> None:
        """Count a request. Never waits. *describe* is called only for one that may be rejected or among the slowest."""
        records = self._records
        if measures[4] > self._slowest.threshold or measures[1] in _REJECTING:
            request = describe()
            detail = request.method[:METHOD_CHARACTERS], request.path[:PATH_CHARACTERS], request.request_id
            records.append((*measures, request.rejection, detail))
        else:
            records.append(measures)
        if len(records) >= _BATCH:
            self._count_unless_busy()

    def app_raised(self, mount: str | None, error: BaseException) -> None:
        """Count an exception of the app of *mount*. Never waits."""
        try:
            kind, place = describe_exception(error, self._roots.get(mount, Path("/")))
        except Exception:  # the code has the name of a file that no file can have
            kind, place = type(error).__name__[:MAX_TEXT], None
        self._raised.append((mount, kind, place, self._clock()))
        if len(self._raised) >= _BATCH:
            self._count_unless_busy()

    def _count_unless_busy(self) -> None:
        if self._lock.acquire(blocking=False):
            try:
                self._count(_MOST)
            finally:
                self._lock.release()

    # -------------------------------------------------------------------------------------------------- in any thread

    def read(self) -> CountersReading:
        """Return the counts of every mount, with all requests that have ended."""
        with self._lock:
            self._count(len(self._records))
            now = self._clock()
            second = int(now)
            mounts = {key: counts.read(second) for key, counts in self._mounts.items()}
            return CountersReading(now, self._started_at, mounts, self._slowest.read(now))

    # ------------------------------------------------------------------------------------ private, called with the lock

    def _count(self, most: int) -> None:
        """Count up to *most* requests, the oldest first, and all exceptions."""
        records, mounts = self._records, self._mounts
        next_record = records.popleft
        for _ in range(min(most, len(records))):
            record = next_record()
            counts = mounts.get(record[0])
            if counts is None:
                continue
            if len(record) == 7:
                counts.count(record)
            elif record[7] is None:
                counts.count(record[:7])
                self._slowest.add(record)
            else:
                counts.count(record[:7], record[7])
        for _ in range(len(self._raised)):
            mount, kind, place, at = self._raised.popleft()
            counts = mounts.get(mount)
            if counts is not None:
                _add_exception(counts, kind, place, at)


def _add_exception(counts: MountCounts, kind: str, place: str | None, at: float) -> None:
    known = counts.exceptions
    counts.raised += 1
    before, _ = known.pop((kind, place), (0, 0.0))
    known[kind, place] = before + 1, at  # the dict is in the order of the latest occurrence
    if len(known) > _MAX_EXCEPTIONS:
        del known[next(iter(known))]
