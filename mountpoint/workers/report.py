"""The state of the workers of a mount, the exceptions of their apps, and the memory of a process."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from ..errors import LoadError


class WorkerReport(NamedTuple):
    """A worker. ``state`` is ``starting``, ``ready`` or ``ending``; ``age`` is in seconds, ``memory`` in bytes."""

    pid: int
    state: str
    age: float
    memory: int
    requests: int


class WorkersReport(NamedTuple):
    """The workers of a mount.

    ``is_ready``      whether one takes requests
    ``error``         why none starts, None if one may still start
    ``restarts``      how many workers have started beside the first one of each place
    ``load_seconds``  how long the latest worker that is ready took to load the app, None before that
    """

    is_ready: bool
    error: LoadError | None
    restarts: int
    load_seconds: float | None
    workers: Sequence[WorkerReport]


class AppFailed(Exception):
    """The app has raised in its worker. The text is its traceback there."""


def resident_bytes(pid: int | Literal["self"] = "self") -> int | None:
    """Return the resident memory of a process, by default of this one; None where it is not known."""
    if sys.platform == "win32":
        return None
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
