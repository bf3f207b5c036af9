"""The files that would repair a failed import if they appeared, for ``--reload``."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from .eviction import namespace_of

_FROM = re.compile(r"cannot import name '(\w+)' from (?:partially initialized module )?'([\w.]+)'")


def missing_files(error: BaseException, root: Path) -> list[str]:
    """Return the files that the missing modules behind *error*, from a load with *root*, would have."""
    files: dict[str, None] = {}
    seen: BaseException | None = error
    for _ in range(20):  # bounded, since a chain of exceptions may be a ring
        if seen is None:
            break
        for name in _missing_names(seen):
            files |= dict.fromkeys(_candidates(name, root))
        seen = seen.__cause__ or seen.__context__
    return list(files)


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
