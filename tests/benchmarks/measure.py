"""Helpers of the benchmarks: take turns, evaluate the numbers, print them."""

from __future__ import annotations

import gc
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

# Student's t for a two-sided interval of 95 %, by degrees of freedom. Between two entries the smaller one counts.
_T95 = {
    1: 12.71,
    2: 4.30,
    3: 3.18,
    4: 2.78,
    5: 2.57,
    7: 2.36,
    9: 2.26,
    11: 2.20,
    14: 2.14,
    19: 2.09,
    29: 2.05,
    39: 2.02,
}


def fastest(runs: Mapping[str, Callable[[], float]], rounds: int, patience: float) -> dict[str, float]:
    """Return the least time of each run, taken in turns: A B C, A B C, ...

    Other programs disturbed the least time least. A slow run gets fewer rounds: it starts no round after it has used
    *patience* seconds.
    """
    best = dict.fromkeys(runs, math.inf)
    spent = dict.fromkeys(runs, 0.0)
    for _ in range(rounds):
        for name, run in runs.items():
            if spent[name] < patience:
                start = time.perf_counter()
                best[name] = min(best[name], run())
                spent[name] += time.perf_counter() - start
    return best


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def geometric_mean(values: Iterable[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, values)))


def ratio_interval(ratios: Sequence[float]) -> tuple[float, float, float]:
    """Return the geometric mean of *ratios*, one for each pair of runs, and its 95 % confidence interval."""
    logs = [math.log(ratio) for ratio in ratios]
    middle = statistics.fmean(logs)
    degrees = max((known for known in _T95 if known <= len(logs) - 1), default=1)
    half = _T95[degrees] * statistics.stdev(logs) / math.sqrt(len(logs)) if len(logs) > 1 else math.inf
    return math.exp(middle), math.exp(middle - half), math.exp(middle + half)


def duration(seconds: float) -> str:
    """Return *seconds* with three digits and a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:#.3g} {unit}".replace(". ", " ")
    return f"{seconds * 1e9:.0f} ns"


def text_table(header: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """Return a text table. The first *left* columns are aligned left, the others right."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        aligned = (
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join(aligned).rstrip()

    return "\n".join([line(header), line(["-" * width for width in widths]), *map(line, lines[1:])])


def verdict(value: float, goal: float, *, digits: int = 2, strict: bool = False) -> str:
    """Return a text that says whether *value* is at most *goal*, or less than it if *strict*."""
    reached = value < goal if strict else value <= goal
    return f"goal {'<' if strict else '<='} {goal:.{digits}f}: {'reached' if reached else 'MISSED'}"


def progress(step: str) -> None:
    """Print the *step* that begins to stderr, because stdout has the figures."""
    print(f"{time.strftime('%H:%M:%S')}  {step}", file=sys.stderr, flush=True)


def warn_if_busy() -> None:
    """Print a warning if other programs keep the processors busy: more rounds would not help."""
    if hasattr(os, "getloadavg") and (load := os.getloadavg()[0]) > 0.5 * (os.cpu_count() or 1):
        print(f"The machine is busy (load average {load:.1f}, {os.cpu_count()} CPUs): times will be long and noisy.\n")
