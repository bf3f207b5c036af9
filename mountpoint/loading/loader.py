"""Load every app of a `Config`, and build the WSGI application that serves them.

An app that fails to load does not stop the others: its mount responds 503, and the log has the reason.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ..config.reader import DEFAULT_FILE, Config, MountConfig, load_config
from ..errors import LoadError
from ..wsgi.cookies import ScopedCookies
from ..wsgi.limits import ConcurrencyLimit, MaxBody
from ..wsgi.responses import unavailable
from ..wsgi.router import Router
from ..wsgi.table import Mount, MountTable
from .app_check import is_instance_by_name
from .eviction import evict_failed_modules, record_failed_load
from .importing import load_app
from .isolation import preserve_process_state
from .sys_path import prepend_to_sys_path, sys_path_entries, top_level_modules

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

RETRY_AFTER = 60  # seconds until a client may ask again for an app that failed to load

logger = logging.getLogger("mountpoint")


def load(file: str | Path = DEFAULT_FILE, *, strict: bool = False) -> WSGIApplication:
    """Return the WSGI application of a ``mounts.toml``, for any WSGI server.

    It applies ``[mounts]`` and ``[proxy]`` of the file. ``[server]`` and ``[logging]`` do not apply, because the other
    server has settings of its own. Nothing is queued: a mount at its ``limit`` responds 503 at once, and ``queue`` and
    ``slow_after`` have no effect.

    A mount whose app fails to load responds 503, and the error is logged on ``mountpoint``. With *strict*, `LoadError`
    is raised instead. Raises `ConfigError` with every problem of the file.

    ``gunicorn 'mountpoint:load("mounts.toml")'``
    """
    config = load_config(file)
    mounts = load_mounts(config)
    report_broken(mounts, strict=strict)
    return build_router(config, build_table(mounts, limits=True))


@dataclass(frozen=True, slots=True)
class LoadedMount:
    """A mount of the file after its load: it has either an app or an error."""

    config: MountConfig
    app: WSGIApplication | None = None
    error: LoadError | None = None

    @property
    def state(self) -> str:
        """``ready``, or ``broken: `` and the reason in one line."""
        return f"broken: {self.error}" if self.error else "ready"


def load_mounts(config: Config) -> Sequence[LoadedMount]:
    """Load every app of *config* and return the mounts in the table's order. A failed load does not raise."""
    return Loader().load(config)


class OwnProcesses(Protocol):
    """Starts mounts with processes of their own, as `mountpoint.workers.processes.WorkerProcesses` does."""

    def start(self, mount: MountConfig) -> WSGIApplication:
        """Start the processes of *mount* and return its app at once. Raises `LoadError`."""

    def wait(self, app: WSGIApplication) -> LoadError | None:
        """Wait until the first process of *app* is ready or has failed to start; return the error."""


