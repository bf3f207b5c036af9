"""Report the state of the server to its service manager, which is systemd or nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from ..loading.loaded_mount import LoadedMount
from .systemd import Notifier, reloading_lines, watchdog_interval


class ServiceManager:
    """The reports of one server, from any thread. Without a service manager they do nothing."""

    def __init__(self) -> None:
        self._notifier = Notifier()
        self._ping_interval = watchdog_interval()
        self._next_ping = 0.0  # a `time.monotonic`, in seconds
        self._lock = threading.Lock()  # a manager that has read READY=1 may ask for a reload at once
        self._is_ready = False

    @property
    def max_wait(self) -> float | None:
        """The seconds between two calls of `ping`, at most. None without a watchdog.

        This is half of the interval: an iteration may start just before a ping is due, and systemd allows no delay.
        """
        return self._ping_interval / 2 if self._ping_interval else None

    def ping(self) -> None:
        """Report that the loop runs, if that is due. Without these reports systemd ends the process."""
        if self._ping_interval and self._is_ready and time.monotonic() >= self._next_ping:
            self._next_ping = time.monotonic() + self._ping_interval
            self._notifier.notify("WATCHDOG=1")

    def report_ready(self, mounts: Sequence[LoadedMount]) -> None:
        """Report that the server has started, and which of *mounts* are still loading."""
        loading = [mount.config.key for mount in mounts if not mount.is_loaded]
        status = f"{len(mounts)} mounts" + (f", still loading: {', '.join(loading)}" if loading else "")
        with self._lock:
            self._notifier.notify("READY=1", f"STATUS={status}")
            self._is_ready = True

    def report_reloading(self) -> None:
        """Report that a reload begins, unless the server is still starting."""
        with self._lock:
            if self._is_ready:
                self._notifier.notify(*reloading_lines())

    def report_reloaded(self, outcome: str) -> None:
        """Report the *outcome* of a reload."""
        self._notifier.notify("READY=1", f"STATUS={outcome}")

    def report_stopping(self) -> None:
        """Report that the server stops."""
        self._notifier.notify("STOPPING=1")

    def report_successor(self, pid: int) -> bool:
        """Report the new main process; return whether this one may end.

        systemd ends the service with its main process, so it must know the new one before this one exits. Both lines go
        in one message, so that the watchdog's time starts now.
        """
        return self._notifier.notify(f"MAINPID={pid}", "WATCHDOG=1") or not self._notifier.is_enabled
