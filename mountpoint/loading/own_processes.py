"""The part of `mountpoint.workers` that the loader uses, which may not import that room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ..config.reader import MountConfig
from ..errors import LoadError
from .app_facts import AppFacts

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication


class OwnProcesses(Protocol):
    """Starts mounts with processes of their own, as `mountpoint.workers.processes.WorkerProcesses` does."""

    def start(self, mount: MountConfig) -> WSGIApplication:
        """Start the processes of *mount* and return its app at once. Raises `LoadError`."""

    def wait(self, app: WSGIApplication, seconds: float) -> bool:
        """Wait up to *seconds*; return whether the first process of *app* is ready, or has failed to start."""

    def facts(self, app: WSGIApplication) -> AppFacts | None:
        """Return the facts about *app* that its first process has found, None before that."""

    def error(self, app: WSGIApplication) -> LoadError | None:
        """Return why the processes of *app* do not start, None if one was ready."""
