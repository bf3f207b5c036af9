"""The roots of the mounts on ``sys.path``, and the top-level modules that each root provides."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

# Many projects have modules of these names, and no app imports them by these names.
_NEVER_IMPORTED = frozenset({"__init__", "__main__", "conftest", "manage", "setup", "tests"})


def sys_path_entries(roots: Iterable[Path]) -> list[str]:
    """Return the entries of ``sys.path`` for *roots*: in the same order, each folder once.

    Two paths that lead to one folder (``tv`` and ``x/../tv``) are one entry, since Python would import a module once
    for each of them.
    """
    by_folder = {root.resolve(): str(root) for root in dict.fromkeys(roots)}
    return list(by_folder.values())


def prepend_to_sys_path(entries: Sequence[str]) -> None:
    """Move *entries* to the front of ``sys.path``. An app may have put other folders there."""
    if sys.path[: len(entries)] != entries:
        moved = set(entries)
        sys.path[:] = [*entries, *(entry for entry in sys.path if entry not in moved)]
        importlib.invalidate_caches()


def top_level_modules(root: Path) -> dict[str, Path]:
    """Return the modules and packages in *root* that an app could import: name to source file.

    Raises `OSError` if *root* cannot be read.
    """
    found = {}
    for entry in root.iterdir():
        if entry.suffix == ".py":
            found[entry.stem] = entry
        else:
            with suppress(PermissionError):  # Python cannot import from a folder that it cannot read
                if (entry / "__init__.py").is_file():
                    found[entry.name] = entry / "__init__.py"
    return {name: file for name, file in found.items() if name not in _NEVER_IMPORTED and name.isidentifier()}
