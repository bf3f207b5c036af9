"""Code that has changed since its import: a reload keeps it, and says so."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType

from ..errors import counted
from ..loading.loaded_mount import LoadedMount
from ..loading.module_files import namespace_of
from .installed_code import InstalledCode


class LoadedCode:
    """The modules of this process, with the time when each was first seen."""

    def __init__(self) -> None:
        self._installed_code = InstalledCode()
        self._module_times: dict[str, float] = {}  # a Unix time
        self.record()

    def record(self) -> None:
        """Record the modules that are new."""
        self._installed_code.record()
        now = time.time()
        for name in list(sys.modules):
            self._module_times.setdefault(name, now)

    def note_import(self, before: Mapping[str, ModuleType], at: float) -> None:
        """Note that the modules which are not in *before* were read from their files at the Unix time *at*."""
        modules = sys.modules.copy()
        self._module_times |= {name: at for name, module in modules.items() if before.get(name) is not module}

    def stale(self, mounts: Sequence[LoadedMount]) -> Iterator[str]:
        """Yield a line for each mount whose app runs older code than its files hold."""
        changed_files: dict[Path, set[str]] = {}  # names of changed files, by the innermost root that holds them
        for name, seen_at in self._module_times.items():
            if (file := namespace_of(sys.modules.get(name)).get("__file__")) and _modified(file) > seen_at:
                path = Path(file)
                roots = [mount.config.root for mount in mounts if path.is_relative_to(mount.config.root)]
                if roots:
                    changed_files.setdefault(max(roots, key=lambda root: len(root.parts)), set()).add(path.name)
        for mount in mounts:
            if mount.app and (changed := changed_files.get(mount.config.root)):
                yield (
                    f"{mount.config.key}: its code has changed ({', '.join(sorted(changed)[:3])}), but a reload keeps "
                    f"loaded modules; start a new process with the new code: kill -USR2 {os.getpid()}"
                )
        if installed := self._installed_code.changed([mount.config.root for mount in mounts]):
            names = ", ".join(installed[:3]) + (f" and {counted(len(installed) - 3, 'other')}" if installed[3:] else "")
            yield (
                f"packages outside the roots have changed ({names}), but a reload keeps loaded modules; start a new "
                f"process with the new code: kill -USR2 {os.getpid()}"
            )


def _modified(file: str) -> float:
    try:
        return Path(file).stat().st_mtime
    except (OSError, ValueError):
        return 0.0
