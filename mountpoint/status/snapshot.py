"""The snapshot: all that a server knows about itself, as one dict that `json.dumps` accepts.

The page, ``/status.json``, the metrics and the commands ``status`` and ``top`` all show this dict. Its keys are in the
manual, on the page about operating. Every collection in it is bounded, whatever clients send. A snapshot is made in any
thread, and takes no lock that a thread with a request waits for.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..loading.loaded_mount import LoadedMount
from ..workers.processes import report_on_workers
from ..workers.report import WorkersReport, resident_bytes
from .counters import Counters, CountersReading
from .process import versions
from .text import METHOD_CHARACTERS, PATH_CHARACTERS, readable
from .verdict import trouble_of, verdict

VERSION = 1  # of the schema
MAX_IN_FLIGHT = 100


class RunningRequest(NamedTuple):
    """A request that a thread runs, for *age* seconds so far. Method and path are as sent."""

    mount: str | None
    method: str
    path: str
    age: float
    request_id: str | None


class ServerFacts(NamedTuple):
    """The facts about the process that are not in its counters.

    ``running`` has the oldest request first. ``waiting`` has the number of waiting requests of each mount. Durations
    are in seconds. ``last_reload`` is None, or has the keys of the snapshot, with ``ago`` in seconds for ``at``.
    """

    file: str
    listen: Sequence[str]
    state: str
    connections: int
    connection_limit: int
    threads: int
    loop_delay: float
    running: Sequence[RunningRequest]
    waiting: Mapping[str | None, int]
    last_reload: Mapping[str, Any] | None


def make_snapshot(counters: Counters, facts: ServerFacts, mounts: Sequence[LoadedMount]) -> dict[str, Any]:
    """Return the snapshot of a server that serves *mounts*."""
    reading = counters.read()
    now = time.time()  # all other times are derived from this one, so they stay consistent if the clock is set
    running: dict[str | None, int] = {}
    oldest: dict[str | None, float] = {}
    for request in facts.running:
        running[request.mount] = running.get(request.mount, 0) + 1
        oldest.setdefault(request.mount, request.age)
    described = [_mount(mount, reading, now) for mount in mounts if mount.config.key in reading.mounts]
    described.append(_nothing() | _counts(None, reading, now))
    slow_after: dict[str | None, float] = {mount.config.key: mount.config.slow_after for mount in mounts}
    for one in described:
        one["in_flight"] = running.get(one["mount"], 0)
        one["waiting"] = facts.waiting.get(one["mount"], 0)
        one["trouble"] = trouble_of(one, slow_after.get(one["mount"], 0.0), oldest.get(one["mount"], 0.0))
    return {
        "version": VERSION,
        "server": _server(facts, reading, now),
        "verdict": verdict(described),
        "mounts": described,
        "in_flight": [
            {
                "mount": request.mount,
                "method": readable(request.method[:METHOD_CHARACTERS]),
                "path": readable(request.path[:PATH_CHARACTERS]),
                "age": request.age,
                "request_id": request.request_id,
            }
            for request in facts.running[:MAX_IN_FLIGHT]
        ],
        "slowest": [slow.as_dict(now - (reading.now - slow.ended_at)) for slow in reading.slowest],
    }


def _server(facts: ServerFacts, reading: CountersReading, now: float) -> Mapping[str, Any]:
    last_reload = facts.last_reload
    if last_reload is not None:
        last_reload = {name: value for name, value in last_reload.items() if name != "ago"} | {
            "at": now - last_reload["ago"]
        }
    return {
        **versions(),
        "pid": os.getpid(),
        "file": facts.file,
        "listen": [*facts.listen],
        "started_at": now - (reading.now - reading.started_at),
        "now": now,
        "state": facts.state,
        "connections": facts.connections,
        "connection_limit": facts.connection_limit,
        "threads": facts.threads,
        "busy_threads": len(facts.running),
        "memory": resident_bytes(),
        "loop_delay": facts.loop_delay,
        "last_reload": last_reload,
    }


def _mount(mount: LoadedMount, reading: CountersReading, now: float) -> dict[str, Any]:
    config = mount.config
    report = report_on_workers(mount.app)
    state, reason = _state(mount, report)
    return {
        "mount": config.key,
        "app": config.app.text,
        "process": "shared" if config.own is None else "own",
        "required": config.required,
        "state": state,
        "reason": reason,
        "load_seconds": mount.load_seconds if report is None else report.load_seconds,
        "restarts": report.restarts if report else 0,
        **_counts(config.key, reading, now),
        "workers": [
            {
                "pid": worker.pid,
                "state": worker.state,
                "started_at": now - worker.age,
                "memory": worker.memory or None,
                "requests": worker.requests,
            }
            for worker in (report.workers if report else ())
        ],
    }


def _state(mount: LoadedMount, report: WorkersReport | None) -> tuple[str, str | None]:
    """Return the state of *mount*, and why it is broken."""
    if mount.error is not None:
        return "broken", str(mount.error)
    if not mount.is_loaded:
        return "loading", None
    if report is not None and not report.is_ready:
        return ("broken", str(report.error)) if report.error else ("starting", None)
    return "serving", None


def _nothing() -> dict[str, Any]:
    """Return the values that stand for the facts about a mount in the entry for requests without one."""
    return {
        "mount": None,
        "app": None,
        "process": None,
        "required": False,
        "state": "serving",
        "reason": None,
        "load_seconds": None,
        "restarts": 0,
        "workers": [],
    }


def _counts(key: str | None, reading: CountersReading, now: float) -> dict[str, Any]:
    counts = reading.mounts[key]
    exceptions = [
        {"type": kind, "place": place, "count": count, "last_at": now - (reading.now - at)}
        for (kind, place), (count, at) in reversed(counts.exceptions)
    ]
    return counts.as_dict() | {"last_exceptions": exceptions}
