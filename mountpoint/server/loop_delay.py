"""How long events wait for the loop: the longest delay in each second of the last minute.

An event waits while the loop handles others. It also waits while an app computes in C without releasing the
interpreter: then the loop returns from its wait too late.
"""

from __future__ import annotations

_SECONDS = 60


class LoopDelay:
    """The delays of one loop. `record` belongs to the thread of the loop, and `longest` is for any thread.

    Times are from `time.monotonic`, in seconds.
    """

    def __init__(self) -> None:
        self._longest: list[tuple[int, float]] = [(-_SECONDS, 0.0)] * _SECONDS  # a second, and its longest delay
        self._second = 0
        self._delay = 0.0

    def record(self, delay: float, now: float) -> None:
        """Record a *delay* that ended at *now*."""
        second = int(now)
        if second != self._second or delay > self._delay:
            self._second, self._delay = second, delay
            self._longest[second % _SECONDS] = (second, delay)

    def longest(self, now: float) -> float:
        """Return the longest delay of the minute before *now*."""
        return max((delay for second, delay in [*self._longest] if second > now - _SECONDS), default=0.0)
