"""Two limits on bodies that arrive: a minimum rate for each of them, and a maximum size for all of them together.

Without the first, a client that sends a byte now and then would keep its connection for ever. Without the second, many
clients together could fill the memory and ``$TMPDIR``.
"""

from __future__ import annotations

import threading
from collections import deque


class BodyPace:
    """How far a body lags behind a minimum rate. Times are `time.monotonic`, in seconds; lengths are in bytes.

    A body that is faster than the rate does not save up for later: a client that stops sending starts to lag at once.
    A large body at a fair rate may take as long as it needs.

    >>> pace = BodyPace(now=0.0)
    >>> pace.lag(now=10.0, length=5_000, min_rate=500)
    0.0
    >>> pace.lag(now=14.0, length=5_500, min_rate=500)
    3.0
    """

    def __init__(self, now: float) -> None:
        self._lag = 0.0
        self._measured_at = now
        self._length = 0

    def lag(self, now: float, length: int, min_rate: int) -> float:
        """Return by how many seconds the body lags, if *length* bytes have arrived until *now*."""
        gained = (length - self._length) / min_rate
        self._lag = max(self._lag + (now - self._measured_at) - gained, 0.0)
        self._measured_at, self._length = now, length
        return self._lag

    def restart(self, now: float, length: int) -> None:
        """Forget the lag: the server itself did not read until *now*."""
        self._lag = 0.0
        self._measured_at, self._length = now, length


class BodyBudget:
    """The bytes that all bodies of a server may take together, *limit* in all, 0 for no limit.

    Each body has a `BodyShare`. Shares grow in the thread of the loop and in worker threads. They are released in any
    thread, and also by the garbage collector, which may run while this thread holds the lock. So a release takes no
    lock.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._used = 0
        self._released: deque[int] = deque()  # sizes that `_used` still includes

    @property
    def used(self) -> int:
        """How many bytes the shares have."""
        with self._lock:
            return self._sum()

    def fits(self, size: int) -> bool:
        """Whether *size* more bytes are within the limit now."""
        return not self.limit or self.used + size <= self.limit

    def take(self, size: int) -> bool:
        """Count *size* more bytes, and return True; return False if they are not within the limit."""
        with self._lock:
            used = self._sum()
            if self.limit and used + size > self.limit:
                return False
            self._used += size
            return True

    def give_back(self, size: int) -> None:
        self._released.append(size)

    def _sum(self) -> int:
        while self._released:
            self._used -= self._released.popleft()
        return self._used


class BodyShare:
    """The part of a *budget* that one body has. It is released once, however often `release` is called."""

    __slots__ = ("_budget", "_sizes")

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self._sizes = [0]  # list.pop is atomic, so only the first caller of `release` gets the size

    def grow(self, size: int) -> bool:
        """Add *size* bytes; return False if the budget does not have them."""
        if not self._sizes or not self._budget.take(size):
            return False
        self._sizes[0] += size
        return True

    def release(self) -> None:
        try:
            size = self._sizes.pop()
        except IndexError:
            return
        self._budget.give_back(size)

    def __del__(self) -> None:
        self.release()  # a connection can end in ways in which nothing closes its request
