"""How long a test waits for something that must happen."""

from __future__ import annotations

import time
from collections.abc import Callable

TIMEOUT = 30.0  # seconds; generous, so that a busy machine fails no test


def wait_until(condition: Callable[[], object], interval: float = 0.005) -> None:
    """Call *condition* every *interval* seconds until it is true. Raises AssertionError after `TIMEOUT` seconds."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, f"the condition was still false after {TIMEOUT} s"
        time.sleep(interval)
