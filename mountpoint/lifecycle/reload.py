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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ..config.reader import Config, MountConfig, load_config
from ..errors import ConfigError, LoadError
from ..loading.load_thread import GivenUp
from ..loading.loaded_mount import LoadedMount, describe_broken, log_warnings
from ..loading.loader import Loader, LoadObserver
from ..server.slow_requests import stack_of
from .control_messages import Reply
from .loaded_code import LoadedCode
from .table_changes import changes, needs_restart

SETTLE_SECONDS = 0.5  # the file must be unchanged for so long, because half of a table can be valid TOML

HANG_SECONDS = 10.0  # from its start, after which a second signal supersedes a reload

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
    replies: list[Reply] = field(default_factory=list)  # to the commands that asked for this reload

    def say(self, log: Callable[[str, str], object], text: str) -> None:
        """Pass *text* to *log*, a method of a logger, and to the commands."""
        log("%s", text)
        for reply in self.replies:
            reply.line(text)

    def outcome(self, text: str, *, is_taken: bool = False, broken: int = 0) -> Outcome:
        return Outcome(text, self.started_at, is_taken, broken, self.replies)

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


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a reload, with a *text* of a few words.

    ``started_at`` is a `time.monotonic`, in seconds. ``is_taken`` says whether the new table is served, ``broken`` how
    many of its mounts are broken.
    """

    text: str
    started_at: float
    is_taken: bool = False
    broken: int = 0
    replies: Sequence[Reply] = ()

    @property
    def ok(self) -> bool:
        """Whether the new table is served, and each app works."""
        return self.is_taken and not self.broken

    def reply(self) -> None:
        """Respond to the commands that asked for the reload."""
        for reply in self.replies:
            reply.end(f"reload ended: {self.text}", ok=self.ok)


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
    called after every reload. Both are called in the thread that loads.
    """

    def __init__(
        self,
        config: Config,
        mounts: Sequence[LoadedMount],
        loader: Loader,
        swap_table: Callable[[Config, Sequence[LoadedMount]], object],
        on_end: Callable[[Outcome], object] = lambda outcome: None,
    ) -> None:
        self.mounts = mounts
        self._config = config  # that of the start
        self._latest = config
        self._loader = loader
        self._swap_table = swap_table
        self._on_end = on_end
        self._start = StartObserver()
        self._file = config.file.absolute()
        self._code = LoadedCode()
        self._lock = threading.Lock()
        self._is_requested = False
        self._replies: list[Reply] = []  # to the commands that asked for the reload which is requested
        self._current: _Run | None = None

    def load(self, start: StartObserver) -> None:
        """Begin the first load, in a thread; *start* observes it. Raises RuntimeError if the thread cannot start."""
        self._start = start
        run = _Run(self, time.monotonic(), lets_others_overtake=True, is_first=True)
        run.thread = threading.Thread(target=self._run, args=(run,), name="mountpoint-reload", daemon=True)
        self._current = run
        run.thread.start()

    def start(self, reply: Reply | None = None) -> None:
        """Reload in a thread, and return at once. During a reload: once more after it, or instead of it if it hangs.

        *reply* gets the lines about the reload and its outcome.
        """
        with self._lock:
            self._is_requested = True
            if reply is not None:
                self._replies.append(reply)
            current = self._current
        if current and current.thread and current.thread.ident:
            text = (
                f"{'the first load' if current.is_first else 'a reload'} runs already, for "
                f"{time.monotonic() - current.started_at:.1f} s; another one begins once it has ended, or has run for "
                f"{HANG_SECONDS:g} s; it is loading {current.loads or 'the table'}, at:\n"
                f"{stack_of(current.loading_thread or current.thread.ident)}"
            )
            logger.warning("%s", text)
            if reply is not None:
                reply.line(text)
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
                replies, self._replies = self._replies, []
                failure: Exception | None = error
            else:
                failure = None
        if failure:
            logger.error("not reloaded, the old table is kept: %s; send SIGHUP again", failure)
            self._on_end(Outcome("not reloaded: no thread could be started", now, replies=replies))
        elif hung:
            self._loader.give_up()
            logger.error("the reload that loads %s hangs; it is given up, and another one begins", hung.loads)
            hung.outcome(f"it hung while it loaded {hung.loads or 'the table'}").reply()
            if hung.is_first:
                self._give_up_first_load()

    def replace_app(self, before: LoadedMount, after: LoadedMount) -> bool:
        """Serve *after* instead of *before*, unless a reload has replaced or removed that mount; return whether it did.

        The rest of the table stays.
        """
        with self._lock:
            key = before.config.key
            latest = next((one for one in self.mounts if one.config.key == key), None)
            if latest is None or latest.app is not before.app or latest.config.own != before.config.own:
                return False
            after = dataclasses.replace(after, config=latest.config)
            self.mounts = [after if one is latest else one for one in self.mounts]
            self._swap_table(self._latest, self.mounts)
            return True

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
                    outcome = run.outcome("the old table is kept")
                if self._current is run:
                    self._on_end(outcome)
        finally:
            with self._lock:
                if self._current is run:  # an exception from above: from a log handler
                    self._current = None
                    run.outcome("it failed, see the log").reply()

    def _take_request(self, run: _Run) -> bool:
        """Return whether *run* has to reload. Without a request it is over."""
        with self._lock:
            if self._current is not run:
                return False
            if not self._is_requested:
                self._current = None
                return False
            self._is_requested = False
            run.replies, self._replies = self._replies, []
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
        self._code.record()
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
            self._swap_table(self._latest, self.mounts)

    def _give_up_first_load(self) -> None:
        error = LoadError("its load hung and was given up")
        with self._lock:
            self.mounts = [one if one.is_loaded else dataclasses.replace(one, error=error) for one in self.mounts]
            self._swap_table(self._config, self.mounts)
        self._start.ended(self.mounts)

    def _reload(self, run: _Run) -> Outcome:
        run.say(logger.info, f"{self._config.file}: reloading")
        try:
            config = self._read()
        except ConfigError as error:
            run.say(logger.error, f"not reloaded, the old table is kept:\n{error}")
            return run.outcome("not reloaded: errors in the file")
        before = {mount.config.key: mount for mount in self.mounts}
        self._code.record()
        started_at, modules = time.time(), dict(sys.modules)

        mounts = self._loader.load(config, self.mounts, run)
        self._require_current(run)
        self._code.note_import(modules, started_at)  # even if a failed load had imported them before
        broken = [mount for mount in mounts if mount.error]
        worked = [mount for mount in broken if (old := before.get(mount.config.key)) and old.app]
        for mount in mounts:
            if (old := before.get(mount.config.key)) is None or mount.app is not old.app:
                for warning in mount.warnings:
                    run.say(logger.warning, f"{mount.config.key}: {warning}")
        for mount in broken:
            run.say(logger.error, describe_broken(mount))
        if worked or (broken and config.server.strict):
            why = "worked before, and failed to load" if worked else "strict: failed to load"
            names = ", ".join(mount.config.key for mount in worked or broken)
            run.say(logger.error, f"not reloaded, the old table is kept; {why}: {names}")
            return run.outcome("not reloaded: apps failed to load")
        for line in [*changes(self.mounts, mounts), *needs_restart(self._config, config), *self._code.stale(mounts)]:
            run.say(logger.info, line)
        with self._lock:
            self._require_current(run)
            self.mounts = [self._with_latest_app(mount, before) for mount in mounts]
            self._latest = config
            self._swap_table(config, self.mounts)
        return run.outcome(f"{len(mounts)} mounts, {len(broken)} broken", is_taken=True, broken=len(broken))

    def _with_latest_app(self, mount: LoadedMount, before: Mapping[str, LoadedMount]) -> LoadedMount:
        """Return *mount* with the app of a restart that has ended since the reload began with the mounts *before*."""
        key = mount.config.key
        latest = next((one for one in self.mounts if one.config.key == key), None)
        if latest is None or key not in before or mount.app is not before[key].app or latest.app is mount.app:
            return mount
        return dataclasses.replace(latest, config=mount.config)

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
