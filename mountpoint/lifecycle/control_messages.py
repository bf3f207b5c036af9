"""The messages on a control socket: JSON objects, each in a line.

As soon as the server has accepted a connection, it sends a greeting: ``{"pid": 7, "file": "/srv/mounts.toml",
"version": "0.1.0", "state": "serving"}``. The command sends one request, ``{"command": "reload"}``. The server responds
with any number of lines of progress, ``{"line": "..."}``, and then with the outcome, ``{"ok": true}`` and the fields of
the command. The field ``message`` is a text for the user. ``"again": true`` says that another process serves now, and
that the command should ask that one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol


class Reply(Protocol):
    """The response to one command. Its methods may be called in any thread."""

    def line(self, text: str) -> object:
        """Send a line of progress."""

    def end(self, message: str = "", *, ok: bool = True, **fields: Any) -> object:
        """Send the outcome, with a *message* for the user. Further calls do nothing."""


#: Called with a request and its reply, in the thread of the control socket. It must return at once.
Handler = Callable[[Mapping[str, Any], Reply], object]

MAX_REQUEST = 64 * 2**10  # bytes
MAX_RESPONSE = 64 * 2**20  # bytes of one line

#: The states of a server, in its greeting.
LOADING, SERVING, DRAINING, HANDED_OVER = "loading", "serving", "draining", "handed over"


def encode(message: Mapping[str, Any]) -> bytes:
    """Return *message* as a line. Text that is not Unicode is escaped."""
    return json.dumps(message).encode("ascii") + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """Return the object in *line*. Raises ValueError for anything else."""
    try:
        message = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(message, dict):
        raise ValueError("not an object")
    return message
