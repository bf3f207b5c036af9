"""Load every app of a table once, each in the process that it will run in, for a command that examines the table."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..config.reader import Config, MountConfig
from ..loading.loader import LoadedMount, Loader
from .processes import WorkerProcesses


@contextmanager
def loaded_on_trial(config: Config) -> Iterator[Sequence[LoadedMount]]:
    """Load every app of *config* and yield the mounts. Processes of their own end with the context.

    Each of those mounts has one process, which is not restarted. Its output is in the log.
    """
    mounts = tuple(_with_one_worker(mount) for mount in config.mounts)
    processes = WorkerProcesses(is_trial=True)
    try:
        yield Loader(processes).load(dataclasses.replace(config, mounts=mounts), waits=True)
    finally:
        processes.close()


def _with_one_worker(mount: MountConfig) -> MountConfig:
    if mount.own is None:
        return mount
    return dataclasses.replace(mount, own=dataclasses.replace(mount.own, workers=1))
