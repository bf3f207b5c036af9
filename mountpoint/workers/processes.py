"""The workers of all mounts: the other modules of this room are imported when the first mount needs them.

A start without such a mount saves their time. Workers need unix sockets that carry descriptors, fork and signals, so
Windows refuses them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import LoadError

if TYPE_CHECKING:
    from ..config.reader import MountConfig
    from ..loading.app_facts import AppFacts
    from .report import WorkersReport


class UnusedProcesses(Protocol):
    """Processes that no mount of the table uses any longer."""

    def close(self) -> None:
        """End them. Their requests in flight finish."""


class Replacement(Protocol):
    """New workers for a mount whose workers serve. ``app`` forwards to them."""

    app: Any

    def have_all_started(self) -> bool:
        """Return whether every worker is ready. Raises `LoadError` if one did not become ready, or has died."""

    def end_trial(self) -> None:
        """Restart workers that end, and log their lives, from now on: the app is served."""

    def abandon(self) -> None:
        """End the workers at once."""


class WorkerProcesses:
    """The workers of all mounts of a server. Make it before the first app is loaded: it keeps the environment.

    With *is_trial* a worker that ends is not restarted, and the log has only the lines that workers write.
    *watch_files* is called with the files that the workers have imported, and those whose change could repair one.
    """

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        *,
        is_trial: bool = False,
        watch_files: Callable[[list[str]], object] | None = None,
    ) -> None:
        self._watch_files = watch_files
        self._environ = dict(os.environ if environ is None else environ)
        self._is_trial = is_trial
        self._supervisor: Any = None  # a `mountpoint.workers.supervisor.Supervisor`, once a mount has workers

    def start(self, mount: MountConfig) -> Any:
        """Start the workers of *mount* and return its app at once. Raises `LoadError`."""
        return self._started_supervisor().start(mount)

    def start_replacement(self, mount: MountConfig) -> Replacement:
        """Start workers of *mount* beside those that serve it, and return at once. Raises `LoadError`."""
        replacement: Replacement = self._started_supervisor().start_replacement(mount)
        return replacement

    def _started_supervisor(self) -> Any:
        if sys.platform != "win32":
            if self._supervisor is None:
                from .supervisor import Supervisor

                self._supervisor = Supervisor(self._environ, is_trial=self._is_trial, watch_files=self._watch_files)
            return self._supervisor
        raise LoadError(
            'process = "own" needs unix sockets and signals, which Windows lacks; remove it, or serve the table on '
            "another system"
        )

    def wait(self, app: object, seconds: float) -> bool:
        """Wait up to *seconds*; return whether the first worker of *app* is ready, or has failed to start."""
        return bool(self._supervisor.wait(app, seconds))

    def error(self, app: object) -> LoadError | None:
        """Return why the workers of *app* do not start, None if one was ready."""
        error: LoadError | None = self._supervisor.error(app)
        return error

    def facts(self, app: object) -> AppFacts | None:
        """Return the facts about *app* that a worker has found, None before one is ready."""
        facts: AppFacts | None = self._supervisor.facts(app)
        return facts

    def retire(self, app: object) -> None:
        """End the processes of *app*, which no mount uses any longer. Their requests in flight finish."""
        self._supervisor.retire(app)

    def unused_by(self, apps: Callable[[], Iterable[object]]) -> UnusedProcesses:
        """Return the processes that exist now, except replacements and those that one of *apps()* forwards to."""
        unused: UnusedProcesses = self._supervisor.unused_by(apps) if self._supervisor else _NoProcesses()
        return unused

    def close(self, *, is_urgent: bool = False) -> None:
        """End all workers, each within its ``grace`` or at once if it *is_urgent*, and wait for that."""
        if self._supervisor:
            self._supervisor.close(is_urgent=is_urgent)


class _NoProcesses:
    def close(self) -> None:
        pass


def worker_stack(thread: int) -> str | None:
    """Return the stack in the worker that *thread* of the server waits for, None if it waits for none."""
    found = _of_supervisor("worker_stack")
    stack: str | None = found(thread) if found else None
    return stack


def report_on_workers(app: object) -> WorkersReport | None:
    """Return the state of the workers of *app*, None if it runs in this process."""
    found = _of_supervisor("report_on_workers")
    report: WorkersReport | None = found(app) if found else None
    return report


def _of_supervisor(name: str) -> Any:
    """Return a function of the supervisor's module, None if no mount has needed that yet.

    While another thread imports the module, it is there without its functions. Then no worker has started either.
    """
    return getattr(sys.modules.get(f"{__package__}.supervisor"), name, None)


def prepare() -> None:
    """Read the modules that a later table may need: the files may be those of another release by then.

    Modules that cannot be read now, as without a free descriptor, are read when a mount needs them.
    """
    if sys.platform != "win32":
        with suppress(OSError, ImportError):
            import_module(f"{__package__}.supervisor")
            import_module(f"{__package__}.launch").modules()
