"""The differences between two tables, for the log of a reload."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence

from ..config.reader import Config, ServerConfig
from ..loading.loaded_mount import LoadedMount

# The fields of `ServerConfig` that a reload changes in a serving process.
_LIVE = {
    "drain_timeout",
    "header_timeout",
    "body_timeout",
    "body_min_rate",
    "max_buffered_bodies",
    "access_log_exclude",
    "strict",
    "request_id",
}


def changes(before: Sequence[LoadedMount], after: Sequence[LoadedMount]) -> Iterator[str]:
    """Yield a line for each mount that was removed, added or changed."""
    old = {mount.config.key: mount for mount in before}
    new = {mount.config.key: mount for mount in after}
    for key in old.keys() - new.keys():
        yield f"{key}: removed"
    for key, mount in new.items():
        if key not in old:
            yield f"{key}: new, {mount.state}"
        elif old[key].config != mount.config or old[key].app is not mount.app:
            yield f"{key}: changed, {mount.state}"


def needs_restart(before: Config, after: Config) -> Iterator[str]:
    """Yield a line with the settings that differ between the file and the serving process."""
    changed = [
        f"server.{field.name}"
        for field in dataclasses.fields(ServerConfig)
        if field.name not in _LIVE | {"adjustments", "has_json_logs"}
        and getattr(before.server, field.name) != getattr(after.server, field.name)
    ]
    old, new = before.server.adjustments, after.server.adjustments
    changed += [f"server.{name}" for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
    if before.logging != after.logging:
        changed.append("logging")
    changed += [
        f"status.{name}" for name in ("listen", "key") if getattr(before.status, name) != getattr(after.status, name)
    ]
    if changed:
        yield (
            f"these changed settings take effect in a new process: {', '.join(changed)}; stop the server and start it "
            f"again, or run kill -USR2 {os.getpid()}"
        )
