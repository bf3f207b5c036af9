"""The path of the control socket, as ``[server] control`` or ``--control`` names it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Literal

from .validators import toml_text

#: The bytes of the path of a unix socket, without the NUL at its end.
MAX_PATH = 107 if sys.platform == "linux" else 103

#: The longest name of the file that stands in for the socket's own until it listens, with its slash.
TEMPORARY_NAME = 10


def control_path(value: Any) -> str | Literal[False]:
    """Return the path in *value*, or False, which switches the socket off. Raises ValueError for anything else."""
    expected = 'expected a path such as "/run/apps/control.sock", or false'
    if value is False:
        return False
    if not isinstance(value, str):
        hint = "; remove the key for the default path" if value is True else ""
        raise ValueError(f"{expected}, found {toml_text(value)}{hint}")
    if value.startswith("unix:"):
        raise ValueError(f'{expected}, found "{value}"; write "{value.removeprefix("unix:")}"')
    if not value or value.endswith("/") or not value.isprintable():
        raise ValueError(f"{expected}, found {toml_text(value)}")
    return value


def in_folder(folder: Path, path: str) -> Path:
    """Return *path*, relative to *folder*. Raises ValueError if it is too long for a unix socket."""
    full = folder / path
    length = max(len(os.fsencode(full)), len(os.fsencode(full.parent)) + TEMPORARY_NAME)
    if length > MAX_PATH:
        raise ValueError(
            f"expected a path of at most {MAX_PATH} bytes, which is the system's limit for a socket, found {length}: "
            f'"{full}"; choose a shorter one'
        )
    return full
