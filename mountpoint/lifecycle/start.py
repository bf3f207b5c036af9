"""The start of a server: when it begins to serve, and when it says so.

The server serves at once. Requests wait until their mount is loaded, and get 503 if its load is slow. In three cases
the server serves only once every app is loaded:

- Under ``strict``, because a broken app ends the start.
- During a takeover, because the old process still serves. A 503 would be a lost request.
- On sockets that systemd holds, because clients wait there, as during a restart.

In the last two cases it does not wait for slow loads, except that a takeover waits for each mount that works in the old
process. The log announces the start when all mounts but the slow ones are loaded. systemd takes the unit as started
when all loads have ended, or when one has lasted for `READY_SECONDS`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

from ..config.reader import Config, MountConfig
from ..errors import LoadError, counted
from ..loading.loaded_mount import LoadedMount, require_none_broken
from ..workers.processes import prepare
from .inheritance import Inheritance
from .reload import StartObserver

READY_SECONDS = 30.0  # of one load, after which systemd takes the unit as started

logger = logging.getLogger("mountpoint")


class Starting(Protocol):
    """The part of the serving process that a `Start` uses. Most methods are called once."""

    @property
    def mounts(self) -> Sequence[LoadedMount]: ...
    def serve(self) -> None: ...
    def announce(self) -> None: ...
    def notify_ready(self) -> None: ...
    def end(self, outcome: BaseException) -> None: ...


class Start(StartObserver):
    """Decides when *process* serves, announces that, and is ready. *serves_early* is false in the three cases above."""

    def __init__(self, process: Starting, inheritance: Inheritance, *, strict: bool, serves_early: bool) -> None:
        self._process = process
        self._inheritance = inheritance
        self._strict = strict
        self._serves_early = serves_early
        self.waits_for_workers = not serves_early
        self._waits_for_slow_only = False
        self._serves = self._is_announced = self._is_ready = self._has_failed = False

    def begin(self) -> None:
        """Serve at once, if nothing speaks against it."""
        if self._serves_early:
            self._begin_serving()

    def during(self, mount: MountConfig, seconds: float, thread: int | None) -> None:
        self._try_to_serve()
        if self._is_announced and seconds >= READY_SECONDS:
            self._notify_once()

    def only_slow_left(self) -> None:
        self._waits_for_slow_only = True
        self._try_to_serve()

    def ended(self, mounts: Sequence[LoadedMount]) -> None:
        if self._serves:
            self._announce_once()
            self._notify_once()
            return
        try:
            self._require_no_lost_mounts(mounts)
            if self._strict:
                require_none_broken(mounts)
        except LoadError as error:
            self.failed(error)
            return
        self._begin_serving()
        self._announce_once()
        self._notify_once()

    def failed(self, error: BaseException) -> None:
        self._has_failed = True
        self._process.end(error)

    def _try_to_serve(self) -> None:
        """Serve and announce it although some loads have not ended, if that is right by now."""
        if not self._serves and self._may_serve():
            self._begin_serving()
        if self._serves and self._waits_for_slow_only:
            self._announce_once()

    def _may_serve(self) -> bool:
        if self._strict:
            return False
        if self._inheritance.old_pid is None:
            return self._waits_for_slow_only
        if not self._inheritance.old_process_serves:
            return True
        working_mounts = self._inheritance.working_mounts
        return self._waits_for_slow_only and all(
            mount.app for mount in self._process.mounts if mount.config.key in working_mounts
        )

    def _require_no_lost_mounts(self, mounts: Sequence[LoadedMount]) -> None:
        """Raise `LoadError` if a mount is broken here that works in the process that this one is to replace.

        If that process has ended, nothing would serve the other mounts without this one.
        """
        working_mounts = self._inheritance.working_mounts
        lost = [mount.config.key for mount in mounts if mount.error and mount.config.key in working_mounts]
        if lost and self._inheritance.old_process_serves:
            raise LoadError(f"not taking over: these mounts work in the old process and fail here: {', '.join(lost)}")

    def _begin_serving(self) -> None:
        try:
            self._process.serve()
        except BaseException as error:  # the system has no thread left, or the address is taken
            self.failed(error)
            return
        self._serves = True

    def _announce_once(self) -> None:
        if not self._is_announced and not self._has_failed:
            self._is_announced = True
            self._process.announce()

    def _notify_once(self) -> None:
        if not self._is_ready and not self._has_failed:
            self._is_ready = True
            self._process.notify_ready()
            prepare()


def announcement(config: Config, mounts: Sequence[LoadedMount], urls: Sequence[str]) -> str:
    """Return the text that is logged at start-up: the mount table and the addresses of the server."""
    rows = [(mount.config.key, mount.config.app.text, mount.state) for mount in mounts]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [f"{config.file}: {counted(len(rows), 'mount')}"]
    lines += [f"  {key:<{widths[0]}}  {app:<{widths[1]}}  {state}" for key, app, state in rows]
    lines += [f"serving on {url}" for url in urls]
    return "\n".join(lines)
