"""Serve a `Config`: bind the sockets, load the apps, handle signals, run the loop, and end the process.

SIGTERM, SIGINT   drain; a second one ends the drain at once, or the process if the loop does not react
SIGHUP            read the table again (`mountpoint.lifecycle.reload`)
SIGUSR1           log the requests in flight (`mountpoint.server.slow_requests`)
SIGUSR2           start a process that takes over (`mountpoint.lifecycle.takeover`)

The main thread loads apps and handles signals. The loop runs in a thread of its own, and so does the one that reads the
table, at the start and at SIGHUP.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ..config.reader import Config
from ..errors import ConfigError, counted
from ..loading.load_thread import LoadThread
from ..loading.loaded_mount import LoadedMount
from ..loading.loader import Loader
from ..loading.log_fields import set_request_fields
from ..loading.log_stream import detach_streams, drain_logs
from ..loading.logs import configure_logging
from ..loading.places import place_in
from ..loading.routing import build_router, build_table
from ..loading.standard_streams import detached_standard_streams
from ..server.loop import MAX_WAIT, Server
from ..server.mount_queues import queue_limits
from ..server.slow_requests import stack_of
from ..server.sockets import raise_file_limit
from ..workers.processes import WorkerProcesses
from .binding import bind_sockets
from .control import Control
from .control_commands import changing_commands
from .control_messages import DRAINING, LOADING, SERVING, Reply
from .ending import MIN_SECONDS, end_after, end_by_signal, end_now, end_process
from .inheritance import read_inheritance
from .observing import Observing
from .reload import Outcome, TableReloader
from .restarts import MountRestarts
from .service_manager import ServiceManager
from .signals import SignalReceiver
from .start import Start, announcement
from .status_page import StatusPage
from .systemd import successor_environ
from .takeover import Takeover, working_folder

_STOP_SIGNALS = ("SIGTERM", "SIGINT", "SIGBREAK")
_SIGNALS = (*_STOP_SIGNALS, "SIGHUP", "SIGUSR1", "SIGUSR2")
_STOP_SECONDS = 0.5  # for which the loop may end the process in order after the second signal

logger = logging.getLogger("mountpoint")


def serve(config: Config, *, watch_files: Callable[[list[str]], object] | None = None) -> int:
    """Load the apps of *config* and serve them until a signal; return the exit code.

    The code is 0 if every request was finished, and 1 if one was cut off. A signal that stops the server before it has
    announced itself makes it 128 and the number of the signal. Raises `ServeError` if the server cannot listen on an
    address, and `LoadError` if an app fails to load under ``strict``. Off the main thread no signal is handled.
    *watch_files* is called with the files whose change could repair a broken mount.
    """
    try:
        with detached_standard_streams():
            process = _start(config, watch_files)
            try:
                return process.run()
            finally:
                process.close()
    finally:
        drain_logs()


def serve_and_end(config: Config, *, watch_files: Callable[[list[str]], object] | None = None) -> NoReturn:
    """Serve *config* as `serve` does, and end the process with its exit code, in the rest of ``drain_timeout``.

    Raises `ServeError` and `LoadError` as `serve` does.
    """
    with detached_standard_streams():
        process = _start(config, watch_files)
        try:
            code = process.run()
        except BaseException:
            process.close()
            raise
    process.close_sockets()  # and not the handlers: another signal ends the process at once
    drain_logs()
    if code > 128:
        end_by_signal(code - 128)
    end_process(code, process.seconds_left(code), process.roots())


def _start(config: Config, watch_files: Callable[[list[str]], object] | None) -> _Process:
    settings = config.server
    try:
        configure_logging(
            settings.log_level,
            access_log=bool(settings.access_log),
            is_json=settings.has_json_logs,
            dictionary=config.logging,
        )
    except ConfigError as error:
        raise ConfigError(error.problems, file=str(config.file)) from error
    detach_streams()
    raise_file_limit()
    return _Process(config, watch_files)


class _Process:
    """The serving process: its sockets, apps and signals, and its relations with systemd and with a successor."""

    def __init__(self, config: Config, watch_files: Callable[[list[str]], object] | None) -> None:
        self._config = config
        self._watch_files = watch_files
        self._takeover = Takeover(successor_environ(), working_folder())
        self._manager = ServiceManager()
        self._inheritance = read_inheritance()
        self._control = Control(config, self._inheritance, self.state)
        self._control.handlers["status"] = lambda _, reply: reply.end(snapshot=self.snapshot())
        self._observing = Observing(config)
        self._workers = WorkerProcesses(watch_files=watch_files)
        self._status_page = StatusPage(config.status, self._inheritance)
        try:
            self._bound = bind_sockets(config.server, self._inheritance)
        except BaseException:
            self._status_page.close()
            raise
        self._signals = SignalReceiver(_SIGNALS, self._handle_signal)
        self._load_thread = LoadThread(self._signals.restore)
        mounts = [LoadedMount(mount) for mount in config.mounts]
        serves_early = not (
            config.server.strict or self._inheritance.old_process_serves or any(one.from_systemd for one in self._bound)
        )
        self._start = Start(self, self._inheritance, strict=config.server.strict, serves_early=serves_early)
        loader = Loader(self._load_thread, self._workers)
        self._reloader = TableReloader(config, mounts, loader, self._swap_table, self._end_reload)
        restarts = MountRestarts(self._reloader, self._workers, self._soon)
        self._control.handlers |= changing_commands(
            self.state, lambda reply: self._soon(lambda: self._reload(reply)), restarts
        )
        self._lock = threading.RLock()  # for the fields below
        self._server: Server | None = None
        self._table: tuple[Config, Sequence[LoadedMount]] = (config, mounts)  # the latest
        self._stop_signals = 0
        self._stop_number = 0  # the latest of them
        self._stopped_at = 0.0  # a `time.monotonic`, in seconds: the first stop signal, or the takeover
        self._is_announced = False
        self._deferred_signals: list[int] = []  # those that came before the announcement
        self._outcome: int | BaseException | None = None

    def close(self) -> None:
        """Close the sockets, and restore the signal handlers."""
        self.close_sockets()
        self._signals.close()

    def close_sockets(self) -> None:
        """Close the listening sockets and the control socket."""
        self._control.close()
        self._status_page.close()
        for bound in self._bound:
            bound.close()

    def run(self) -> int:
        """Load the apps and serve them; return the exit code."""
        self._signals.install()
        self._control.start()
        apps = counted(len(self._config.mounts), "app")
        logger.info("%s: loading %s", self._config.file, apps)  # the last line if an import hangs
        self._status_page.start(self)
        self._start.begin()
        if self._outcome is None:
            self._reloader.load(self._start)
        while True:
            try:
                self._load_thread.run()
                break
            except BaseException:  # the loop serves in another thread, and decides when the process ends
                logger.exception("unhandled exception in the main thread; continuing")
        self._workers.close(is_urgent=self._outcome != 0)  # after a drain that has cut requests off, time is over
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        assert self._outcome is not None
        return self._outcome

    @property
    def mounts(self) -> Sequence[LoadedMount]:
        """The mounts of the latest table."""
        return self._reloader.mounts

    def snapshot(self) -> dict[str, Any]:
        """Return what the process does (see `mountpoint.status.snapshot`). For any thread."""
        config, mounts = self._table
        return self._observing.snapshot(config, mounts, self._server, self.state())

    def state(self) -> str:
        """Return ``loading``, ``serving`` or ``draining``."""
        return DRAINING if self._stopped_at else SERVING if self._is_announced else LOADING

    def loop_age(self) -> float | None:
        """Return the seconds since the loop has turned, None before it runs."""
        return time.monotonic() - self._server.turned_at if self._server and self._server.turned_at else None

    def seconds_left(self, code: int) -> float:
        """Return how long threads and exit handlers of apps may still run, once the loop has ended with *code*.

        This is the rest of ``drain_timeout`` since the process began to stop. It is short if requests were cut off.
        """
        if self._stop_signals > 1:
            return 0.0
        rest = self._table[0].server.drain_timeout - (time.monotonic() - self._stopped_at)
        return MIN_SECONDS if code or not self._stopped_at else max(rest, MIN_SECONDS)

    def roots(self) -> list[tuple[str, Path]]:
        """Return the key and the root of each mount."""
        return [(mount.config.key, mount.config.root) for mount in self.mounts]

    # ------------------------------------------------------------------------------------------ the loop, in its thread

    def serve(self) -> None:
        """Listen, and serve in a thread. Raises `ServeError` if an address is taken."""
        with self._lock:
            if self._outcome is not None:
                return
            config, mounts = self._table
            router = build_router(config, build_table(mounts))
            limits = queue_limits(config, mounts)
            server = Server(router, limits, config.server, self._bound, observer=self._observing.counters)
            set_request_fields(server.request_fields)
            threading.Thread(target=self._run_loop, args=(server,), name="mountpoint-loop", daemon=True).start()
            self._server = server

    def _run_loop(self, server: Server) -> None:
        outcome: int | BaseException
        try:
            outcome = server.run(on_iteration=self._on_iteration, max_wait=self._manager.max_wait or MAX_WAIT)
        except BaseException as error:
            outcome = error
        self.end(outcome)

    def end(self, outcome: int | BaseException) -> None:
        """Make `run` return or raise *outcome*. If the main thread is stuck in a load, end the process."""
        with self._lock:
            if self._outcome is not None:
                return
            if outcome == 0 and not self._is_announced and self._stop_signals:
                outcome = 128 + self._stop_number
            self._outcome = outcome
        load = self._load_thread.current
        place = place_in(dict(self.roots()).get(load.key, Path()), load.thread) if load else ""
        if not self._load_thread.stop():
            if isinstance(outcome, BaseException):
                logger.error("%s", outcome)
            description = f"the load of {load.key}, at {place}" if load else ""
            end_now(outcome if isinstance(outcome, int) else 1, description)

    def _soon(self, callback: Callable[[], object]) -> None:
        """Call *callback* in the loop, or here if the process does not serve yet."""
        with self._lock:
            server = self._server
        if server is None:
            callback()
        else:
            server.call_soon_threadsafe(callback)

    def _on_iteration(self) -> None:
        self._manager.ping()
        self._reloader.start_pending()
        self._takeover.start_pending()

    # -------------------------------------------------------------------------------- signals, in the receiver's thread

    def _handle_signal(self, number: int) -> None:
        name = signal.Signals(number).name
        if name in _STOP_SIGNALS:
            self._stop(number)
        elif name == "SIGUSR1":
            self._log_work()
        elif name == "SIGHUP":
            self._soon(self._reload)
        else:
            with self._lock:
                if not self._is_announced:
                    if number not in self._deferred_signals:
                        self._deferred_signals.append(number)
                    return
            self._soon(self._start_takeover)

    def _stop(self, number: int) -> None:
        with self._lock:
            self._stop_signals += 1
            count, server = self._stop_signals, self._server
            self._stop_number = number
            self._stopped_at = self._stopped_at or time.monotonic()
        if count > 1:
            end_after(_STOP_SECONDS)
        self._takeover.stop()
        self._control.drain()
        if not self._takeover.is_complete and self._is_announced:  # else the service continues in another process
            self._manager.report_stopping()
        if server is None:
            self.end(0)
        else:
            server.stop()

    def _log_work(self) -> None:
        load = self._load_thread.current
        if load is not None and load.thread is not None:
            logger.info("loading %s, at:\n%s", load.key, stack_of(load.thread))
        if self._server is not None:
            self._soon(self._server.log_in_flight)

    def _reload(self, reply: Reply | None = None) -> None:
        self._manager.report_reloading()
        self._reloader.start(reply)

    def _start_takeover(self) -> None:
        if self._watch_files:
            logger.warning("SIGUSR2 is ignored under --reload, which starts new processes by itself")
            return
        working = [mount.config.key for mount in self.mounts if mount.app]
        self._takeover.start(
            self._bound,
            self._status_page.bound,
            working,
            lambda pid: self._soon(lambda: self._complete_takeover(pid)),
        )

    # ------------------------------------------------------------------------------------------ start, reload, takeover

    def announce(self) -> None:
        assert self._server is not None
        mounts = self.mounts
        if self._watch_files:
            self._watch_files([file for mount in mounts if mount.error for file in mount.error.files])
        with self._lock:
            self._is_announced = True
            deferred, self._deferred_signals = self._deferred_signals, []
        logger.info("%s", announcement(self._config, mounts, self._server.urls()))
        self._control.announce()
        self._inheritance.notify_ready()
        for number in deferred:
            self._handle_signal(number)

    def notify_ready(self) -> None:
        self._manager.report_ready(self.mounts)

    def _swap_table(self, config: Config, mounts: Sequence[LoadedMount]) -> None:
        """Serve a new table, from the next iteration of the loop on."""
        detach_streams()
        with self._lock:
            self._table = config, mounts
            self._observing.follow(config)
            server = self._server
            if server is None:
                return
            router, limits = build_router(config, build_table(mounts)), queue_limits(config, mounts)
            server.call_soon_threadsafe(lambda: server.replace(router, limits, config.server))

    def _end_reload(self, outcome: Outcome) -> None:
        unused = self._workers.unused_by(lambda: [mount.app for mount in self.mounts])

        def report() -> None:
            unused.close()
            logger.info("reload ended: %s", outcome.text)
            self._observing.reload_ended(outcome)
            self._manager.report_reloaded(outcome.text)
            outcome.reply()

        self._soon(report)  # after the callback of `_swap_table`

    def _complete_takeover(self, pid: int) -> None:
        assert self._server is not None
        if not self._takeover.can_complete(pid):
            return
        if not self._manager.report_successor(pid):
            self._takeover.abort("systemd could not be notified")
        else:
            self._takeover.complete()
            self._status_page.hand_over()
            logger.info("process %d serves; this one ends", pid)
            self._control.hand_over(pid)
            self._stopped_at = time.monotonic()
            self._server.drain_and_keep_sockets()
