"""The counters of the process, and its snapshot for the status page and the commands."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, cast

from ..config.reader import Config
from ..loading.loaded_mount import LoadedMount
from ..server.loop import Server
from ..server.parser import Parser
from ..status.counters import Counters
from ..status.process import versions
from ..status.snapshot import RunningRequest, ServerFacts, make_snapshot
from .reload import Outcome


class Observing:
    """Counts what the process does from the first request on, and describes it. All methods are for any thread."""

    def __init__(self, config: Config) -> None:
        versions()  # read now: later the process may have no descriptor, and an upgrade may change the metadata
        self.counters = Counters()
        self._last_reload: tuple[float, Outcome] | None = None  # its end, from `time.monotonic`, in seconds
        self.follow(config)

    def follow(self, config: Config) -> None:
        """Count for the mounts of *config* from now on."""
        self.counters.configure(config.mounts)

    def reload_ended(self, outcome: Outcome) -> None:
        """Note the *outcome* of a reload that has just ended."""
        self._last_reload = time.monotonic(), outcome

    def snapshot(
        self, config: Config, mounts: Sequence[LoadedMount], server: Server | None, state: str
    ) -> dict[str, Any]:
        """Return the snapshot of a process that serves *mounts*, the table *config*, with *server*, if it listens."""
        now = time.monotonic()
        running: list[RunningRequest] = []
        for _, one in server.queues.running_requests() if server else ():
            request = cast(Parser, one.request)
            age = now - one.started_at
            running.append(RunningRequest(one.queue.key, request.command, request.path_info, age, request.request_id))
        facts = ServerFacts(
            file=str(config.file),
            listen=server.urls() if server else [],
            state=state,
            connections=server.connections if server else 0,
            connection_limit=config.server.connection_limit,
            threads=config.server.threads,
            loop_delay=server.loop_delay.longest(now) if server else 0.0,
            running=running,
            waiting=server.queues.waiting_counts() if server else {},
            last_reload=self._describe_reload(now),
        )
        return make_snapshot(self.counters, facts, mounts)

    def _describe_reload(self, now: float) -> dict[str, Any] | None:
        if self._last_reload is None:
            return None
        ended_at, outcome = self._last_reload
        seconds = ended_at - outcome.started_at
        return {"ok": outcome.is_taken, "message": outcome.text, "seconds": seconds, "ago": now - ended_at}
