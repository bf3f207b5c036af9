"""Serve a `Config`: bind the sockets, load the apps, handle signals, run the loop, and end the process.

SIGTERM, SIGINT   drain; a second one ends the drain at once, or the process if the loop does not react
SIGHUP            read the table again (`mountpoint.lifecycle.reload`)
SIGUSR1           log the requests in flight (`mountpoint.server.slow_requests`)
SIGUSR2           start a process that takes over (`mountpoint.lifecycle.takeover`)
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from ..config.reader import Config
from ..config.validators import hard_file_limit
from ..errors import ConfigError, LoadError, ServeError, counted
from ..loading.loader import LoadedMount, Loader, build_router, build_table, report_broken
from ..loading.log_stream import detach_streams, drain_logs
from ..loading.logs import configure_logging
from ..server.fair_queue import QueueLimits
from ..server.loop import MAX_WAIT, Server
from ..server.sockets import BoundSocket, bind, wrap_systemd_sockets
from ..workers.processes import WorkerProcesses
from .inheritance import Inheritance, read_inheritance
from .reload import TableReloader
from .systemd import Notifier, inherited_sockets, reloading_lines, successor_environ, watchdog_interval
from .takeover import Takeover

_STOP_SIGNALS = ("SIGTERM", "SIGINT", "SIGBREAK")
_OTHER_SIGNALS = ("SIGHUP", "SIGUSR1", "SIGUSR2")
_STOP_SECONDS = 0.5  # for which the loop may end the process in order after the second signal

logger = logging.getLogger("mountpoint")


def serve(config: Config, *, watch_files: Callable[[list[str]], object] | None = None) -> int:
    """Load the apps of *config* and serve them until a signal; return the exit code.

    The code is 0 if every request was finished, and 1 if one was cut off. Raises `ServeError` if the server cannot
    listen on an address, and `LoadError` if an app fails to load under ``strict``. Off the main thread no signal is
    handled. *watch_files* is called with the files whose change could repair a broken mount.
    """
    settings = config.server
    try:
        configure_logging(settings.log_level, access_log=settings.access_log, dictionary=config.logging)
    except ConfigError as error:
        raise ConfigError(error.problems, file=str(config.file)) from error
    detach_streams()
    raise_file_limit()
    process = _Process(config, watch_files)
    try:
        return process.run()
    finally:
        process.close()
        drain_logs()


class _Process:
    """The serving process: its sockets, apps and signals, and its relations with systemd and with a successor."""

    def __init__(self, config: Config, watch_files: Callable[[list[str]], object] | None) -> None:
        self._config = config
        self._watch_files = watch_files
        self._takeover = Takeover(successor_environ(), _working_folder())
        self._notifier = Notifier()
        self._ping_interval = watchdog_interval()
        self._next_ping = 0.0  # a `time.monotonic`, in seconds
        self._inheritance = read_inheritance()
        self._workers = WorkerProcesses()
        self._bound = self._bind(self._inheritance)
        self._previous_handlers: dict[int, Any] = {}  # by signal number
        self._stop_signals = 0
        self._deferred_signals: list[int] = []  # those that came before the loop ran

    def _bind(self, inheritance: Inheritance) -> list[BoundSocket]:
        sockets = inherited_sockets()
        if inheritance.from_systemd:
            sockets = [sock for group in inheritance.sockets.values() for sock in group]
        if sockets:
            logger.info("listening on the sockets from systemd; listen in the file and --listen are ignored")
            bound = wrap_systemd_sockets(sockets)
            if len({one.address.unix is None for one in bound}) > 1:
                raise ServeError(
                    "expected only TCP or only unix sockets from systemd, found both; write a .socket unit for each"
                )
            return bound
        settings = self._config.server
        adjustments = settings.adjustments
        return bind(
            settings.listen,
            ipv4=bool(adjustments.get("ipv4", True)),
            ipv6=bool(adjustments.get("ipv6", True)),
            permissions=settings.unix_socket_perms,
            inherited=inheritance.sockets,
        )

    def close(self) -> None:
        """End the workers, close the sockets, and restore the signal handlers."""
        self._workers.close()
        for bound in self._bound:
            bound.close()
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)

    def run(self) -> int:
        """Load the apps and serve them; return the exit code."""
        config = self._config
        self._install_handlers(_OTHER_SIGNALS, self._defer_signal)
        apps = "1 app" if len(config.mounts) == 1 else f"{len(config.mounts)} apps"
        logger.info("%s: loading %s", config.file, apps)  # the last line if an import hangs
        loader = Loader(self._workers)
        # A successor serves when its workers do: until then the old process serves all mounts.
        waits = config.server.strict or self._inheritance.old_process_serves
        mounts = loader.load(config, waits=waits)
        detach_streams()  # of the loggers that apps have configured
        if self._watch_files:
            self._watch_files([file for mount in mounts if mount.error for file in mount.error.files])
        report_broken(mounts, strict=config.server.strict)
        self._require_inherited_mounts(mounts)
        server = Server(build_router(config, build_table(mounts)), queue_limits(config), config.server, self._bound)
        self._server = server
        self._reloader = TableReloader(config, mounts, loader, self._swap_table, self._end_reload)
        # After the apps have loaded: they may have installed handlers of their own.
        self._install_handlers(_STOP_SIGNALS, lambda *_: self._stop())
        self._install_handlers(_OTHER_SIGNALS, lambda number, _: self._schedule_signal(number))
        for number in self._deferred_signals:
            self._schedule_signal(number)
        # Half of the interval: an iteration may start just before a ping is due, and systemd allows no delay.
        max_wait = self._ping_interval / 2 if self._ping_interval else MAX_WAIT
        return server.run(self._announce, self._on_iteration, max_wait)

    # -------------------------------------------------------------------------------------------------------- signals

    def _install_handlers(self, names: Sequence[str], handler: Callable[[int, FrameType | None], object]) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (getattr(signal, name, None) for name in names):
            if number is not None:
                previous = signal.signal(number, handler)
                self._previous_handlers.setdefault(number, previous)

    def _defer_signal(self, number: int, frame: FrameType | None) -> None:
        """Keep a signal until the loop runs: its default action would end the process. SIGUSR1 logs the stack now."""
        if number == getattr(signal, "SIGUSR1", None):
            logger.info("loading, at:\n%s", "".join(traceback.format_stack(frame)).rstrip())
        elif number not in self._deferred_signals:
            self._deferred_signals.append(number)

    def _schedule_signal(self, number: int) -> None:
        self._server.call_soon_threadsafe(lambda: self._handle_signal(number))

    def _stop(self) -> None:
        self._stop_signals += 1
        if self._stop_signals > 1:
            _end_after(_STOP_SECONDS)
        self._takeover.stop()
        if not self._takeover.is_complete:  # else the service continues in another process
            self._notifier.notify("STOPPING=1")
        self._server.stop()

    def _handle_signal(self, number: int) -> None:
        name = signal.Signals(number).name
        if name == "SIGUSR1":
            self._server.log_in_flight()
        elif name == "SIGHUP":
            self._notifier.notify(*reloading_lines())
            self._reloader.start()
        elif self._watch_files:
            logger.warning("SIGUSR2 is ignored under --reload, which starts new processes by itself")
        else:
            working = [mount.config.key for mount in self._reloader.mounts if mount.app]
            self._takeover.start(
                self._bound,
                working,
                lambda pid: self._server.call_soon_threadsafe(lambda: self._complete_takeover(pid)),
            )

    # ------------------------------------------------------------------------------------------ start, reload, takeover

    def _announce(self) -> None:
        logger.info("%s", announcement(self._config, self._reloader.mounts, self._server.urls()))
        self._notifier.notify("READY=1", f"STATUS={len(self._reloader.mounts)} mounts")
        self._inheritance.notify_ready()

    def _on_iteration(self) -> None:
        self._ping_watchdog()
        self._reloader.start_pending()
        self._takeover.start_pending()

    def _ping_watchdog(self) -> None:
        """Report to systemd that the loop runs. Without these reports systemd ends the process."""
        if self._ping_interval and time.monotonic() >= self._next_ping:
            self._next_ping = time.monotonic() + self._ping_interval
            self._notifier.notify("WATCHDOG=1")

    def _swap_table(self, config: Config, mounts: Sequence[LoadedMount]) -> None:
        """Serve a new table, from the next iteration of the loop on."""
        detach_streams()
        router, limits = build_router(config, build_table(mounts)), queue_limits(config)

        def swap() -> None:
            self._server.replace(router, limits, config.server)
            self._workers.retain(mount.app for mount in mounts)

        self._server.call_soon_threadsafe(swap)

    def _end_reload(self, outcome: str) -> None:
        def report() -> None:
            logger.info("reload ended: %s", outcome)
            self._notifier.notify("READY=1", f"STATUS={outcome}")

        self._server.call_soon_threadsafe(report)  # after the callback of `_swap_table`

    def _complete_takeover(self, pid: int) -> None:
        if not self._takeover.can_complete(pid):
            return
        # systemd ends the service with its main process, so it must know the new one before this one exits. Both lines
        # go in one message, so that the watchdog's time starts now.
        is_told = self._notifier.notify(f"MAINPID={pid}", "WATCHDOG=1")
        if self._notifier.is_enabled and not is_told:
            self._takeover.abort("systemd could not be notified")
        else:
            self._takeover.complete()
            logger.info("process %d serves; this one ends", pid)
            self._server.drain_and_keep_sockets()

    def _require_inherited_mounts(self, mounts: Sequence[LoadedMount]) -> None:
        """Raise `LoadError` if a mount is broken here that works in the process that this one is to replace.

        If that process has ended, nothing would serve the other mounts without this one.
        """
        working_mounts = self._inheritance.working_mounts
        lost = [mount.config.key for mount in mounts if mount.error and mount.config.key in working_mounts]
        if lost and self._inheritance.old_process_serves:
            raise LoadError(f"not taking over: these mounts work in the old process and fail here: {', '.join(lost)}")


def queue_limits(config: Config) -> Mapping[str, QueueLimits]:
    """Return the limits of each mount's queue, by the mount's key."""
    return {mount.key: QueueLimits(mount.limit, mount.queue, mount.slow_after) for mount in config.mounts}


def _working_folder() -> Path | None:
    try:
        return Path.cwd()
    except OSError:  # the folder has been deleted
        return None


def end_process(code: int, timeout: float) -> NoReturn:
    """End the process with *code*, or with 1 if threads of apps still run after *timeout* seconds or at an interrupt.

    Python waits at exit for every thread that is not a daemon, so one that never ends would keep a stopped server
    alive. If *code* says that a request was cut off already, threads are not waited for.
    """
    deadline = time.monotonic() + (0 if code else timeout)
    current = threading.current_thread()
    running = [thread for thread in threading.enumerate() if not thread.daemon and thread is not current]
    with suppress(KeyboardInterrupt):
        if running and not code:
            logger.info("waiting up to %g s for threads that apps have started", timeout)
        # Not join(): from Python 3.13 on it cannot be interrupted, and Python 3.11 marks a thread as ended if it was.
        while running and time.monotonic() < deadline:
            time.sleep(0.02)
            running = [thread for thread in running if thread.is_alive()]
    if running:
        logger.warning("cut off: threads that apps have started: %s", ", ".join(thread.name for thread in running))
        logging.shutdown()
        drain_logs()
        os._exit(code or 1)
    sys.exit(code)


def _end_after(seconds: float) -> None:
    """End the process with 1 in *seconds*, whatever the other threads wait for."""

    def end() -> None:
        time.sleep(seconds)
        os._exit(1)

    try:
        threading.Thread(target=end, name="mountpoint-end", daemon=True).start()
    except RuntimeError:  # no thread can be started
        os._exit(1)


def raise_file_limit() -> None:
    """Raise the soft limit of open files to the hard limit. A connection takes up to three descriptors."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = hard_file_limit()
    if soft < limit:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def announcement(config: Config, mounts: Sequence[LoadedMount], urls: Sequence[str]) -> str:
    """Return the text that is logged at start-up: the mount table and the addresses of the server."""
    rows = [(mount.config.key, mount.config.app.text, mount.state) for mount in mounts]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [f"{config.file}: {counted(len(rows), 'mount')}"]
    lines += [f"  {key:<{widths[0]}}  {app:<{widths[1]}}  {state}" for key, app, state in rows]
    lines += [f"serving on {url}" for url in urls]
    return "\n".join(lines)
