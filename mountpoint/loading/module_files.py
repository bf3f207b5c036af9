"""Find the file of a module as an import would (PEP 420), without importing the packages that it is in."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from importlib.machinery import all_suffixes
from pathlib import Path
from typing import NamedTuple

# Many projects have modules of these names, and no app imports them by these names.
_NEVER_IMPORTED = frozenset({"__init__", "__main__", "conftest", "manage", "setup", "tests"})


class FoundModule(NamedTuple):
    """The source of a module. A namespace package has no *file*, and a module that is not a package no *folders*."""

    file: Path | None
    folders: Sequence[str]

    @property
    def location(self) -> Path:
        """The file, or the first folder of a namespace package."""
        return self.file or Path(self.folders[0])


def find_module(name: str, folders: Sequence[str]) -> FoundModule | None:
    """Return the module *name*, such as ``lib.db``, that is found first in *folders*, or None."""
    found = None
    for part in name.split("."):
        found = _find_in_folders(part, folders)
        if found is None:
            return None
        folders = found.folders
    return found


def _find_in_folders(name: str, folders: Sequence[str]) -> FoundModule | None:
    portions = []
    for folder in folders:
        package = Path(folder, name)
        with suppress(OSError, ValueError):  # Python cannot import from a folder that it cannot read
            for suffix in all_suffixes():
                if (file := package / f"__init__{suffix}").is_file():
                    return FoundModule(file, [str(package)])
            for suffix in all_suffixes():
                if (file := package.with_name(name + suffix)).is_file():
                    return FoundModule(file, [])
            if package.is_dir():
                portions.append(str(package))
    return FoundModule(None, portions) if portions else None


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
