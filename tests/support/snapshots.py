"""A snapshot of a server, as `mountpoint.status.snapshot` makes it, for the tests of the commands that show it."""

from __future__ import annotations

from typing import Any


def span(requests=0, errors=0, p50=None, p95=None, p99=None):
    return {"requests": requests, "errors": errors, "rejected": 0, "slow": 0, "p50": p50, "p95": p95, "p99": p99}


def mount(key, requests=0, errors=0, times=(None, None, None), **values):
    """Return a mount of the snapshot: one that serves, with these numbers of the last minute."""
    found = {
        "mount": key,
        "app": f"{key}:app",
        "process": "shared",
        "required": False,
        "state": "serving",
        "reason": None,
        "trouble": None,
        "load_seconds": 0.2,
        "restarts": 0,
        "in_flight": 0,
        "waiting": 0,
        "requests": {"none": 0, "1xx": 0, "2xx": requests - errors, "3xx": 0, "4xx": 0, "5xx": errors},
        "rejected": {"queue": 0, "limit": 0, "body": 0},
        "bytes_in": 0,
        "bytes_out": 0,
        "slow": 0,
        "exceptions": errors,
        "last_minute": span(requests, errors, *times),
        "last_hour": span(requests, errors, *times),
        "last_exceptions": [],
        "workers": [],
    }
    return found | values


SNAPSHOT: dict[str, Any] = {
    "version": 1,
    "server": {
        "mountpoint": "0.1.0",
        "python": "3.11.2",
        "waitress": "3.0.2",
        "werkzeug": "3.1",
        "pid": 4242,
        "file": "/srv/mounts.toml",
        "listen": ["http://127.0.0.1:8080/"],
        "started_at": 1_000_000.0,
        "now": 1_007_261.0,
        "state": "serving",
        "connections": 3,
        "connection_limit": 1000,
        "threads": 8,
        "busy_threads": 1,
        "memory": 50_000_000,
        "loop_delay": 0.002,
        "last_reload": None,
    },
    "verdict": {
        "ok": False,
        "text": "/shop fails: 12 of 40 requests in the last minute got a 5xx status",
        "mounts": ["/shop"],
    },
    "mounts": [
        mount("/tv_ws", 900, 0, (0.003, 0.01, 0.02), in_flight=2),
        mount("/shop", 40, 12, (0.5, 1.2, 3.0), waiting=7),
        mount("/cms", 5, process="own", state="starting"),
        mount("/old", state="broken", reason="ModuleNotFoundError: No module named 'old'"),
        mount(None, 3),
    ],
    "in_flight": [{"mount": "/tv_ws", "method": "GET", "path": "/tv_ws/x", "age": 1.2, "request_id": "abc"}],
    "slowest": [
        {
            "mount": "/shop",
            "method": "POST",
            "path": "/shop/buy",
            "status": 500,
            "seconds": 3.2,
            "at": 0.0,
            "request_id": None,
        }
    ],
}
SNAPSHOT["mounts"][1]["last_exceptions"] = [
    {"type": "ValueError", "place": "shop.py:12 in buy", "count": 12, "last_at": 1_007_200.0}
]
SNAPSHOT["mounts"][2]["workers"] = [
    {"pid": 7, "state": "ready", "started_at": 1_007_000.0, "memory": 31_457_280, "requests": 5}
]
