"""Load every app of a `Config`, and build the WSGI application that serves them.

An app that fails to load does not stop the others: its mount responds 503, and the log has the reason.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..config.reader import DEFAULT_FILE, Config, MountConfig, load_config
from ..errors import LoadError
from ..wsgi.cookies import ScopedCookies
from ..wsgi.limits import ConcurrencyLimit, MaxBody
from ..wsgi.mount_env import MountEnv
from ..wsgi.responses import unavailable
from ..wsgi.router import Router
from ..wsgi.table import Mount, MountTable
from .app_check import is_instance_by_name
from .environment import EnvironmentUse, SharedEnvironment, record_environment
from .eviction import evict_failed_modules, record_failed_load
from .importing import load_app, source_in
from .isolation import preserve_process_state
from .module_origins import ModuleOrigins
from .patching import refuse_patching

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
    """A mount of the file after its load: it has either an app or an error.

    *warnings* are about variables that it shares with other mounts. *unread* are the names in its ``env`` that no code
    has read during the load.
    """

    config: MountConfig
    app: WSGIApplication | None = None
    error: LoadError | None = None
    warnings: Sequence[str] = ()
    unread: Collection[str] = ()

    @property
    def state(self) -> str:
        """``ready``, or ``broken: `` and the reason in one line."""
        return f"broken: {self.error}" if self.error else "ready"


def load_mounts(config: Config) -> Sequence[LoadedMount]:
    """Load every app of *config* and return the mounts in the table's order. A failed load does not raise."""
    return Loader().load(config)


class Loader:
    """Loads the apps of a table, and again after each change of the table.

    It remembers the process-wide resources that mounts have taken, such as the names of modules: they stay taken when
    a later table no longer has the mount.
    """

    def __init__(self) -> None:
        self._origins = ModuleOrigins()
        self._environment = SharedEnvironment()
        self._django: MountConfig | None = None  # the first mount of the Django project in this process

    def load(
        self,
        config: Config,
        before: Sequence[LoadedMount] = (),
        before_each: Callable[[MountConfig], object] = lambda mount: None,
    ) -> Sequence[LoadedMount]:
        """Load every app of *config* and return the mounts in the table's order. A failed load does not raise.

        *before* are the mounts of the previous table. A mount that has not changed since keeps its app.
        *before_each* is called with each mount before its load. An exception from it ends this load.
        """
        ready = {_load_key(mount.config): mount for mount in before if mount.app}
        evict_failed_modules()
        self._origins.set_mounts(config.mounts)
        mounts = []
        for mount in config.mounts:
            if known := ready.get(_load_key(mount)):
                mounts.append(replace(known, config=mount))
            else:
                before_each(mount)
                mounts.append(self._load(mount))
        return mounts

    def _load(self, mount: MountConfig) -> LoadedMount:
        modules = set(sys.modules)
        loaded, use = LoadedMount(mount), EnvironmentUse()
        try:
            with (
                self._origins.watch(mount),
                refuse_patching(),
                preserve_process_state(mount.env, str(source_in(mount.app, mount.root))),
                record_environment(mount.env, use),
            ):
                app = load_app(mount.app, mount.root)
            if is_instance_by_name(app, "django.WSGIHandler"):
                self._require_same_django_project(mount)
            loaded = replace(loaded, app=app)
        except LoadError as error:
            record_failed_load(mount.root, modules, error.files)
            loaded = replace(loaded, error=error)
        except OSError as error:  # the root cannot be read; an OSError of the app itself would be a LoadError here
            loaded = replace(loaded, error=LoadError(f"{error.filename} cannot be read: {error.strerror}"))
        return replace(loaded, warnings=self._environment.conflicts(mount, use), unread=use.unread(mount.env))

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


def _django_project(mount: MountConfig) -> Hashable:
    return mount.root, mount.app.module.partition(".")[0]


def _load_key(mount: MountConfig) -> Hashable:
    """Return the settings that the app of *mount* depends on. Its other settings apply to the middleware around it."""
    return mount.key, mount.app.text, mount.root, tuple(sorted(mount.env.items()))


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
    if mount.config.env:
        app = MountEnv(app, mount.config.env)
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


def log_warnings(mounts: Sequence[LoadedMount]) -> None:
    """Log what *mounts* share with other mounts by mistake."""
    for mount in mounts:
        for warning in mount.warnings:
            logger.warning("%s: %s", mount.config.key, warning)


def report_broken(mounts: Sequence[LoadedMount], *, strict: bool) -> None:
    """Log the warnings of *mounts*, and each broken one with its traceback.

    With *strict*, raise `LoadError` if one is broken.
    """
    broken = [mount for mount in mounts if mount.error]
    for mount in broken:
        logger.error("%s", describe_broken(mount))
    log_warnings(mounts)
    if broken and strict:
        keys = ", ".join(mount.config.key for mount in broken)
        raise LoadError(f"not started because of strict: {len(broken)} of {len(mounts)} mounts failed to load: {keys}")
