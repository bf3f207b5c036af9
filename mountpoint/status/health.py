"""Two health checks, for a container manager and a load balancer: is the process alive, and is it ready?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

STUCK_SECONDS = 5.0  # since the loop's last turn; it turns at least once a second


def liveness(loop_age: float | None) -> tuple[bool, str]:
    """Return whether the loop turns, and a line that says so. *loop_age* is None before the loop has started.

    A load may take minutes, and a restart would begin it again, so a process without a loop lives.
    """
    if loop_age is None:
        return True, "alive: the server is starting"
    if loop_age > STUCK_SECONDS:
        return False, f"stuck: the loop has not turned for {loop_age:.0f} s"
    return True, "alive"


def readiness(state: str, mounts: Sequence[Mapping[str, Any]]) -> tuple[bool, str]:
    """Return whether the server should get requests, and a line that says why not.

    *state* is that of the process, *mounts* are those of the snapshot.
    """
    if state != "serving":
        return False, f"not ready: {state}"
    rows = [row for row in mounts if row["required"] and row["state"] != "serving"]
    if rows:
        return False, "not ready: " + ", ".join(f"{row['mount']} is {row['state']}" for row in rows)
    return True, "ready"
