"""Facts about this process: its memory, and the versions of its parts."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path


def resident_bytes() -> int | None:
    """Return the resident memory of this process, None where it is not known."""
    if sys.platform == "win32":
        return None
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


@cache
def versions() -> Mapping[str, str | None]:
    """Return the versions of mountpoint, Python, waitress and werkzeug; None for a package without metadata."""
    return {
        "mountpoint": _version("mountpoint"),
        "python": platform.python_version(),
        "waitress": _version("waitress"),
        "werkzeug": _version("werkzeug"),
    }


def _version(package: str) -> str | None:
    from importlib import metadata  # here, because it imports packages for e-mail and archives

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
