"""The limits of each mount's queue, from the table and the state of its loads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..config.reader import Config
from ..loading.loaded_mount import LoadedMount
from .fair_queue import QueueLimits


def queue_limits(config: Config, mounts: Sequence[LoadedMount]) -> Mapping[str, QueueLimits]:
    """Return the limits of each mount's queue, by the mount's key. Requests wait for a load that is not slow."""
    waiting = {mount.config.key for mount in mounts if not mount.is_loaded and not mount.is_slow}
    return {
        mount.key: QueueLimits(0 if mount.key in waiting else mount.limit, mount.queue, mount.slow_after)
        for mount in config.mounts
    }
