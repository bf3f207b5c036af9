"""Compare where the modules of each app came from, so that apps with modules of one name are refused, not mixed up.

Python keeps one module for each name, and ``sys.path`` is one for the process. So an app may get a module of a sibling
without an error: because both have a folder ``lib``, because each brings another version of a library, or because an
optional ``local_settings`` exists only beside the sibling. Each load is compared with a load in a process of its own:
every module must come from the file that the app would get there.

An app uses the modules that its load imports, and those that its own sources import, since a request may run these
statements later. A file that nothing imports does not clash.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, NamedTuple

from ..config.reader import MountConfig
from ..errors import LoadError, counted
from .import_scan import Source, is_imported, scan_imports, source_of
from .module_files import FoundModule, find_by_finders, find_module, is_own, locations
from .overlap import Overlap
from .sys_path import MountPath, SysPath

_MAX_NAMED = 3  # clashes that one message names
_importers = Overlap[Any]()  # the functions of importlib that the loads which run now have found


class _Clash(NamedTuple):
    """A module *name* that the mount *key* expects at one place, and the mount *owner* at another."""

    name: str
    key: str
    expected: Path | None  # None if the mount would not find the module alone
    owner: str
    actual: Path

    def __str__(self) -> str:
        if self.expected is None:
            return f'"{self.name}" is {self.actual}, which belongs to {self.owner}, and {self.key} has none'
        return f'"{self.name}" is {self.expected} for {self.key}, and {self.actual} for {self.owner}'


@dataclass(slots=True)
class _Modules:
    """The modules that the apps of one root use. *mount* is the first of its mounts that was loaded."""

    mount: MountConfig
    path: MountPath
    finders: Sequence[Any]  # of packages that any process would have, as after an editable installation
    loaded: dict[str, Path] = field(default_factory=dict)  # name to location, of those that its loads have added
    called: set[str] = field(default_factory=set)  # names that were imported by a call
    used: dict[str, set[Source]] = field(default_factory=dict)  # each name, with the sources that may import it
    _is_own: dict[Path, bool] = field(default_factory=dict)  # by folder, since a load may have thousands of modules

    def expected(self, name: str) -> FoundModule | None:
        """Return the module *name* that these apps would import in a process of their own."""
        return find_module(name, self.path.entries()) or find_by_finders(name, self.finders)

    def location(self, name: str) -> Path | None:
        """Return the location of the module *name* that these apps have imported, or would import."""
        found = None if name in self.loaded else self.expected(name)
        return found.location if found else self.loaded.get(name)

    def is_own(self, location: Path) -> bool:
        """Whether *location* is in the root, or in a folder that the apps have added, and not installed."""
        parent = location.parent
        if parent not in self._is_own:
            self._is_own[parent] = any(is_own(str(location), folder) for folder in self.path.own_folders())
        return self._is_own[parent]

    def confirms(self, name: str) -> bool:
        """Whether the apps do import *name*. The scan of a source also finds the names in its docstrings."""
        known = name in self.loaded or name in self.called
        return known or any(is_imported(name, source) for source in self.used[name])


class ModuleOrigins:
    """The modules of all apps of this process. They stay taken when a later table no longer has the mount."""

    def __init__(self) -> None:
        self._sys_path = SysPath()
        # An earlier finder may look into sys.path, and so find the modules of siblings.
        path_finder = [finder is PathFinder for finder in sys.meta_path]
        self._finders = sys.meta_path[path_finder.index(True) + 1 :] if any(path_finder) else []
        self._mounts: dict[Path, MountConfig] = {}  # the first mount of each root in the table
        self._names: dict[Path, set[str]] = {}  # the entries of a folder, without their suffixes
        self._roots: dict[Path, _Modules] = {}  # of the roots from which an app was loaded
        self._begun = self._running = 0  # numbers of loads

    def set_mounts(self, mounts: Iterable[MountConfig]) -> None:
        """Put the roots of *mounts* on ``sys.path``. A root without a mount keeps only the modules in memory."""
        self._names.clear()
        self._mounts = {}
        for mount in mounts:
            self._mounts.setdefault(mount.root, mount)
        self._sys_path.set_roots(self._mounts)
        self._sys_path.clear_routes()
        for root, modules in self._roots.items():
            if root in self._mounts:
                self._route(modules)
            else:
                modules.used = {name: sources for name, sources in modules.used.items() if name in sys.modules}

    @contextmanager
    def watch(self, mount: MountConfig) -> Iterator[None]:
        """Run the body, which loads *mount*, with the ``sys.path`` of its root.

        Raises `LoadError` if the app gets a module of another mount. Such a module may also be the reason for a
        `LoadError` of the body, and is reported instead.
        """
        before, failure, called = dict(sys.modules), None, set[str]()
        self._begun += 1
        begun, is_alone = self._begun, self._running == 0
        self._running += 1
        try:
            with self._sys_path.during_load(mount.root), _recorded_calls(called):
                try:
                    yield
                except LoadError as error:
                    failure = error
        finally:
            self._running -= 1
        modules = self._modules_of(mount, before, called, is_alone=is_alone and begun == self._begun)
        if clashes := list(self._clashes(modules)):
            raise _error(clashes, failure) from None
        if failure:
            raise failure
        self._add(modules)

    def own_sources(self, root: Path) -> set[Path]:
        """Return the sources of the apps of *root* that they import, or may import in a request."""
        modules = self._roots.get(root)
        return {source.file for sources in modules.used.values() for source in sources} if modules else set()

    def used_modules(self, root: Path) -> frozenset[str]:
        """Return the top-level names of the modules that the apps of *root* use."""
        modules = self._roots.get(root)
        return frozenset(name.partition(".")[0] for name in modules.used) if modules else frozenset()

    def _modules_of(
        self, mount: MountConfig, before: Mapping[str, Any], called: set[str], *, is_alone: bool
    ) -> _Modules:
        """Return the modules that the load of *mount* has imported, and those that its own sources import.

        If not *is_alone*, another load ran at the same time, and new modules below the root of another mount are taken
        for modules of that load.
        """
        modules = _Modules(mount, self._sys_path.path_of(mount.root), self._finders, called=called | {mount.app.module})

        def own_file(name: str) -> Path | None:
            found = modules.expected(name) if name.partition(".")[0] in own_names else None
            return found.file if found and found.file and modules.is_own(found.file) else None

        own_names = self._own_names(modules)
        # A copy: a finalizer may run while the items are read, and import a module.
        for name, module in sys.modules.copy().items():
            location = _location(module) if before.get(name) is not module else None
            if location and (is_alone or not self._owner_of(location, modules)):
                modules.loaded[name] = location
        own = [(name, file) for name, file in modules.loaded.items() if modules.is_own(file)]
        if file := own_file(mount.app.module):
            own.append((mount.app.module, file))
        modules.used = scan_imports([source_of(name, file) for name, file in own], own_file)
        for name in [*modules.loaded, *modules.called]:
            modules.used.setdefault(name, set())
        for name in [*modules.used]:  # an import of a module imports its packages
            package = name.rpartition(".")[0]
            while package:
                modules.used.setdefault(package, set()).update(modules.used[name])
                if name in modules.called:
                    modules.called.add(package)
                package = package.rpartition(".")[0]
        return modules

    def _clashes(self, mine: _Modules) -> Iterator[_Clash]:
        """Yield each module that *mine* gets from another root, or that the apps of another root would get from *mine*.

        A package comes before its modules.
        """
        others = [modules for root, modules in self._roots.items() if root != mine.mount.root]
        names = self._own_names(mine).union(*map(self._own_names, others), *map(self._names_in, self._mounts))
        for name in sorted(mine.used):
            top = name.partition(".")[0]
            if top in names and top not in sys.stdlib_module_names:
                clash = self._clash_with_found(name, mine, others) or _clash_with_used(name, mine, others)
                if clash and mine.confirms(name):
                    yield clash

    def _clash_with_found(self, name: str, mine: _Modules, others: list[_Modules]) -> _Clash | None:
        """Return the clash if *mine* gets another module than in a process of its own."""
        expected = mine.expected(name)
        if name in sys.modules:
            actual = _location(sys.modules[name])
        elif expected and mine.is_own(expected.location):
            return None  # `_route` lets a later import find it
        else:
            found = self._sys_path.find(name)
            actual = found.location if found else None
        if actual is None or (expected and _is_same(expected.location, actual)):
            return None
        owner = self._owner_of(actual, mine)
        if expected is None:
            return _Clash(name, mine.mount.key, None, owner, actual) if owner else None
        loaders = [other.mount.key for other in others if name in other.loaded]
        if not (owner or loaders or mine.is_own(expected.location)):
            return None
        return _Clash(name, mine.mount.key, expected.location, owner or (loaders or ["the server"])[0], actual)

    def _owner_of(self, location: Path, mine: _Modules) -> str:
        """Return the mount in whose root or added folder *location* is, empty for that of *mine* or none."""
        folders = dict(self._mounts)
        for modules in self._roots.values():
            folders |= dict.fromkeys(modules.path.own_folders(), modules.mount)
        folders |= dict.fromkeys(mine.path.own_folders(), mine.mount)
        holding = [folder for folder in folders if is_own(str(location), folder)]
        owner = folders[max(holding, key=lambda folder: len(folder.parts))] if holding else mine.mount
        return "" if owner.root == mine.mount.root else owner.key

    def _add(self, modules: _Modules) -> None:
        root = modules.mount.root
        if before := self._roots.get(root):
            modules.mount = before.mount
            modules.loaded = before.loaded | modules.loaded
            modules.called |= before.called
            for name, sources in before.used.items():
                modules.used.setdefault(name, set()).update(sources)
        self._roots[root] = modules
        self._route(modules)

    def _route(self, modules: _Modules) -> None:
        """Let later imports find the own files of *modules*, even if a sibling has a file of the same name."""
        for name in modules.used:
            if name not in sys.modules and name.partition(".")[0] in self._own_names(modules):
                expected, found = modules.expected(name), self._sys_path.find(name)
                if expected and found and expected.file and not _is_same(expected.location, found.location):
                    self._sys_path.route(name, expected.file)

    def _own_names(self, modules: _Modules) -> set[str]:
        return set().union(*map(self._names_in, modules.path.own_folders()))

    def _names_in(self, folder: Path) -> set[str]:
        if folder not in self._names:
            self._names[folder] = set()
            with suppress(OSError):
                self._names[folder] = {entry.name.partition(".")[0] for entry in folder.iterdir()}
        return self._names[folder]


def _clash_with_used(name: str, mine: _Modules, others: Iterable[_Modules]) -> _Clash | None:
    """Return the clash if the apps of another root would get the module *name* of *mine* at a later import."""
    expected = mine.expected(name)
    for other in others:
        theirs = other.location(name) if expected and name in other.used else None
        if expected and theirs and not _is_same(expected.location, theirs) and other.confirms(name):
            return _Clash(name, mine.mount.key, expected.location, other.mount.key, theirs)
    return None


def _is_same(location: Path, other: Path) -> bool:
    """Whether two locations are one. Folders are namespace packages, whose contents Python merges."""
    try:
        return (location.is_dir() and other.is_dir()) or location.samefile(other)
    except OSError:
        return location == other


def _location(module: object) -> Path | None:
    """Return the file of *module*, or the first folder of a namespace package."""
    found = [place for place in locations(module) if isinstance(place, str)]
    return Path(found[0]) if found else None


def _error(clashes: list[_Clash], failure: LoadError | None) -> LoadError:
    """Return the error that names the first of *clashes*."""
    listed = "; ".join(map(str, clashes[:_MAX_NAMED]))
    if len(clashes) > _MAX_NAMED:
        listed += f"; and {counted(len(clashes) - _MAX_NAMED, 'more module')}"
    if all(clash.expected is None for clash in clashes):
        advice = "to share a module, give both mounts one root or install it; to keep them apart, rename it"
    else:
        advice = "rename one of the two; of a library, use one version for both"
    files = [str(clash.expected or clash.actual) for clash in clashes]
    return LoadError(
        f"one process can import only one module of each name: {listed}; {advice}; or serve one of the apps from a "
        'process of its own: write process = "own"',
        files=[*files, *(failure.files if failure else ())],
    )


@contextmanager
def _recorded_calls(names: set[str]) -> Iterator[None]:
    """Add to *names* the modules that this thread imports by a call, such as `importlib.import_module`.

    Such an import leaves no trace if the module is imported already.
    """
    bootstrap: Any = sys.modules["_frozen_importlib"]
    original = bootstrap._gcd_import
    load = _importers.begin(original)
    thread = threading.get_ident()

    def record(name: str, package: str | None = None, level: int = 0) -> Any:
        if threading.get_ident() == thread:
            with suppress(ImportError, ValueError):
                names.add(importlib.util.resolve_name("." * level + name, package))
        return original(name, package, level)

    bootstrap._gcd_import = record
    try:
        yield
    finally:
        found = _importers.end(load)[0]
        if bootstrap._gcd_import is record:  # else another load has begun in between, which restores it
            bootstrap._gcd_import = found
