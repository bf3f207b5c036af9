"""Load the table at the start, and again at SIGHUP: the mounts that have changed, while the old table keeps serving.

A thread of its own reads the table and decides what to load. The main thread imports the apps (see
`mountpoint.loading.load_thread`), and the loop goes on serving. At the start each mount is served once it is loaded. A
reload never breaks a mount that works:

- If the file has an error, or a mount that worked would now fail to load, the old table stays.
- If a mount is new, or was broken before, and fails to load, it answers 503 and the other changes take effect. With
  ``strict`` the old table stays in this case too.
- A mount that has not changed keeps its app.

A reload never loads a module a second time, because two versions of one module would mix. Changed code needs a new
process (`mountpoint.lifecycle.takeover`).

An import may hang for ever. A signal that comes during a load logs the place where it is. If the load has not ended
`HANG_SECONDS` after its start, another one begins and its own outcome is dropped.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..config.reader import Config, MountConfig, ServerConfig, load_config
from ..errors import ConfigError, LoadError, counted
from ..loading.load_thread import GivenUp
from ..loading.loaded_mount import LoadedMount, describe_broken, log_warnings
from ..loading.loader import Loader, LoadObserver
from ..loading.module_files import namespace_of
from ..server.slow_requests import stack_of
from .installed_code import InstalledCode

SETTLE_SECONDS = 0.5  # the file must be unchanged for so long, because half of a table can be valid TOML

HANG_SECONDS = 10.0  # from its start, after which a second signal supersedes a reload

# The fields of `ServerConfig` that a reload changes in a serving process.
_LIVE = {
    "drain_timeout",
    "header_timeout",
    "body_timeout",
    "body_min_rate",
    "max_buffered_bodies",
    "access_log_exclude",
    "strict",
    "request_id",
}

logger = logging.getLogger("mountpoint")


class _Superseded(BaseException):
    """Ends a load that another one has superseded."""


@dataclass(slots=True, eq=False)
class _Run(LoadObserver):
    """A thread that loads the table, and then reloads it as often as asked.

    ``started_at`` is from `time.monotonic`, ``loads`` the key of the mount that it loads, and ``loading_thread`` the
    identifier of the thread that imports that mount.
    """

    reloader: TableReloader
    started_at: float
    lets_others_overtake: bool = False
    is_first: bool = False
    thread: threading.Thread | None = None
    loads: str = ""
    loading_thread: int | None = None

    @property
    def waits_for_workers(self) -> bool:  # type: ignore[override]  # a constant elsewhere
        return not self.is_first or self.reloader._start.waits_for_workers

    def before(self, mount: MountConfig) -> None:
        self.reloader._require_current(self)
        self.loads, self.loading_thread = mount.key, None

    def during(self, mount: MountConfig, seconds: float, thread: int | None) -> None:
        self.reloader._require_current(self)
        self.loads, self.loading_thread = mount.key, thread
        if self.is_first:
            self.reloader._start.during(mount, seconds, thread)

    def after(self, mount: LoadedMount) -> None:
        if self.is_first:
            self.reloader._add_loaded(self, mount)

    def overtaken(self, mount: MountConfig) -> None:
        self.reloader._replace_mount(self, LoadedMount(mount, is_slow=True))

    def only_slow_left(self) -> None:
        self.reloader._start.only_slow_left()


class StartObserver:
    """Hears of the first load of a table. This one does nothing.

    ``waits_for_workers`` is that of a `LoadObserver`.
    """

    waits_for_workers = False

    def during(self, mount: MountConfig, seconds: float, thread: int | None) -> None:
        """*mount* has been loading for *seconds* in *thread*, an identifier. Called a few times a second."""

    def only_slow_left(self) -> None:
        """All mounts are loaded but those that are slow."""

    def ended(self, mounts: Sequence[LoadedMount]) -> None:
        """*mounts* is the whole table, and each of its loads has ended."""

    def failed(self, error: BaseException) -> None:
        """The load has ended with *error*, a fault of this package or an interrupt."""


class TableReloader:
    """Loads the table of a process, and replaces it while the process serves.

    *mounts* are those of the first table. If they are not loaded yet, `load` begins that. *swap_table* is called with
    each new table: during the first load after each mount, and later once all of its mounts are loaded. *on_end* is
    called after every reload, with its outcome in a few words. Both are called in the thread that loads.
    """

    def __init__(
        self,
        config: Config,
        mounts: Sequence[LoadedMount],
        loader: Loader,
        swap_table: Callable[[Config, Sequence[LoadedMount]], object],
        on_end: Callable[[str], object] = lambda outcome: None,
    ) -> None:
        self.mounts = mounts
        self._config = config
        self._loader = loader
        self._swap_table = swap_table
        self._on_end = on_end
        self._start = StartObserver()
        self._file = config.file.absolute()
        self._installed_code = InstalledCode()
        self._module_times: dict[str, float] = {}  # when each module was first seen, a Unix time
        self._record_modules()
        self._lock = threading.Lock()
        self._is_requested = False
        self._current: _Run | None = None

    def load(self, start: StartObserver) -> None:
        """Begin the first load, in a thread; *start* hears of it. Raises RuntimeError if the thread cannot start."""
        self._start = start
        run = _Run(self, time.monotonic(), lets_others_overtake=True, is_first=True)
        run.thread = threading.Thread(target=self._run, args=(run,), name="mountpoint-reload", daemon=True)
        self._current = run
        run.thread.start()

    def start(self) -> None:
        """Reload in a thread, and return at once. During a reload: once more after it, or instead of it if it hangs."""
        with self._lock:
            self._is_requested = True
            current = self._current
        if current and current.thread and current.thread.ident:
            logger.warning(
                "%s runs already, for %.1f s; another one begins once it has ended, or has run for %g s; it is "
                "loading %s, at:\n%s",
                "the first load" if current.is_first else "a reload",
                time.monotonic() - current.started_at,
                HANG_SECONDS,
                current.loads or "the table",
                stack_of(current.loading_thread or current.thread.ident),
            )
        self.start_pending()

    def start_pending(self) -> None:
        """Begin the reload that was asked for, unless one runs that does not hang. The loop calls this repeatedly."""
        if not self._is_requested:
            return
        with self._lock:
            hung, now = self._current, time.monotonic()
            if hung and now - hung.started_at < HANG_SECONDS:
                return
            run = _Run(self, now)
            run.thread = threading.Thread(target=self._run, args=(run,), name="mountpoint-reload", daemon=True)
            self._current = run
            try:
                run.thread.start()
            except (RuntimeError, MemoryError) as error:  # the system or the container allows no more threads
                self._current, self._is_requested = hung, False
                failure: Exception | None = error
            else:
                failure = None
        if failure:
            logger.error("not reloaded, the old table is kept: %s; send SIGHUP again", failure)
            self._on_end("not reloaded: no thread could be started")
        elif hung:
            self._loader.give_up()
            logger.error("the reload that loads %s hangs; it is given up, and another one begins", hung.loads)
            if hung.is_first:
                self._give_up_first_load()

    def _run(self, run: _Run) -> None:
        try:
            if run.is_first and not self._load_first(run):
                return
            run.is_first = run.lets_others_overtake = False
            while self._take_request(run):
                try:
                    outcome = self._reload(run)
                except _Superseded:
                    logger.warning("a reload that was given up has ended; it changes nothing")
                    return
                except GivenUp:  # the process ends
                    return
                except BaseException:  # an app may raise KeyboardInterrupt, and the next reload must still run
                    logger.exception("reload failed; the old table is kept")
                    outcome = "the old table is kept"
                if self._current is run:
                    self._on_end(outcome)
        finally:
            with self._lock:
                if self._current is run:  # an exception from above: from a log handler
                    self._current = None

    def _take_request(self, run: _Run) -> bool:
        """Return whether *run* has to reload. Without a request it is over."""
        with self._lock:
            if self._current is not run:
                return False
            if not self._is_requested:
                self._current = None
                return False
            self._is_requested = False
            run.started_at = time.monotonic()
            return True

    def _require_current(self, run: _Run) -> None:
        if self._current is not run:
            raise _Superseded

    def _load_first(self, run: _Run) -> bool:
        """Load the first table; return False if the process ends, or if a reload has superseded this load."""
        try:
            self._loader.load(self._config, (), run)
            self._require_current(run)
        except (_Superseded, GivenUp):
            return False
        except BaseException as error:
            self._start.failed(error)
            return False
        self._record_modules()
        self._start.ended(self.mounts)
        return True

    def _add_loaded(self, run: _Run, loaded: LoadedMount) -> None:
        """Serve a mount of the first table."""
        log_warnings([loaded])
        if loaded.error:
            logger.error("%s", describe_broken(loaded))
        self._replace_mount(run, loaded)

    def _replace_mount(self, run: _Run, loaded: LoadedMount) -> None:
        with self._lock:
            self._require_current(run)
            self.mounts = [loaded if one.config.key == loaded.config.key else one for one in self.mounts]
            self._swap_table(self._config, self.mounts)

    def _give_up_first_load(self) -> None:
        error = LoadError("its load hung and was given up")
        with self._lock:
            self.mounts = [one if one.is_loaded else dataclasses.replace(one, error=error) for one in self.mounts]
            self._swap_table(self._config, self.mounts)
        self._start.ended(self.mounts)

    def _reload(self, run: _Run) -> str:
        logger.info("%s: reloading", self._config.file)
        try:
            config = self._read()
        except ConfigError as error:
            logger.error("not reloaded, the old table is kept:\n%s", error)
            return "not reloaded: errors in the file"
        before = {mount.config.key: mount for mount in self.mounts}
        self._record_modules()
        started_at, modules = time.time(), dict(sys.modules)

        mounts = self._loader.load(config, self.mounts, run)
        self._require_current(run)
        # These were read from their files just now, even if a failed load had imported them before.
        self._module_times |= {
            name: started_at for name, module in sys.modules.copy().items() if modules.get(name) is not module
        }
        broken = [mount for mount in mounts if mount.error]
        worked = [mount for mount in broken if (old := before.get(mount.config.key)) and old.app]
        log_warnings(
            mount for mount in mounts if (old := before.get(mount.config.key)) is None or mount.app is not old.app
        )
        for mount in broken:
            logger.error("%s", describe_broken(mount))
        if worked or (broken and config.server.strict):
            why = "worked before, and failed to load" if worked else "strict: failed to load"
            names = ", ".join(mount.config.key for mount in worked or broken)
            logger.error("not reloaded, the old table is kept; %s: %s", why, names)
            return "not reloaded: apps failed to load"
        for line in [*_changes(self.mounts, mounts), *_needs_restart(self._config, config), *self._stale_code(mounts)]:
            logger.info("%s", line)
        with self._lock:
            self._require_current(run)
            self.mounts = mounts
            self._swap_table(config, mounts)
        return f"{len(mounts)} mounts, {len(broken)} broken"

    def _read(self) -> Config:
        """Read the file once it has settled, and again if it has changed while it was read."""
        while True:
            before = self._file_state()
            while before != (now := self._settled_state(before)):
                before = now
            config = load_config(self._file, self._config.overrides)
            if self._file_state() == before:
                return dataclasses.replace(config, file=self._config.file)

    def _settled_state(self, before: tuple[float, int] | None) -> tuple[float, int] | None:
        """Wait until the state *before* is `SETTLE_SECONDS` old; return the state after that."""
        age = time.time() - before[0] if before else 0.0
        if age < SETTLE_SECONDS:
            time.sleep(SETTLE_SECONDS if age < 0 else SETTLE_SECONDS - age)  # below 0: the clock was set back
        return self._file_state()

    def _file_state(self) -> tuple[float, int] | None:
        """Return modification time and size of the file."""
        try:
            state = self._file.stat()
        except OSError:
            return None  # `load_config` reports it
        return state.st_mtime, state.st_size

    def _record_modules(self) -> None:
        self._installed_code.record()
        now = time.time()
        for name in list(sys.modules):
            self._module_times.setdefault(name, now)

    def _stale_code(self, mounts: Sequence[LoadedMount]) -> Iterator[str]:
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
                    "loaded modules; send SIGUSR2 to start a new process with the new code"
                )
        if installed := self._installed_code.changed([mount.config.root for mount in mounts]):
            names = ", ".join(installed[:3]) + (f" and {counted(len(installed) - 3, 'other')}" if installed[3:] else "")
            yield (
                f"packages outside the roots have changed ({names}), but a reload keeps loaded modules; send SIGUSR2 "
                "to start a new process with the new code"
            )


def _modified(file: str) -> float:
    try:
        return Path(file).stat().st_mtime
    except (OSError, ValueError):
        return 0.0


def _changes(before: Sequence[LoadedMount], after: Sequence[LoadedMount]) -> Iterator[str]:
    """Yield a line for each mount that was removed, added or changed."""
    old = {mount.config.key: mount for mount in before}
    new = {mount.config.key: mount for mount in after}
    for key in old.keys() - new.keys():
        yield f"{key}: removed"
    for key, mount in new.items():
        if key not in old:
            yield f"{key}: new, {mount.state}"
        elif old[key].config != mount.config or old[key].app is not mount.app:
            yield f"{key}: changed, {mount.state}"


def _needs_restart(before: Config, after: Config) -> Iterator[str]:
    """Yield a line with the settings that differ between the file and the serving process."""
    changed = [
        f"server.{field.name}"
        for field in dataclasses.fields(ServerConfig)
        if field.name not in _LIVE | {"adjustments", "has_json_logs"}
        and getattr(before.server, field.name) != getattr(after.server, field.name)
    ]
    old, new = before.server.adjustments, after.server.adjustments
    changed += [f"server.{name}" for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
    if before.logging != after.logging:
        changed.append("logging")
    changed += [
        f"status.{name}" for name in ("listen", "key") if getattr(before.status, name) != getattr(after.status, name)
    ]
    if changed:
        yield f"these changed settings take effect at a restart: {', '.join(changed)}"
