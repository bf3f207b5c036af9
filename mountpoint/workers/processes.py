"""The workers of all mounts, or their refusal on a system that has none.

Workers need unix sockets that carry descriptors, fork and signals. The other modules of this room are imported only
where the system has them.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from collections.abc import Iterable, Mapping
    from typing import NoReturn

    from ..config.reader import MountConfig
    from ..errors import LoadError
    from .report import WorkersReport

    class WorkerProcesses:
        """Refuses every mount that asks for processes of its own."""

        def __init__(self, environ: Mapping[str, str] | None = None, *, is_trial: bool = False) -> None:
            pass

        def start(self, mount: MountConfig) -> NoReturn:
            raise LoadError(
                'process = "own" needs unix sockets and signals, which Windows lacks; remove it, or serve the table on '
                "another system"
            )

        def wait(self, app: object, seconds: float) -> NoReturn:
            raise NotImplementedError

        def facts(self, app: object) -> NoReturn:
            raise NotImplementedError

        def error(self, app: object) -> NoReturn:
            raise NotImplementedError

        def unused_by(self, apps: Iterable[object]) -> WorkerProcesses:
            return self

        def close(self, *, is_urgent: bool = False) -> None:
            pass

    class AppFailed(Exception):
        """Never raised here."""

    def worker_stack(thread: int) -> str | None:
        return None

    def report_on_workers(app: object) -> WorkersReport | None:
        return None
else:
    from .connection import AppFailed
    from .supervisor import WorkerProcesses, report_on_workers, worker_stack

__all__ = ["AppFailed", "WorkerProcesses", "report_on_workers", "worker_stack"]
