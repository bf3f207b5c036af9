"""Processor time and open files of a child, on Linux."""

from __future__ import annotations

import os
import time
from pathlib import Path

from support.running import Child

_PERIOD = 1.0  # seconds


def cpu_share(child: Child) -> float:
    """Return the share of one processor that *child* uses during a second. A busy loop takes all that it can get."""
    before, start = _cpu_seconds(child), time.monotonic()
    time.sleep(_PERIOD)
    return (_cpu_seconds(child) - before) / (time.monotonic() - start)


def _cpu_seconds(child: Child) -> float:
    fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def open_files(child: Child) -> int:
    """Return how many descriptors *child* has open."""
    return len(list(Path(f"/proc/{child.pid}/fd").iterdir()))
