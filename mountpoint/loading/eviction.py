"""Remove the modules of a failed load from ``sys.modules``, so that the next try imports the fixed source.

A failed load leaves modules behind: importlib removes the module that raised, but not the modules that it had
imported. They are removed before the next try and not at once, because a later mount of the same table may import one
of them too. That would run the module again, and a module that registers something under a name cannot run twice.

Only modules below the root of the failed mount are removed. Python's own modules and installed packages stay, with
their state: Django's ``setup()`` remembers a failed load until the process ends.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from .module_files import is_own, locations


class _FailedLoad(NamedTuple):
    root: Path
    modules: Collection[str]  # names in sys.modules
    sources: Collection[str]  # source files whose modules importlib has removed already


# One list for the process, as sys.modules is one for the process.
_failed_loads: list[_FailedLoad] = []


def record_failed_load(root: Path, before: Collection[str], sources: Iterable[str] = ()) -> None:
    """Record the modules that a failed load from *root* has added, for `evict_failed_modules`.

    *before* are the names in ``sys.modules`` before the load. *sources* are source files that the load has read beyond
    those modules, such as that of the module that raised.
    """
    _failed_loads.append(_FailedLoad(root, set(sys.modules) - set(before), tuple(sources)))


def evict_failed_modules() -> None:
    """Remove the modules of all recorded failed loads, and make the import system look at the folders again."""
    while _failed_loads:
        _evict(_failed_loads.pop())
    importlib.invalidate_caches()


def _evict(load: _FailedLoad) -> None:
    found_at = {name: locations(sys.modules[name]) for name in load.modules if name in sys.modules}
    own = {name: found for name, found in found_at.items() if any(is_own(path, load.root) for path in found)}
    for name in own:
        module = sys.modules.pop(name)
        package, _, child = name.rpartition(".")
        parent = sys.modules.get(package)
        if getattr(parent, "__dict__", {}).get(child) is module:
            delattr(parent, child)  # "from package import child" looks at the attribute before sys.modules
    for file in {path for found in own.values() for path in found} | {*load.sources}:
        # Python trusts bytecode if the size of the source and its time in whole seconds match. It would not see a fix
        # that has the same size and is written within the same second.
        if file.endswith(".py") and is_own(file, load.root):
            with suppress(OSError):
                Path(importlib.util.cache_from_source(file)).unlink()
