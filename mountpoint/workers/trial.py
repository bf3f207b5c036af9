"""Load every app of a table once, each in the process that it will run in, for a command that examines the table."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..config.reader import Config, MountConfig
from ..loading.load_thread import LoadThread
from ..loading.loaded_mount import LoadedMount
from ..loading.loader import load_mounts
from .processes import WorkerProcesses


@contextmanager
def loaded_on_trial(
    config: Config, thread: LoadThread | None = None, timeout: float | None = None
) -> Iterator[Sequence[LoadedMount]]:
    """Load every app of *config* and yield the mounts. Processes of their own end with the context.

    *thread* and *timeout*, in seconds, are those of `load_mounts`. Each mount with processes has only one, which is not
    restarted. Its output is in the log.
    """
    mounts = tuple(_with_one_worker(mount) for mount in config.mounts)
    processes = WorkerProcesses(is_trial=True)
    try:
        yield load_mounts(dataclasses.replace(config, mounts=mounts), thread, timeout, processes)
    finally:
        processes.close()


def _with_one_worker(mount: MountConfig) -> MountConfig:
    if mount.own is None:
        return mount
    return dataclasses.replace(mount, own=dataclasses.replace(mount.own, workers=1))
