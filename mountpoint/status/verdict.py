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
#: The kinds of trouble, the worst first.
KINDS = ("broken", "failing", "slow", "rejecting", "loading")
_REASON_CHARACTERS = 200


def verdict(mounts: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the verdict about *mounts*, those of the snapshot, each with its trouble."""
    troubled = [mount for mount in mounts if mount["trouble"]]
    if not troubled:
        served = sum(mount["mount"] is not None for mount in mounts)
        return {"ok": True, "text": f"all is well: {counted(served, 'mount')}", "mounts": []}
    troubled.sort(key=lambda mount: KINDS.index(mount["trouble"]["kind"]))
    text = f"{troubled[0]['mount']} {troubled[0]['trouble']['text']}"
    others = len(troubled) - 1
    if others:
        text += f"; {counted(others, 'other mount')} {'is' if others == 1 else 'are'} in trouble too"
    return {"ok": False, "text": text, "mounts": [mount["mount"] for mount in troubled]}


def trouble_of(mount: Mapping[str, Any], slow_after: float, oldest: float) -> Mapping[str, str] | None:
    """Return the kind of the trouble of *mount*, and the rest of a sentence about it; None if it has none.

    *mount* is one of the snapshot. *slow_after* is its setting, and *oldest* the seconds for which its oldest request
    has run.
    """
    if mount["mount"] is None:
        return None
    found = _kind_and_text(mount, slow_after, oldest)
    return {"kind": found[0], "text": found[1]} if found else None


def _kind_and_text(mount: Mapping[str, Any], slow_after: float, oldest: float) -> tuple[str, str] | None:
    if mount["state"] == "broken":
        lines = str(mount["reason"]).splitlines() or [""]
        return "broken", f"is broken: {lines[0][:_REASON_CHARACTERS]}"
    if mount["state"] != "serving":
        return "loading", "is still loading"
    minute = mount["last_minute"]
    requests, errors = minute["requests"], minute["errors"]
    if errors and errors >= FAILING_SHARE * requests:
        return "failing", f"fails: {errors} of {counted(requests, 'request')} in the last minute got a 5xx status"
    if oldest > slow_after > 0:
        return "slow", f"is slow: a request has run for {oldest:.1f} s"
    if minute["slow"]:
        return "slow", (
            f"is slow: {minute['slow']} of {counted(requests, 'request')} in the last minute took longer than "
            f"{slow_after:g} s"
        )
    if minute["rejected"]:
        return "rejecting", (
            f"rejects requests: {minute['rejected']} of {requests} in the last minute got 503, because its queue was "
            "full"
        )
    return None
