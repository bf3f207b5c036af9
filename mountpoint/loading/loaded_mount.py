"""A mount with its app, or with the reason why it has none."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..config.reader import MountConfig
from ..errors import LoadError
from .app_facts import AppFacts, facts_of
from .own_prefix import Prefixes

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

logger = logging.getLogger("mountpoint")


@dataclass(frozen=True, slots=True)
class LoadedMount:
    """A mount of the file. After its load it has either an app or an error, and before that neither.

    ``is_slow`` says that its load takes so long that others no longer wait for it. *warnings* are about state that it
    shares with other mounts, and *notes* about changes of its load that were handled. *unread* are the names in its
    ``env`` that no code has read during the load.
    """

    config: MountConfig
    app: WSGIApplication | None = None
    error: LoadError | None = None
    is_slow: bool = False
    needs_main_thread: bool = False  # whether it has failed in another thread, where signals and event loops fail
    warnings: Sequence[str] = ()
    notes: Sequence[str] = ()
    unread: Collection[str] = ()
    modules: Collection[str] = ()  # the top-level names of those that the apps of its root use in this process
    load_seconds: float | None = None  # None without a load in this process
    facts: AppFacts | None = None  # of an app in a process of its own, once that is ready

    @property
    def is_loaded(self) -> bool:
        """Whether its load has ended, with an app or with an error."""
        return self.app is not None or self.error is not None

    @property
    def state(self) -> str:
        """``ready``, ``loading``, ``starting`` for a process of its own, or ``broken: `` and the reason in one line."""
        if self.error:
            return f"broken: {self.error}"
        if not self.is_loaded:
            return "loading"
        return "starting" if self.config.own and self.facts is None else "ready"

    def examine(self) -> AppFacts:
        """Return the facts about the app, from its own process if it has one. Call it before the first request."""
        config = self.config
        return self.facts or facts_of(self.app, config.root, Prefixes(config.path, config.public))


def describe_broken(mount: LoadedMount) -> str:
    """Return the error of a broken *mount* for the log: one line, then the traceback of the app, if it raised."""
    assert mount.error is not None
    details = f"\n{mount.error.details.rstrip()}" if mount.error.details else ""
    return f"{mount.config.key} is broken: {mount.error}{details}"


def log_warnings(mounts: Iterable[LoadedMount]) -> None:
    """Log what *mounts* share with other mounts by mistake."""
    for mount in mounts:
        for warning in mount.warnings:
            logger.warning("%s: %s", mount.config.key, warning)


def report_broken(mounts: Sequence[LoadedMount], *, strict: bool) -> None:
    """Log the warnings of *mounts*, and each broken one with its traceback.

    With *strict*, raise `LoadError` if one is broken.
    """
    broken = [mount for mount in mounts if mount.error]
    for mount in broken:
        logger.error("%s", describe_broken(mount))
    log_warnings(mounts)
    if strict:
        require_none_broken(mounts)


def require_none_broken(mounts: Sequence[LoadedMount]) -> None:
    """Raise `LoadError` if one of *mounts* is broken, as ``strict`` asks."""
    broken = [mount.config.key for mount in mounts if mount.error]
    if broken:
        raise LoadError(
            f"not started because of strict: {len(broken)} of {len(mounts)} mounts failed to load: {', '.join(broken)}"
        )
