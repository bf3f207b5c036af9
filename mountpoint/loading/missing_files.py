"""The files that would repair a failed import if they appeared, for ``--reload``."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from ..errors import causes
from .module_files import namespace_of

_FROM = re.compile(r"cannot import name '(\w+)' from (?:partially initialized module )?'([\w.]+)'")


def missing_files(error: BaseException, root: Path) -> list[str]:
    """Return the files that would hold the missing modules behind *error*, which a load from *root* has raised."""
    names = (name for cause in causes(error) for name in _missing_names(cause))
    return list(dict.fromkeys(file for name in names for file in _candidates(name, root)))


def _missing_names(error: BaseException) -> Iterator[str]:
    if isinstance(error, ModuleNotFoundError) and error.name:
        yield error.name
    elif isinstance(error, ImportError) and (found := _FROM.match(str(error))):
        yield f"{found[2]}.{found[1]}"


def _candidates(name: str, root: Path) -> Iterator[str]:
    """Yield the files of the module *name*: as a module and as a package, in each folder of its own package."""
    package, _, last = name.rpartition(".")
    folders = [Path(folder) for folder in namespace_of(sys.modules.get(package)).get("__path__", ())]
    for folder in folders or [root.joinpath(*package.split(".")) if package else root]:
        yield str(folder / f"{last}.py")
        yield str(folder / last / "__init__.py")
