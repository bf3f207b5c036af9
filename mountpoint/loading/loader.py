"""Load every app of a `Config`.

An app that fails to load does not stop the others: its mount responds 503, and the log has the reason.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..config.reader import Config, MountConfig, load_config
from ..config.toml_file import DEFAULT_FILE
from ..errors import LoadError
from . import slow_loads
from .app_kinds import is_instance_by_name
from .blocking import explain_blocking, refuse_to_block
from .environment import EnvironmentUse, SharedEnvironment, record_environment
from .eviction import evict_failed_modules, record_failed_load
from .importing import load_app, source_in
from .isolation import preserve_process_state
from .late_reads import late_reads
from .load_changes import LoadChanges, record_changes
from .load_thread import Load, LoadThread
from .loaded_mount import LoadedMount, report_broken
from .missing_files import missing_files
from .module_origins import ModuleOrigins
from .own_processes import OwnProcesses
from .patching import refuse_patching
from .routing import build_router, build_table
from .shared_libraries import SharedLibraries
from .signal_guard import guarded_handlers

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

_WORKER_SECONDS = 0.25  # between two reports of a worker that starts

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


class LoadObserver:
    """Hears of each load of a table, in the thread that called `Loader.load`. This one does nothing.

    ``lets_others_overtake`` says that the next mounts are loaded while a slow load goes on, in other threads.
    ``waits_for_workers`` says that a mount with processes of its own is loaded when its first process is ready.
    """

    lets_others_overtake = False
    waits_for_workers = True

    def before(self, mount: MountConfig) -> None:
        """*mount* is about to be loaded."""

    def during(self, mount: MountConfig, seconds: float, thread: int | None) -> None:
        """*mount* has been loading for *seconds* in *thread*, an identifier. Called a few times a second.

        A `LoadError` from here gives the load up, and is its outcome.
        """

    def after(self, mount: LoadedMount) -> None:
        """*mount* has been loaded."""

    def overtaken(self, mount: MountConfig) -> None:
        """The load of *mount* is slow, and the next mounts no longer wait for it."""

    def only_slow_left(self) -> None:
        """All mounts are loaded but those that are slow."""


class _TimeLimit(LoadObserver):
    """Gives up each load that has not ended after *timeout* seconds."""

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout

    def during(self, mount: MountConfig, seconds: float, thread: int | None) -> None:
        if self._timeout is not None and seconds >= self._timeout:
            raise slow_loads.timed_out(mount, self._timeout, thread)


class _PendingLoad:
    """The load of a mount in *thread*, which has begun."""

    def __init__(self, thread: LoadThread, load: Load[LoadedMount], mount: MountConfig) -> None:
        self._thread = thread
        self._load = load
        self._mount = mount
        self._slow_load = slow_loads.SlowLoad(mount)

    def wait(self, observer: LoadObserver, seconds: float | None) -> LoadedMount | None:
        """Return the loaded mount, or None if the load has not ended *seconds* after its start."""

        def on_wait(passed: float) -> bool:
            self._slow_load.report(passed, self._load.thread)
            observer.during(self._mount, passed, self._load.thread)
            return seconds is None or passed < seconds

        try:
            return self._load.result() if self._thread.wait(self._load, on_wait) else None
        except LoadError as error:
            return LoadedMount(self._mount, error=error)


def load_mounts(
    config: Config,
    thread: LoadThread | None = None,
    timeout: float | None = None,
    processes: OwnProcesses | None = None,
) -> Sequence[LoadedMount]:
    """Load every app of *config* and return the mounts in the table's order. A failed load does not raise.

    With *thread* the apps are imported there, and a load that takes more than *timeout* seconds fails.
    *processes* starts the mounts with processes of their own. Without it they are broken.
    """
    return Loader(thread, processes).load(config, observer=_TimeLimit(timeout))


class Loader:
    """Loads the apps of a table, and again after each change of the table.

    It remembers the process-wide resources that mounts have taken, such as the names of modules: they stay taken when
    a later table no longer has the mount. With *thread* the apps are imported there, and the loads are observed.
    *processes* starts the mounts with processes of their own.
    """

    def __init__(self, thread: LoadThread | None = None, processes: OwnProcesses | None = None) -> None:
        self._processes = processes
        self._origins = ModuleOrigins()
        self._environment = SharedEnvironment()
        self._libraries = SharedLibraries()
        self._shared: Sequence[str] = ()  # the keys of the mounts in this process
        self._env_lines: set[tuple[str, int]] = set()  # of the apps, which have read a variable of ``env`` in a load
        self._django: MountConfig | None = None  # the first mount of the Django project in this process
        self._thread = thread

    def load(
        self, config: Config, before: Sequence[LoadedMount] = (), observer: LoadObserver | None = None
    ) -> Sequence[LoadedMount]:
        """Load every app of *config* and return the mounts in the table's order. A failed load does not raise.

        *before* are the mounts of the previous table. A mount that has not changed since keeps its app. An exception
        from *observer* ends this load. Mounts with processes of their own start before the others load.
        """
        observer = observer or LoadObserver()
        ready = {_load_key(mount.config): mount for mount in before if mount.app}
        evict_failed_modules()
        shared = [mount for mount in config.mounts if mount.own is None]
        self._origins.set_mounts(shared)
        self._shared = [mount.key for mount in shared]
        self._libraries.set_mounts(self._shared)
        loaded: dict[str, LoadedMount] = {}
        overtaken: list[_PendingLoad] = []
        started = [self._start(mount) for mount in config.mounts if mount.own and _load_key(mount) not in ready]
        waiting = [mount for mount in started if mount.app and observer.waits_for_workers]
        for begun in started:
            if begun not in waiting:
                loaded[begun.config.key] = begun
                observer.after(begun)
        for mount in config.mounts:
            if known := ready.get(_load_key(mount)):
                loaded[mount.key] = replace(known, config=mount)
            elif mount.own is None and (found := self._load_observed(mount, observer, overtaken)) is not None:
                loaded[mount.key] = found
        if overtaken:
            observer.only_slow_left()
            loaded |= self._await_overtaken(overtaken, observer, loaded)
        if waiting:
            loaded |= self._await_workers(waiting, observer)
        return [loaded[mount.key] for mount in config.mounts]

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

    def _await_workers(self, waiting: Sequence[LoadedMount], observer: LoadObserver) -> Mapping[str, LoadedMount]:
        """Wait until the first process of each mount in *waiting* is ready, or has failed to start."""
        assert self._processes is not None
        found = {}
        started_at, is_slow = time.monotonic(), False
        for mount in waiting:
            assert mount.app is not None
            observer.before(mount.config)
            try:
                while not self._processes.wait(mount.app, _WORKER_SECONDS):
                    seconds = time.monotonic() - started_at
                    if seconds >= slow_loads.SLOW_SECONDS and not is_slow:
                        is_slow = True
                        observer.only_slow_left()
                    observer.during(mount.config, seconds, None)
                error = self._processes.error(mount.app)
            except LoadError as failure:
                error = failure
            if error:
                done = LoadedMount(mount.config, error=error)
            else:
                done = replace(mount, facts=self._processes.facts(mount.app))
            found[mount.config.key] = done
            observer.after(done)
        return found

    def give_up(self) -> None:
        """Give up the load that the main thread runs, because another call of `load` is to replace it."""
        if self._thread is not None:
            self._thread.give_up()

    def _load_observed(
        self, mount: MountConfig, observer: LoadObserver, overtaken: list[_PendingLoad]
    ) -> LoadedMount | None:
        """Load *mount*; return None if it has been added to *overtaken*, because it is slow."""
        observer.before(mount)
        if self._thread is None:
            loaded: LoadedMount | None = self._load(mount)
        else:
            pending = _PendingLoad(self._thread, self._thread.start(lambda: self._load(mount), mount.key), mount)
            loaded = pending.wait(observer, slow_loads.SLOW_SECONDS if observer.lets_others_overtake else None)
            if loaded is None:
                overtaken.append(pending)
                observer.overtaken(mount)
        if loaded is not None:
            observer.after(loaded)
        return loaded

    def _await_overtaken(
        self, overtaken: list[_PendingLoad], observer: LoadObserver, loaded: Mapping[str, LoadedMount]
    ) -> Mapping[str, LoadedMount]:
        """Wait for the slow loads. Then load the mounts again that have failed only outside of the main thread."""
        again = [mount.config for mount in loaded.values() if mount.needs_main_thread]
        found = {}
        while overtaken:
            pending = overtaken.pop(0)
            if (done := pending.wait(observer, 0)) is None:
                overtaken.append(pending)
            else:
                found[done.config.key] = done
                observer.after(done)
                again += [done.config] if done.needs_main_thread else []
        if again:
            evict_failed_modules()
        for mount in again:
            logger.info("%s is loaded again, in the main thread", mount.key)
            if (done := self._load_observed(mount, observer, [])) is not None:
                found[mount.key] = done
        return found

    def _load(self, mount: MountConfig) -> LoadedMount:
        modules, started_at = set(sys.modules), time.monotonic()
        loaded, use, changes, warnings = LoadedMount(mount), EnvironmentUse(), LoadChanges(), list[str]()
        try:
            with (
                self._origins.watch(mount),
                refuse_patching(),
                self._libraries.watch(mount, warnings),
                preserve_process_state(mount.env, str(source_in(mount.app, mount.root))),
                record_environment(mount.env, use),
                record_changes(changes),
                refuse_to_block(),
                guarded_handlers(),
            ):
                app = load_app(mount.app, mount.root)
            if is_instance_by_name(app, "django.WSGIHandler"):
                self._require_same_django_project(mount)
            loaded = replace(loaded, app=app)
        except LoadError as error:
            record_failed_load(mount.root, modules, error.files)
            error.files += tuple(missing_files(error, mount.root))
            is_main = threading.current_thread() is threading.main_thread()
            loaded = replace(loaded, error=explain_blocking(error, mount), needs_main_thread=not is_main)
        except KeyboardInterrupt:
            record_failed_load(mount.root, modules)
            raise
        except OSError as error:  # the root cannot be read; an OSError of the app itself would be a LoadError here
            loaded = replace(loaded, error=LoadError(f"{error.filename} cannot be read: {error.strerror}"))
        changes.variables = sorted(use.changed)
        siblings = [key for key in self._shared if key != mount.key]
        warnings += [*self._environment.conflicts(mount, use), *changes.conflicts(siblings)]
        self._env_lines |= use.lines
        late = late_reads(self._origins.own_sources(mount.root), use.env, self._env_lines) if mount.env else []
        warnings += map(str, late)
        return replace(
            loaded,
            warnings=warnings,
            notes=[*changes.notes(siblings)],
            unread=[name for name in use.unread(mount.env) if name not in {read.name for read in late}],
            modules=self._origins.used_modules(mount.root),
            load_seconds=time.monotonic() - started_at,
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
                'serve this project from a process of its own: write process = "own"'
            )


def _django_project(mount: MountConfig) -> Hashable:
    return mount.root, mount.app.module.partition(".")[0]


def _load_key(mount: MountConfig) -> Hashable:
    """Return the settings that the app of *mount* depends on. Its other settings apply to the middleware around it."""
    return mount.key, mount.app.text, mount.root, tuple(sorted(mount.env.items())), mount.own
