"""One sentence about the whole server: all is well, or which mount is in trouble, and why.

A mount is in trouble for the first of these reasons that holds:

broken     its app did not load, or its processes do not start
failing    at least a twentieth of its requests in the last minute got a 5xx status; rejections do not count
slow       in the last minute, or now, a request has run for longer than the ``slow_after`` of the mount
rejecting  in the last minute, a request was rejected because the queue of the mount was full
loading    its app is not loaded yet

The sentence is about the mount with the worst reason, and about the first of them in the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import counted

FAILING_SHARE = 0.05
_REASON_CHARACTERS = 200


def verdict(
    mounts: Sequence[Mapping[str, Any]], slow_after: Mapping[str | None, float], now: Mapping[str | None, float]
) -> Mapping[str, Any]:
    """Return the verdict about *mounts*, those of the snapshot.

    *slow_after* are the settings of each mount, and *now* the seconds for which its oldest request has run.
    """
    troubles = []
    for place, mount in enumerate(mounts):
        key = mount["mount"]
        found = key is not None and _trouble(mount, slow_after.get(key, 0.0), now.get(key, 0.0))
        if found:
            troubles.append((found[0], place, key, found[1]))
    if not troubles:
        served = sum(mount["mount"] is not None for mount in mounts)
        return {"ok": True, "text": f"all is well: {counted(served, 'mount')}", "mounts": []}
    troubles.sort()
    _, _, key, text = troubles[0]
    others = len(troubles) - 1
    if others:
        text += f"; {counted(others, 'other mount')} {'is' if others == 1 else 'are'} in trouble too"
    return {"ok": False, "text": f"{key} {text}", "mounts": [key for _, _, key, _ in troubles]}


def _trouble(mount: Mapping[str, Any], slow_after: float, oldest: float) -> tuple[int, str] | None:
    """Return the rank of the trouble of *mount*, and the rest of a sentence about it; None if it has none."""
    if mount["state"] == "broken":
        return 0, f"is broken: {str(mount['reason']).splitlines()[0][:_REASON_CHARACTERS]}"
    if mount["state"] != "serving":
        return 4, "is still loading"
    minute = mount["last_minute"]
    requests, errors = minute["requests"], minute["errors"]
    if errors and errors >= FAILING_SHARE * requests:
        return 1, f"fails: {errors} of {counted(requests, 'request')} in the last minute got a 5xx status"
    if oldest > slow_after > 0:
        return 2, f"is slow: a request has run for {oldest:.1f} s"
    if minute["slow"]:
        return 2, (
            f"is slow: {minute['slow']} of {counted(requests, 'request')} in the last minute took longer than "
            f"{slow_after:g} s"
        )
    if minute["rejected"]:
        return 3, (
            f"rejects requests: {minute['rejected']} of {requests} in the last minute got 503, because its queue was "
            "full"
        )
    return None
