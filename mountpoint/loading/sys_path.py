"""The folders on ``sys.path``: the roots of the mounts, and the folders that apps add themselves.

The roots of all mounts are in front, in the order of the table. During a load, the root of its mount is the first of
them, and the folders that apps of this root have added are where the apps have put them. Between loads, such folders
are behind all others, so that a library which one app brings does not replace the installed one for its siblings.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from .module_files import FoundModule, find_module


def sys_path_entries(roots: Iterable[Path]) -> list[str]:
    """Return the entries of ``sys.path`` for *roots*: in the same order, each folder once.

    Two paths that lead to one folder (``tv`` and ``x/../tv``) are one entry, since Python would import a module once
    for each of them.
    """
    by_folder = {root.resolve(): str(root) for root in dict.fromkeys(roots)}
    return list(by_folder.values())


class MountPath(NamedTuple):
    """``sys.path`` as the apps of one root would have it in a process of their own."""

    root: Path
    front: Sequence[str]  # folders that the apps have put in front of the others
    others: Sequence[str]  # those that no mount has added, and installed roots
    behind: Sequence[str]

    def entries(self) -> list[str]:
        """Return the folders in the order in which an import looks into them."""
        return [*self.front, str(self.root), *self.others, *self.behind]

    def own_folders(self) -> list[Path]:
        """Return the root, and the folders that the apps have added."""
        return [self.root, *map(Path, (*self.front, *self.behind))]


class SysPath:
    """Arranges ``sys.path`` for the loads of a process, and between them."""

    def __init__(self) -> None:
        self._roots: Sequence[str] = ()
        self._others: Sequence[str] = ()
        self._installed: list[str] = []  # roots that any process has on its path, as after an editable installation
        self._paths: dict[Path, MountPath] = {}  # by root
        self._running: dict[object, Path] = {}  # the roots of the loads that run now, that of the latest last
        self._routes = _Routes()

    def set_roots(self, roots: Iterable[Path]) -> None:
        """Put *roots* in front of the other folders. Loads that still run were given up, and no longer count."""
        self._record_added()
        self._running.clear()
        before, self._roots = self._roots, sys_path_entries(roots)
        # The first entry is the folder of the program, or the working folder.
        known = {*before, *self._added(), *self._installed}
        self._installed += [entry for entry in _texts(sys.path)[1:] if entry in self._roots and entry not in known]
        moved = {*self._roots, *self._added()}
        self._others = [entry for entry in _texts(sys.path) if entry not in moved]
        self._arrange()

    @contextmanager
    def during_load(self, root: Path) -> Iterator[None]:
        """Run the body, which loads an app from *root*, with the folders that apps of this root have added.

        Loads may overlap. ``sys.path`` is that of the latest one which still runs, with the folders of the others last.
        """
        self._record_added()
        load = object()
        self._running[load] = root
        self._paths.setdefault(root, MountPath(root, (), [*self._others, *self._installed], ()))
        self._arrange()
        try:
            yield
        finally:
            if load in self._running:
                self._record_added()
                del self._running[load]
                self._arrange()

    def path_of(self, root: Path) -> MountPath:
        """Return the path of the apps in *root*, from which an app has been loaded."""
        return self._paths[root]

    def find(self, name: str) -> FoundModule | None:
        """Return the module *name* that an import in a request would find, unless it is imported already."""
        return find_module(name, self._between_loads())

    def route(self, name: str, location: Path) -> None:
        """Let later imports find the module *name* at *location*, whatever is first on ``sys.path``.

        The caller refuses every app that expects another module under this name.
        """
        folder = location.parent.parent if location.stem == "__init__" else location.parent
        self._routes.folders[name] = str(folder)
        if self._routes not in sys.meta_path:
            sys.meta_path.insert(0, self._routes)

    def clear_routes(self) -> None:
        """Forget all routes."""
        self._routes.folders.clear()

    def _record_added(self) -> None:
        """Record the folders on ``sys.path`` that the latest load which still runs has put there."""
        if not self._running:
            return
        root = self._latest_root()
        entries = _texts(sys.path)
        # An app may add the root of a sibling itself. It is there twice then.
        known = {*self._others, *(entry for entry in self._roots if entries.count(entry) < 2)}
        known.update(*((*path.front, *path.behind) for other, path in self._paths.items() if self._is_beside(other)))
        first = next((index for index, entry in enumerate(entries) if entry in self._others), len(entries))
        front, behind = (
            [entry for entry in dict.fromkeys(part) if entry not in known]
            for part in (entries[:first], entries[first:])
        )
        self._paths[root] = MountPath(root, front, [*self._others, *self._installed], behind)

    def _is_beside(self, root: Path) -> bool:
        """Whether a load from *root* runs at the same time as the latest one, from another root."""
        return root in self._running.values() and root != self._latest_root()

    def _latest_root(self) -> Path:
        return next(reversed(self._running.values()))

    def _added(self) -> list[str]:
        return [entry for path in self._paths.values() for entry in (*path.front, *path.behind)]

    def _between_loads(self) -> list[str]:
        return list(dict.fromkeys([*self._roots, *self._others, *self._added()]))

    def _arrange(self) -> None:
        if not self._running:
            _set_sys_path(self._between_loads())
            return
        path = self._paths[self._latest_root()]
        roots = sorted(self._roots, key=lambda entry: not _is_same_folder(entry, path.root))  # a stable sort
        entries = [*path.front, *roots, *self._others, *path.behind]
        beside = [self._paths[root] for root in self._running.values() if self._is_beside(root)]
        entries += [folder for other in beside for folder in (*other.front, *other.behind) if folder not in entries]
        _set_sys_path(entries)


class _Routes:
    """A finder of modules in folders that are not the first ones with a module of this name."""

    def __init__(self) -> None:
        self.folders: dict[str, str] = {}  # by the name of the module

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        folder = self.folders.get(name)
        return PathFinder.find_spec(name, [folder], target) if folder else None


def _is_same_folder(entry: str, root: Path) -> bool:
    try:
        return root.samefile(entry)
    except OSError:  # one of them has been deleted
        return entry == str(root)


def _set_sys_path(entries: Sequence[str]) -> None:
    if sys.path != entries:
        sys.path[:] = entries
        importlib.invalidate_caches()


def _texts(entries: Iterable[object]) -> list[str]:
    return [entry for entry in entries if isinstance(entry, str)]
