"""Serving a `Config`: sockets, apps, signals and the loop, put together, from the first line of the log to the last.

SIGTERM and SIGINT drain, a second one ends the process at once. SIGHUP reads the table again (`reload`), SIGUSR2
starts a process that takes over (`takeover`), SIGUSR1 logs the requests in flight (`server.slow_requests`).
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
from ..loading.logs import configure_logging
from ..server.fair_queue import QueueLimits
from ..server.loop import TURN, Server
from ..server.sockets import BoundSocket, bind, bound_by_systemd
from .reload import TableReloader
from .systemd import Notifier, inherited_sockets, reloading, successor_environ, watchdog_interval
from .takeover import Inheritance, Takeover, inheritance

_STOPS = ("SIGTERM", "SIGINT", "SIGBREAK")
_OTHERS = ("SIGHUP", "SIGUSR1", "SIGUSR2")

logger = logging.getLogger("mountpoint")


def serve(config: Config, *, watch: Callable[[list[str]], object] | None = None) -> int:
    """Load the apps of *config* and serve them until a signal; return the exit code.

    0 when everything in flight was finished, 1 when something was cut off. Raises `ServeError` if an address cannot be
    listened on, and `LoadError` if ``strict`` and an app fails to load. Runs on the main thread, or without signals.
    *watch* is called with the files whose change could mend a broken mount.
    """
    settings = config.server
    try:
        configure_logging(settings.log_level, access_log=settings.access_log, dictionary=config.logging)
    except ConfigError as error:
        raise ConfigError(error.problems, file=str(config.file)) from error
    raise_file_limit()
    process = _Process(config, watch)
    try:
        return process.run()
    finally:
        process.close()


class _Process:
    """What this process is, towards its user, its signals and systemd."""

    def __init__(self, config: Config, watch: Callable[[list[str]], object] | None) -> None:
        self._config = config
        self._watch = watch
        self._takeover = Takeover(successor_environ(), _working_folder())
        self._notifier = Notifier()
        self._ping_interval = watchdog_interval()
        self._next_ping = 0.0  # of `time.monotonic`
        self._inheritance = inheritance()
        self._bound = self._bind(self._inheritance)
        self._signals: dict[int, Any] = {}  # their handlers before
        self._deferred_signals: list[int] = []  # those that came before it served

    def _bind(self, inheritance: Inheritance) -> list[BoundSocket]:
        sockets = inherited_sockets()
        if inheritance.are_systemds:
            sockets = [sock for group in inheritance.sockets.values() for sock in group]
        if sockets:
            logger.info("listening on the sockets of systemd; listen, in the file or given, is not used")
            bound = bound_by_systemd(sockets)
            if len({one.address.unix is None for one in bound}) > 1:
                raise ServeError(
                    "expected all TCP or all unix sockets from systemd, found both; write one ListenStream= for each "
                    "kind, in units of their own"
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
        """Close the sockets, and put the signals back."""
        for one in self._bound:
            one.close()
        for number, handler in self._signals.items():
            signal.signal(number, handler)

    def run(self) -> int:
        """Load the apps and serve them; return the exit code."""
        config = self._config
        self._catch(_OTHERS, self._defer_signal)
        logger.info("%s: loading %d apps", config.file, len(config.mounts))  # one whose import hangs stops here
        loader = Loader()
        mounts = loader.load(config)
        if self._watch:
            self._watch([file for mount in mounts if mount.error for file in mount.error.files])
        report_broken(mounts, strict=config.server.strict)
        self._require_no_worse(mounts)
        server = Server(build_router(config, build_table(mounts)), queue_limits(config), config.server, self._bound)
        self._server = server
        self._reloader = TableReloader(config, mounts, loader, self._swap_table, self._reloaded)
        # After the last load: an app may have set handlers of its own.
        self._catch(_STOPS, lambda *_: self._stop())
        self._catch(_OTHERS, lambda number, _: self._signalled(number))
        for number in self._deferred_signals:
            self._signalled(number)
        # Twice as often as a beat is due: a turn may begin just before, and systemd does not wait.
        return server.run(self._announce, self._ping_watchdog, self._ping_interval / 2 if self._ping_interval else TURN)

    # -------------------------------------------------------------------------------------------------------- signals

    def _catch(self, names: Sequence[str], handler: Callable[[int, FrameType | None], object]) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (getattr(signal, name, None) for name in names):
            if number is not None:
                before = signal.signal(number, handler)
                self._signals.setdefault(number, before)

    def _defer_signal(self, number: int, frame: FrameType | None) -> None:
        """Keep a signal for later, which would end the process while it loads its apps; or say where it hangs."""
        if number == getattr(signal, "SIGUSR1", None):
            logger.info("loading, at:\n%s", "".join(traceback.format_stack(frame)).rstrip())
        elif number not in self._deferred_signals:
            self._deferred_signals.append(number)

    def _signalled(self, number: int) -> None:
        self._server.call_soon_threadsafe(lambda: self._handle_signal(number))

    def _stop(self) -> None:
        if self._takeover.cancel():  # else another process is the service by now
            self._notifier.notify("STOPPING=1")
        self._server.stop()

    def _handle_signal(self, number: int) -> None:
        name = signal.Signals(number).name
        if name == "SIGUSR1":
            self._server.log_in_flight()
        elif name == "SIGHUP":
            self._notifier.notify(*reloading())
            self._reloader.begin()
        elif self._watch:
            logger.warning("SIGUSR2 does nothing under --reload, which starts a new process by itself")
        else:
            working = [mount.config.key for mount in self._reloader.mounts if mount.app]
            self._takeover.begin(
                self._bound, working, lambda pid: self._server.call_soon_threadsafe(lambda: self._hand_over(pid))
            )

    # --------------------------------------------------------------------------------------------------- its own life

    def _announce(self) -> None:
        logger.info("%s", announcement(self._config, self._reloader.mounts, self._server.urls()))
        self._notifier.notify("READY=1", f"STATUS={len(self._reloader.mounts)} mounts")
        self._inheritance.tell_ready()

    def _ping_watchdog(self) -> None:
        """Tell systemd that the loop turns; it ends a process that does not."""
        if self._ping_interval and time.monotonic() >= self._next_ping:
            self._next_ping = time.monotonic() + self._ping_interval
            self._notifier.notify("WATCHDOG=1")

    def _swap_table(self, config: Config, mounts: Sequence[LoadedMount]) -> None:
        """Serve a new table, from the next turn of the loop on."""
        router, limits = build_router(config, build_table(mounts)), queue_limits(config)
        self._server.call_soon_threadsafe(lambda: self._server.replace(router, limits, config.server))

    def _reloaded(self, outcome: str) -> None:
        def tell() -> None:
            logger.info("reload ended: %s", outcome)
            self._notifier.notify("READY=1", f"STATUS={outcome}")

        self._server.call_soon_threadsafe(tell)  # behind what is to be served from now on

    def _hand_over(self, pid: int) -> None:
        if not self._takeover.stands():
            return
        # systemd ends the service with its main process: it has to know the new one before this one goes. Both in one
        # message, so that its watchdog waits from now on.
        told = self._notifier.notify(f"MAINPID={pid}", "WATCHDOG=1")
        if self._notifier.is_there and not told:
            self._takeover.give_up("systemd could not be told of it")
        else:
            self._takeover.complete()
            logger.info("process %d serves; this one ends", pid)
            self._server.hand_over()

    def _require_no_worse(self, mounts: Sequence[LoadedMount]) -> None:
        """Raise `LoadError` if a mount is broken here whose app works in the process that this one is to replace."""
        worse = [mount.config.key for mount in mounts if mount.error and mount.config.key in self._inheritance.working]
        if worse:
            raise LoadError(f"not taking over: what works in the process that serves fails here: {', '.join(worse)}")


def queue_limits(config: Config) -> Mapping[str, QueueLimits]:
    """Return the limits of each mount's queue, by the mount's key."""
    return {mount.key: QueueLimits(mount.limit, mount.queue, mount.slow_after) for mount in config.mounts}


def _working_folder() -> Path | None:
    try:
        return Path.cwd()
    except OSError:  # it has been deleted
        return None


def end_process(code: int, patience: float) -> NoReturn:
    """End the process with *code*, or with 1 if threads of apps still run *patience* seconds from now, or at a signal.

    Python waits at its end for every thread that is no daemon; one that never ends would keep a stopped server alive.
    Where something was cut off already, or at an interrupt, nothing is waited for.
    """
    deadline = time.monotonic() + (0 if code else patience)
    this = threading.current_thread()
    running = [thread for thread in threading.enumerate() if not thread.daemon and thread is not this]
    with suppress(KeyboardInterrupt):
        if running and not code:
            logger.info("waiting up to %g s for threads that apps have started", patience)
        # Not join(): of Python 3.13 it cannot be interrupted, and Python 3.11 takes an interrupted one for ended.
        while running and time.monotonic() < deadline:
            time.sleep(0.02)
            running = [thread for thread in running if thread.is_alive()]
    if running:
        logger.warning("cut off: threads that apps have started: %s", ", ".join(thread.name for thread in running))
        logging.shutdown()
        os._exit(code or 1)
    sys.exit(code)


def raise_file_limit() -> None:
    """Raise the soft limit of open files to the hard one: each connection takes up to three."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = hard_file_limit()
    if soft < limit:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def announcement(config: Config, mounts: Sequence[LoadedMount], urls: Sequence[str]) -> str:
    """Return what is said at start-up: the mount table, and where it is served."""
    rows = [(mount.config.key, mount.config.app.text, mount.state) for mount in mounts]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [f"{config.file}: {counted(len(rows), 'mount')}"]
    lines += [f"  {key:<{widths[0]}}  {app:<{widths[1]}}  {state}" for key, app, state in rows]
    lines += [f"serving on {url}" for url in urls]
    return "\n".join(lines)
