"""The commands that ask a running server to do something. Each takes the options of its parser."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from typing import Any

from ..errors import ControlError, UsageError, printable
from .usage import swapped


def reload(options: argparse.Namespace) -> int:
    """Have the server read its table again, as SIGHUP does."""
    return _finish(_ask(options, {"command": "reload"}))


def restart(options: argparse.Namespace) -> int:
    """Have the server replace the processes of one mount."""
    if options.mount.endswith(".toml") and not os.path.exists(options.file):  # noqa: PTH110 - it may be a mount
        raise UsageError([swapped("restart FILE MOUNT", options.mount, options.file)])
    return _finish(_ask(options, {"command": "restart", "mount": options.mount}))


def _ask(options: argparse.Namespace, request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the outcome of *request*, and print the lines of progress. Raises `ControlError`."""
    if sys.platform != "win32":
        from ..lifecycle.control_client import ask

        return ask(options.file, request, control=options.control, timeout=options.timeout, on_line=_print)
    raise ControlError(
        "this command reaches the server through a unix socket, which Python lacks on Windows; stop the server and "
        "start it again"
    )


def _finish(outcome: Mapping[str, Any]) -> int:
    """Print the message of *outcome*, and return the exit code."""
    if outcome["ok"]:
        _print(str(outcome.get("message", "")))
        return 0
    raise ControlError(str(outcome.get("message", "the server has not said why it failed")))


def _print(text: str) -> None:
    print(printable(text, "\n"), flush=True)
