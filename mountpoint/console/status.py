"""``mountpoint status``: print what the server of a table does, and whether all is well."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from ..errors import ControlError
from .lines import Line, Snapshot, Style, status_lines
from .screen import View, screen

#: The exit code if no server runs, or if it does not answer.
NO_SERVER = 3
SCHEMA = 1  # the version of the snapshot that is shown here
SECONDS = 5.0  # for which the command waits for the server

_COLOURS: Mapping[Style, str] = {"heading": "1", "good": "32", "bad": "31", "dim": "2"}


def fetch(file: str | Path, control: str | None) -> Mapping[str, Any]:
    """Return the snapshot of the server of *file*. Raises `ControlError` if none answers within `SECONDS`."""
    if sys.platform != "win32":
        from ..lifecycle.control_client import ask

        outcome = ask(file, {"command": "status"}, control=control, timeout=SECONDS)
        snapshot = outcome.get("snapshot")
        if outcome["ok"] is not True or not isinstance(snapshot, dict):
            raise ControlError(f"{file}: the server gives no status: {outcome.get('message', 'it does not say why')}")
        return snapshot
    raise ControlError(
        "this command reaches the server through a unix socket, which Python lacks on Windows; open the status page "
        "in a browser"
    )


def require_known(snapshot: Snapshot) -> None:
    """Raise `ControlError` if *snapshot* cannot be shown: another release, or another program, has sent it."""
    version = snapshot.get("version")
    if version != SCHEMA:
        raise ControlError(
            f"this mountpoint shows version {SCHEMA} of the status, and the server sends version {version};"
            " run the mountpoint of the server, or write --json"
        )
    try:
        status_lines(snapshot, None)
        for mount in snapshot["mounts"]:
            screen(View(detail=(mount["mount"],)), snapshot, "", 80, 24)
        screen(View(), snapshot, "", 80, 24)
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, OSError) as error:
        raise ControlError(
            f"the server sends a status of unknown form ({type(error).__name__}: {error}); run the mountpoint of the "
            "server, or write --json"
        ) from None


def status(file: str | Path, control: str | None, output: TextIO, *, as_json: bool) -> tuple[int, str]:
    """Print the status of the server of *file* to *output*; return the exit code and a message for stderr.

    0: all is well. 1: a mount is in trouble. 3: no server runs, or it does not answer.
    """
    try:
        snapshot = fetch(file, control)
        if not as_json:
            require_known(snapshot)
    except ControlError as error:
        return NO_SERVER, str(error)
    if as_json:
        text = json.dumps(snapshot, indent=2)  # in ASCII: clients choose the paths, and terminals obey U+009B
    else:
        is_terminal = output.isatty()
        width = shutil.get_terminal_size().columns if is_terminal else None
        lines = status_lines(snapshot, width)
        text = "\n".join(_coloured(line) if is_terminal and has_colours() else line.text for line in lines)
    print(text, file=output, flush=True)
    verdict = snapshot.get("verdict")
    return 0 if isinstance(verdict, dict) and verdict.get("ok") is True else 1, ""


def has_colours() -> bool:
    """Whether the user wants colours: see https://no-color.org/."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


def _coloured(line: Line) -> str:
    colour = _COLOURS.get(line.style)
    return f"\x1b[{colour}m{line.text}\x1b[0m" if colour else line.text