class Loader:
    """Loads the apps of a table, and again after each change of the table.

    It remembers the process-wide resources that mounts have taken, such as top-level module names: they stay taken
    when a later table no longer has the mount.
    """

    def __init__(self, processes: OwnProcesses | None = None) -> None:
        self._processes = processes
        self._sys_path: Sequence[str] = ()
        self._modules: dict[str, Path] = {}  # the file of each top-level module that a root has claimed
        self._clashes: dict[Path, list[tuple[Path, Path]]] = {}  # by root: its files, each with the one it clashes with
        self._django: MountConfig | None = None  # the first mount of the Django project in this process

    def load(
        self,
        config: Config,
        before: Sequence[LoadedMount] = (),
        before_each: Callable[[MountConfig], object] = lambda mount: None,
        *,
        waits: bool = False,
    ) -> Sequence[LoadedMount]:
        """Load every app of *config* and return the mounts in the table's order. A failed load does not raise.

        Mounts with processes of their own start before the others load. With *waits*, their first process is ready, or
        they are broken, when this returns.

        *before* are the mounts of the previous table. A mount that has not changed since keeps its app.
        *before_each* is called with each mount before its load. An exception from it ends this load.
        """
        ready = {_load_key(mount.config): mount for mount in before if mount.app}
        evict_failed_modules()
        self._sys_path = sys_path_entries(mount.root for mount in config.mounts if mount.own is None)
        prepend_to_sys_path(self._sys_path)
        self._clashes.clear()
        # An imported module stays in the process, and so does its name. Other files may have been renamed since.
        self._modules = {name: file for name, file in self._modules.items() if name in sys.modules or file.exists()}
        started = {
            mount.key: self._start(mount)
            for mount in config.mounts
            if mount.own is not None and _load_key(mount) not in ready
        }
        mounts = []
        for mount in config.mounts:
            if known := ready.get(_load_key(mount)):
                mounts.append(replace(known, config=mount))
            elif mount.own is None:
                before_each(mount)
                mounts.append(self._load(mount))
            else:
                mounts.append(started[mount.key])
        if waits:
            for index, loaded in enumerate(mounts):
                if loaded.config.key in started and loaded.app and self._processes:
                    before_each(loaded.config)
                    if error := self._processes.wait(loaded.app):
                        mounts[index] = LoadedMount(loaded.config, error=error)
        return mounts

    def _start(self, mount: MountConfig) -> LoadedMount:
        """Start a mount with processes of its own."""
        try:
            if self._processes is None:
                raise LoadError(
                    'process = "own" works under "mountpoint serve" only: other servers fork and end their processes '
                    'as they like; remove it here, or serve the table with "mountpoint serve"'
                )
            return LoadedMount(mount, app=self._processes.start(mount))
        except LoadError as error:
            return LoadedMount(mount, error=error)

    def _load(self, mount: MountConfig) -> LoadedMount:
        modules = set(sys.modules)
        try:
            self._require_unique_modules(mount.root)
            with preserve_process_state(mount.env):
                app = load_app(mount.app, mount.root)
            if is_instance_by_name(app, "django.WSGIHandler"):
                self._require_same_django_project(mount)
            return LoadedMount(mount, app=app)
        except LoadError as error:
            record_failed_load(mount.root, modules, error.files)
            return LoadedMount(mount, error=error)
        except OSError as error:  # the root cannot be read; an OSError of the app itself would be a LoadError here
            return LoadedMount(mount, error=LoadError(f"{error.filename} cannot be read: {error.strerror}"))
        finally:
            prepend_to_sys_path(self._sys_path)  # the app may have changed sys.path

    def _require_unique_modules(self, root: Path) -> None:
        """Raise `LoadError` if *root* has a top-level module with the same name as one of an earlier root.

        An import of that name would return the module of the earlier root, without an error.
        """
        if root not in self._clashes:  # many mounts may have one root, and reading a folder takes time
            claimed = [
                (file, self._modules.setdefault(name, file)) for name, file in sorted(top_level_modules(root).items())
            ]
            self._clashes[root] = [(file, first) for file, first in claimed if not _is_same_file(file, first)]
        if clashes := self._clashes[root]:
            files = "; ".join(f"{file} and {first}" for file, first in clashes)
            raise LoadError(
                "one process can import only one module of each name, but an earlier mount has a module of the same "
                f"name: {files}; rename one of the two",
                files=[str(file) for file, _ in clashes],
            )

    def _require_same_django_project(self, mount: MountConfig) -> None:
        """Raise `LoadError` if *mount* is a second Django project.

        Django keeps its settings for the whole process, so the second project would serve the URLs and the database of
        the first.
        """
        first = self._django = self._django or mount
        if _django_project(first) != _django_project(mount):
            raise LoadError(
                f"another Django project is at {first.key}, and one process can hold the settings of only one; "
                "serve this project from a process of its own"
            )


def _is_same_file(file: Path, other: Path) -> bool:
    return other.exists() and file.samefile(other)


def _django_project(mount: MountConfig) -> Hashable:
    return mount.root, mount.app.module.partition(".")[0]


def _load_key(mount: MountConfig) -> Hashable:
    """Return the settings that the app of *mount* depends on. Its other settings apply to the middleware around it."""
    return mount.key, mount.app.text, mount.root, tuple(sorted(mount.env.items())), mount.own


def build_table(mounts: Sequence[LoadedMount], *, limits: bool = False) -> MountTable:
    """Return the mount table of *mounts*, in which a broken mount has an app that responds 503.

    *limits* applies the ``limit`` of each mount inside its app, for servers other than ours. Our own server limits a
    mount before it takes a thread.
    """
    return MountTable(
        Mount(
            mount.config.key,
            _wrap_app(mount, limits),
            slash=mount.config.slash,
            dot_segments=mount.config.dot_segments,
        )
        for mount in mounts
    )


def _wrap_app(mount: LoadedMount, limits: bool) -> WSGIApplication:
    """Return the app of *mount*, or one that responds 503, in the middleware that its settings ask for."""
    app = mount.app or unavailable(RETRY_AFTER, "the app could not be loaded")
    if mount.config.cookies == "scoped":
        app = ScopedCookies(app)
    if limits and mount.config.limit is not None:
        app = ConcurrencyLimit(app, mount.config.limit)
    return app if mount.config.max_body is None else MaxBody(app, mount.config.max_body)


def build_router(config: Config, table: MountTable) -> Router:
    """Return the WSGI application that serves *table* with the ``[proxy]`` and ``[doctor]`` settings of *config*."""
    return Router(table, config.proxy, config.doctor.key)


def describe_broken(mount: LoadedMount) -> str:
    """Return the error of a broken *mount* for the log: one line, then the traceback of the app, if it raised."""
    assert mount.error is not None
    details = f"\n{mount.error.details.rstrip()}" if mount.error.details else ""
    return f"{mount.config.key} is broken: {mount.error}{details}"


def report_broken(mounts: Sequence[LoadedMount], *, strict: bool) -> None:
    """Log every broken mount of *mounts* with its traceback. With *strict*, raise `LoadError` if there is one."""
    broken = [mount for mount in mounts if mount.error]
    for mount in broken:
        logger.error("%s", describe_broken(mount))
    if broken and strict:
        keys = ", ".join(mount.config.key for mount in broken)
        raise LoadError(f"not started because of strict: {len(broken)} of {len(mounts)} mounts failed to load: {keys}")
