"""From a `Config` to the WSGI stack: load every app, make the table, put the layers around it.

One app that fails to load takes none of the others down: its mount answers 503, and the log says why.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..config.reader import DEFAULT_FILE, Config, MountConfig, load_config
from ..errors import LoadError
from ..wsgi.cookies import ScopedCookies
from ..wsgi.limits import ConcurrencyLimit, MaxBody
from ..wsgi.responses import unavailable
from ..wsgi.router import Router
from ..wsgi.table import Mount, MountTable
from .importing import import_path, is_a, load_app, put_on_path, top_level
from .isolation import forget_failed_loads, note_failed_load, preserve_process_state

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

RETRY_AFTER = 60  # seconds: how soon a client is to ask again for an app that could not be loaded

logger = logging.getLogger("mountpoint")


@dataclass(frozen=True, slots=True)
class LoadedMount:
    """A mount of the file with what became of it: its app, or the error that took the app's place."""

    config: MountConfig
    app: WSGIApplication | None = None
    error: LoadError | None = None

    @property
    def state(self) -> str:
        """``ready``, or ``broken: `` and the reason in one line."""
        return f"broken: {self.error}" if self.error else "ready"


def load_mounts(config: Config) -> Sequence[LoadedMount]:
    """Load every app of *config*, in the table's order. What fails is in the result, and is not raised."""
    return Loader().load(config)


class Loader:
    """Loads the apps of a table, and of the tables after it; it remembers what of the process the earlier ones took."""

    def __init__(self) -> None:
        self._path: Sequence[str] = ()
        self._modules: dict[str, Path] = {}  # file, by top-level name
        self._clashes: dict[Path, list[tuple[Path, Path]]] = {}  # by root
        self._django: MountConfig | None = None

    def load(self, config: Config, before: Sequence[LoadedMount] = ()) -> Sequence[LoadedMount]:
        """Load every app of *config*, in the table's order. What fails is in the result, and is not raised.

        A mount that is in *before*, and has not changed, keeps its app.
        """
        kept = {_identity(mount.config): mount for mount in before if mount.app}
        known = {mount.key: kept.get(_identity(mount)) for mount in config.mounts}
        forget_failed_loads()
        self._path = import_path(mount.root for mount in config.mounts)
        put_on_path(self._path)
        self._clashes.clear()
        # What is imported stays, and so does its name; what is not may have been renamed meanwhile.
        self._modules = {name: file for name, file in self._modules.items() if name in sys.modules or file.exists()}
        return [
            replace(there, config=mount) if (there := known[mount.key]) else self._load(mount)
            for mount in config.mounts
        ]

    def _load(self, mount: MountConfig) -> LoadedMount:
        modules = set(sys.modules)
        try:
            self._claim_modules(mount.root)
            with preserve_process_state(mount.env):
                app = load_app(mount.app, mount.root)
            if is_a(app, "django.WSGIHandler"):
                self._claim_django(mount)
            return LoadedMount(mount, app=app)
        except LoadError as error:
            note_failed_load(mount.root, modules, error.files)
            return LoadedMount(mount, error=error)
        except OSError as error:  # of the root: what the app itself raises is a LoadError by now
            return LoadedMount(mount, error=LoadError(f"{error.filename} cannot be read: {error.strerror}"))
        finally:
            put_on_path(self._path)  # the app may have put its own folders first

    def _claim_modules(self, root: Path) -> None:
        """Raise LoadError if *root* has a module of the name of another's: a second import answers with the first."""
        if root not in self._clashes:  # each is looked into once, and one file by two names is no clash
            claimed = [(file, self._modules.setdefault(name, file)) for name, file in sorted(top_level(root).items())]
            self._clashes[root] = [(file, other) for file, other in claimed if not _is_same(file, other)]
        if clashes := self._clashes[root]:
            files = "; ".join(f"{file} and {other}" for file, other in clashes)
            raise LoadError(
                f"one process can import only one module of a name, and an earlier mount has it: {files}; rename one",
                files=[str(file) for file, _ in clashes],
            )

    def _claim_django(self, mount: MountConfig) -> None:
        """Raise LoadError if there is another Django project: it would answer with that one's URLs and database."""
        first = self._django = self._django or mount
        if (first.root, _package(first)) != (mount.root, _package(mount)):
            raise LoadError(
                f"another Django project is at {first.key}, and one process has room for the settings of one; "
                "serve this one by a process of its own"
            )


def _is_same(file: Path, other: Path) -> bool:
    return other.exists() and file.samefile(other)


def _package(mount: MountConfig) -> str:
    return mount.app.module.partition(".")[0]


def _identity(mount: MountConfig) -> Hashable:
    """Return what the app of *mount* depends on; its other settings are those of the layers around it."""
    return mount.key, mount.app.text, mount.root, tuple(sorted(mount.env.items()))


def build_table(mounts: Sequence[LoadedMount], *, limits: bool = False) -> MountTable:
    """Return the mount table of *mounts*, with a 503 in the place of each app that failed.

    With *limits* each app is kept to its ``limit`` here, where no server of ours does it.
    """
    return MountTable(
        Mount(mount.config.key, _app(mount, limits), slash=mount.config.slash, dot_segments=mount.config.dot_segments)
        for mount in mounts
    )


def _app(mount: LoadedMount, limits: bool) -> WSGIApplication:
    """Return what is called for *mount*: its app, or a 503 in its place, in the layers that it asks for."""
    app = mount.app or unavailable(RETRY_AFTER, "the app could not be loaded")
    if mount.config.cookies == "scoped":
        app = ScopedCookies(app)
    if limits and mount.config.limit is not None:
        app = ConcurrencyLimit(app, mount.config.limit)
    return app if mount.config.max_body is None else MaxBody(app, mount.config.max_body)


def build_router(config: Config, table: MountTable) -> Router:
    """Return the WSGI application that serves *table* as *config* says."""
    return Router(table, config.proxy, config.doctor.key)


def describe_broken(mount: LoadedMount) -> str:
    """Return what is to be said of *mount*, which failed: its error, with its traceback."""
    assert mount.error is not None
    details = f"\n{mount.error.details.rstrip()}" if mount.error.details else ""
    return f"{mount.config.key} is broken: {mount.error}{details}"


def report_broken(mounts: Sequence[LoadedMount], *, strict: bool) -> None:
    """Log every mount of *mounts* that failed, with its traceback; raise `LoadError` if there is one and *strict*."""
    broken = [mount for mount in mounts if mount.error]
    for mount in broken:
        logger.error("%s", describe_broken(mount))
    if broken and strict:
        names = ", ".join(mount.config.key for mount in broken)
        raise LoadError(f"strict: not started, {len(broken)} of {len(mounts)} mounts failed to load: {names}")


def load(file: str | Path = DEFAULT_FILE, *, strict: bool = False) -> WSGIApplication:
    """Return the WSGI application of a ``mounts.toml``, for any WSGI server.

    It has the file's ``[mounts]`` and ``[proxy]``; ``[server]`` and ``[logging]`` are the server's own affair here. So
    are queues: a mount at its ``limit`` answers 503 at once, and ``queue`` and ``slow_after`` mean nothing. A mount
    whose app fails to load answers 503 and is logged on ``mountpoint``; with *strict* nothing is returned and
    `LoadError` is raised. Raises `ConfigError` with all that is wrong in the file.

    ``gunicorn 'mountpoint:load("mounts.toml")'``
    """
    config = load_config(file)
    mounts = load_mounts(config)
    report_broken(mounts, strict=strict)
    return build_router(config, build_table(mounts, limits=True))
