"""The versions of the parts of this process."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import cache


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
