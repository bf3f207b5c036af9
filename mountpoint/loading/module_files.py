"""The files of modules: of those that are imported, and of those that an import would find.

A module is found as an import finds it (PEP 420), but the packages that it is in are not imported.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.machinery import all_suffixes
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

# Many projects have modules of these names, and no app imports them by these names.
_NEVER_IMPORTED = frozenset({"__init__", "__main__", "conftest", "manage", "setup", "tests"})
_INSTALLED = {"site-packages", "dist-packages"}


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


def find_by_finders(name: str, finders: Iterable[Any]) -> FoundModule | None:
    """Return the module *name* that the first of *finders*, objects of ``sys.meta_path``, finds, or None."""
    top, _, rest = name.partition(".")
    for finder in finders:
        with suppress(Exception):  # a finder is code of any package
            spec = finder.find_spec(top, None)
            folders = list(spec.submodule_search_locations or ())
            file = Path(spec.origin) if spec.has_location else None
            if rest:
                return find_module(rest, folders)
            if file or folders:
                return FoundModule(file, folders)
    return None


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


def namespace_of(module: object) -> Mapping[str, Any]:
    """Return the names in *module* without triggering the import of a lazy module.

    ``sys.modules`` may hold any object. The result is empty for one that is not a module.
    """
    if not issubclass(type(module), ModuleType):
        return {}
    names: dict[str, Any] = object.__getattribute__(module, "__dict__")
    return names


def locations(module: object) -> list[str]:
    """Return the source file of *module*, or the folders of a namespace package."""
    names = namespace_of(module)
    return [names["__file__"]] if names.get("__file__") else [*names.get("__path__", ())]


def is_own(path: str, root: Path) -> bool:
    """Whether *path* is below *root*, with or without resolved links, and is not part of an installed package."""
    location, library = Path(path), Path(os.__file__).parent
    for file, folder in ((location.absolute(), root.absolute()), (location.resolve(), root.resolve())):
        if folder in (file, *file.parents):  # Path.is_relative_to needs Python 3.9, and a worker may run on 3.8
            is_installed = not _INSTALLED.isdisjoint(file.relative_to(folder).parts)
            return not is_installed and not _is_in_library(file, folder, library)
    return False


def _is_in_library(file: Path, folder: Path, library: Path) -> bool:
    """Whether Python's *library* is below *folder*, and *file* is in it."""
    return folder in (library, *library.parents) and library in (file, *file.parents)


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
