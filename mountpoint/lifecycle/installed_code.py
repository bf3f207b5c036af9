"""Find imported modules outside of the roots whose files have changed, as after an upgrade with pip."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ..loading.module_files import namespace_of

_State = tuple[int, int, int]  # inode, size in bytes, and time in nanoseconds


class InstalledCode:
    """The files of the imported modules, as they were when they were first seen.

    An installer may give a new file the time at which it was packed. So the state of the file is compared, and not its
    time with the time of the import.
    """

    def __init__(self) -> None:
        self._states: dict[str, _State | None] = {}  # by file

    def record(self) -> None:
        """Record the files of modules that are new."""
        for file in _files():
            if file not in self._states:
                self._states[file] = _state(file)

    def changed(self, roots: Sequence[Path]) -> list[str]:
        """Return the top-level names of modules that are not below *roots* and whose files have changed."""
        outside = [file for file in self._states if not any(Path(file).is_relative_to(root) for root in roots)]
        names = _files()
        changed = (file for file in outside if file in names and self._states[file] != _state(file))
        return sorted({names[file].partition(".")[0] for file in changed})


def _files() -> dict[str, str]:
    """Return the names of the imported modules by their files."""
    files = {}
    for name, module in sys.modules.copy().items():
        file = namespace_of(module).get("__file__")
        if isinstance(file, str):
            files[file] = name
    return files


def _state(file: str) -> _State | None:
    """Return the state of *file*, None if it does not exist."""
    try:
        status = Path(file).stat()
    except (OSError, ValueError):
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
