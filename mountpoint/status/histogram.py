"""Durations in buckets with fixed bounds, so that they can be added over time and over mounts.

A duration belongs to the first bucket whose bound is not less: bounds are inclusive, as in Prometheus.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

#: The upper bounds of all buckets but the last one, which has no bound. In seconds.
BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
BUCKETS: Final = len(BOUNDS) + 1


def quantiles(counts: Sequence[int]) -> dict[str, float | None]:
    """Return the median and the 95th and 99th percentile, as `quantile` does, by their names in the snapshot."""
    if not any(counts):
        return {"p50": None, "p95": None, "p99": None}
    return {"p50": quantile(0.5, counts), "p95": quantile(0.95, counts), "p99": quantile(0.99, counts)}


def quantile(share: float, counts: Sequence[int]) -> float | None:
    """Return the duration that *share* of the requests do not exceed, None without requests. In seconds.

    *counts* are the requests of each bucket. Within a bucket the durations count as evenly spread. A duration above the
    last bound counts as that bound.

    >>> quantile(0.5, [0, 10] + [0] * 14)
    0.00175
    """
    left = share * sum(counts)
    if not left:
        return None
    for number, count in enumerate(counts[:-1]):
        if left <= count:
            start = BOUNDS[number - 1] if number else 0.0
            return round(start + (BOUNDS[number] - start) * left / count, 6)
        left -= count
    return BOUNDS[-1]
