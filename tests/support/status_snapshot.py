"""Snapshots as `mountpoint.status` shows them, made by hand: a shop of mounts, one slow, one failing, one broken."""

from __future__ import annotations

import copy
import math
from typing import Any

NOW = 1_700_000_000.0
BOUNDS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10]
_APPS = ("shop", "wiki", "notes", "admin", "billing", "search", "mail", "maps", "stats", "forum")


class Process:
    """A process that the page shows: *snapshot*, or the result of a function of that name."""

    age: float | None = 0.1

    def __init__(self, snapshot: Any) -> None:
        self._snapshot = snapshot

    def snapshot(self) -> dict[str, Any]:
        return self._snapshot() if callable(self._snapshot) else self._snapshot

    def state(self) -> str:
        return self.snapshot()["server"]["state"]

    def loop_age(self) -> float | None:
        return self.age


def histogram(numbers: list[int], total: float = 1.5) -> dict[str, Any]:
    return {"bounds": BOUNDS, "counts": [*numbers, *[0] * (len(BOUNDS) + 1 - len(numbers))], "sum": total}


def mount_row(mount: str | None, *, requests: int = 1200, errors: int = 0, seconds: float = 0.012, **changes: Any):
    """Return the row of *mount*, with *requests* and *errors* in the last hour, each of about *seconds* in the app."""
    share = [1 + math.sin(minute / 7 + len(mount or "")) * 0.6 for minute in range(60)]
    each = [round(requests * part / sum(share)) for part in share]
    wrong = [round(errors / 15) if minute >= 45 else 0 for minute in range(60)]
    minutes = [[number, min(bad, number), number * seconds] for number, bad in zip(each, wrong, strict=True)]
    times = (
        {"p50": seconds, "p95": seconds * 3, "p99": seconds * 5} if requests else dict.fromkeys(("p50", "p95", "p99"))
    )
    minute = {"requests": requests // 60, "errors": round(errors / 15), "rejected": 0, "slow": 0, **times}
    return {
        "mount": mount,
        "app": None if mount is None else f"{mount.strip('/') or 'site'}:app",
        "process": None if mount is None else "shared",
        "required": False,
        "state": "serving",
        "reason": None,
        "load_seconds": None if mount is None else 0.21,
        "restarts": 0,
        "in_flight": 0,
        "waiting": 0,
        "requests": {"none": 0, "1xx": 0, "2xx": requests - errors, "3xx": 7, "4xx": 3, "5xx": errors},
        "rejected": {"queue": 0, "limit": 0, "body": 0},
        "bytes_in": 12_000,
        "bytes_out": 3_400_000,
        "slow": 0,
        "exceptions": errors,
        "queue_seconds": histogram([requests - errors]),
        "app_seconds": histogram([0, requests - errors, errors]),
        "last_minute": minute,
        "last_hour": {**minute, "requests": requests, "errors": errors},
        "seconds": [[requests // 3600, 0, seconds]] * 60,
        "minutes": minutes,
        "trouble": None,
        "last_exceptions": [],
        "workers": [],
        **changes,
    }


def snapshot_of(*rows: dict[str, Any], ok: bool = True, text: str = "All is well: 3 mounts serve", **server: Any):
    """Return a snapshot with these *rows* and one for requests without a mount."""
    return {
        "version": 1,
        "server": {
            "mountpoint": "0.1.0",
            "python": "3.11.2",
            "waitress": "3.0.2",
            "werkzeug": "3.1.3",
            "pid": 4711,
            "file": "/srv/mounts.toml",
            "listen": ["http://127.0.0.1:8080/"],
            "started_at": NOW - 93_000,
            "now": NOW,
            "state": "serving",
            "connections": 14,
            "connection_limit": 1000,
            "threads": 8,
            "busy_threads": 3,
            "memory": 84_000_000,
            "loop_delay": 0.0021,
            "last_reload": {"at": NOW - 4000, "ok": True, "message": "3 mounts, 0 broken", "seconds": 0.41},
            **server,
        },
        "verdict": {"ok": ok, "text": text, "mounts": []},
        "mounts": [*rows, mount_row(None, requests=30, seconds=0.0001)],
        "in_flight": [],
        "slowest": [],
    }


def troubled(count: int = 3) -> dict[str, Any]:
    """Return a snapshot of *count* mounts, at least 3: one fails, one is slow, one is broken, the others are well."""
    names = [f"/{_APPS[n % 10]}{n // 10 or ''}" for n in range(count)]
    rows = [mount_row(name, requests=200 + 37 * (n % 40)) for n, name in enumerate(names)]
    failing, slow, broken = (position * count // 4 if count > 3 else position - 1 for position in (1, 2, 3))
    exception = {"type": "ZeroDivisionError", "place": "cart.py:31 in total", "count": 180, "last_at": NOW - 2}
    fails = "fails: 12 of 40 requests in the last minute got a 5xx status"
    rows[failing] = mount_row(
        names[failing],
        requests=2400,
        errors=180,
        last_exceptions=[exception],
        trouble={"kind": "failing", "text": fails},
    )
    rows[slow] = mount_row(
        names[slow],
        requests=600,
        seconds=2.3,
        in_flight=2,
        waiting=1,
        slow=4,
        trouble={"kind": "slow", "text": "is slow: a request has run for 6.2 s"},
    )
    reason = 'no module "markdown"'
    rows[broken] = mount_row(
        names[broken],
        requests=0,
        state="broken",
        reason=reason,
        trouble={"kind": "broken", "text": f"is broken: {reason}"},
    )
    verdict = f"{names[broken]} is broken: {reason}; 2 other mounts are in trouble too"
    snapshot = snapshot_of(*rows, ok=False, text=verdict)
    snapshot["verdict"]["mounts"] = [names[broken], names[failing], names[slow]]
    worker = {"pid": 4712, "state": "ready", "started_at": NOW - 5000, "memory": 61_000_000, "requests": 4321}
    rows[slow] |= {"process": "own", "workers": [worker, {**worker, "pid": 4713, "memory": None}]}
    request = {"mount": names[slow], "method": "GET", "path": f"{names[slow]}/find?q=all", "request_id": "0f3a9c"}
    snapshot["in_flight"] = [{**request, "age": 6.2}, {**request, "age": 1.4, "request_id": None}]
    snapshot["slowest"] = [{**request, "status": 200, "seconds": 9.7 - n, "at": NOW - 60 * n} for n in range(5)]
    return copy.deepcopy(snapshot)
