"""The keys of a mount that has processes of its own, and their checks.

``[defaults]`` may hold the keys for all mounts. A mount in the server's process ignores them there, and may not have
them itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .key import Key
from .validators import array_of_strings, integer, one_of, seconds, string, toml_text

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}


def size(value: Any) -> int:
    """Accept a number of bytes, or a string such as ``"500M"``."""
    if isinstance(value, str) and (match := re.fullmatch(r"([0-9]{1,15})\s?([KMG]?)(?:i?B)?", value)):
        value = int(match[1]) * _UNITS[match[2]]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise ValueError(f'expected a size such as "500M" or "2G", or a number of bytes, found {toml_text(value)}')
    return value


def arguments(value: Any) -> tuple[str, ...]:
    strings = array_of_strings(value)
    if any("\0" in text for text in strings):
        raise ValueError("expected arguments of a command, found a NUL character")
    return strings


def name(value: Any) -> str:
    text = string(value)
    if not text or re.search(r"[\s:\0]", text):
        raise ValueError(f"expected a name, found {toml_text(value)}")
    return text


def path(value: Any) -> str:
    text = string(value)
    if not text or "\0" in text:
        raise ValueError(f"expected a path, found {toml_text(value)}")
    return text


PROCESS_KEYS: Mapping[str, Key] = {
    "process": Key(
        one_of("shared", "own"),
        '`"own"` runs the app in processes of its own, under the same address, log and limits. `"shared"` runs it in '
        "the server's process.",
        '`"shared"`, or `"own"` if `python` is set',
    ),
    "python": Key(
        path,
        "The interpreter of the app's processes, Python 3.8 or later, such as `cms/.venv/bin/python`. A relative path "
        "starts at the file's folder; a name without a slash is looked up on `PATH`.",
        "the server's interpreter",
    ),
    "cwd": Key(
        path,
        "The working folder of the app's processes. A relative path starts at the file's folder.",
        "`root`",
    ),
    "argv": Key(
        arguments,
        "The arguments that the app finds in `sys.argv[1:]`.",
        "`[]`",
    ),
    "workers": Key(
        integer(1, 512),
        "How many processes run the app.",
        "`1`",
    ),
    "threads": Key(
        integer(1, 1000),
        "How many requests run at once in each process of the app.",
        "`4`",
    ),
    "timeout": Key(
        seconds,
        "How many seconds the app may take until its response begins, and between two pieces of it. Then the client "
        "gets 504, or the response is cut off, and the process is replaced. 0 turns this off.",
        "`60`",
    ),
    "max_requests": Key(
        integer(0),
        "A process is replaced after about this many requests. With 0 it never is.",
        "`0`",
    ),
    "max_memory": Key(
        size,
        'A process is replaced when its resident memory exceeds this size, such as `"500M"`. With 0 it never is. It '
        "needs `/proc`, so it has an effect on Linux only.",
        "`0`",
    ),
    "start_timeout": Key(
        seconds,
        "How many seconds a process has to load the app. Then it is ended, and another one is started. 0 turns this "
        "off.",
        "`60`",
    ),
    "grace": Key(
        seconds,
        "How many seconds a process that is replaced or stopped has for its requests and its own clean-up, before "
        "it gets SIGKILL.",
        "`10`",
    ),
    "user": Key(
        name,
        "The user that the app's processes run as, such as `www-data`. It needs a server that runs as root.",
        "the server's user",
    ),
    "group": Key(
        name,
        "The group that the app's processes run as. It needs a server that runs as root.",
        "the group of `user`, or that of the server",
    ),
}


@dataclass(frozen=True, slots=True)
class OwnProcess:
    """The settings of a mount with processes of its own. Times are in seconds, and 0 turns a limit off."""

    python: str | None = None  # None for the server's interpreter
    cwd: Path | None = None  # None for the root
    argv: tuple[str, ...] = ()
    workers: int = 1
    threads: int = 4  # in each worker
    timeout: float = 60.0
    max_requests: int = 0
    max_memory: int = 0  # bytes
    start_timeout: float = 60.0
    grace: float = 10.0
    user: str = ""
    group: str = ""

    @property
    def capacity(self) -> int:
        """How many requests run at once."""
        return self.workers * self.threads


def take_own_process(
    values: dict[str, Any], named: Collection[str], folder: Path, report: Callable[[str, str], object]
) -> OwnProcess | None:
    """Remove the `PROCESS_KEYS` from *values*, and return them; None for a mount in the server's process.

    *named* are the keys of the mount's own table, without those of ``[defaults]``. Relative paths start at *folder*.
    *report* is called with the key and the message of each problem.
    """
    taken = {key: values.pop(key) for key in PROCESS_KEYS if key in values}
    if any(key in named and key not in taken for key in ("process", "python")):
        return None  # the value is wrong and reported, and the kind of the mount is not known
    process = taken.pop("process", None)
    if process is None or ("python" in named and "process" not in named):
        process = "own" if "python" in taken else process or "shared"
    if process == "shared":
        for key in PROCESS_KEYS:
            if key in named and key != "process":
                report(key, 'has no effect on a mount in the server\'s process; write process = "own", or remove it')
        return None
    try:
        if "python" in taken:
            taken["python"] = _interpreter(taken["python"], folder)
    except ValueError as error:
        report("python", str(error))
        return None
    if "cwd" in taken:
        taken["cwd"] = folder / taken["cwd"]
        if not taken["cwd"].is_dir():
            report("cwd", f'expected a folder, found {_kind(taken["cwd"])} at "{taken["cwd"]}"')
    return OwnProcess(**taken)


def with_prefix(env: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Return *env* with *prefix* in place of ``{prefix}``.

    >>> with_prefix({"STATIC": "{prefix}/static/"}, "/cms")
    {'STATIC': '/cms/static/'}
    """
    return {name: value.replace("{prefix}", prefix) for name, value in env.items()}


def _interpreter(text: str, folder: Path) -> str:
    """Return the path of the interpreter *text*. Links stay: a virtual environment is found through its own link."""
    file = folder / text
    if "/" not in text and os.sep not in text and not file.is_dir():
        import shutil  # here, because it imports every compression of the standard library

        found = shutil.which(text)
        if found is None:
            raise ValueError(f'expected an interpreter, found no command "{text}" on PATH; write its whole path')
        return str(Path(found).absolute())
    if file.is_dir():
        inner = next((name for name in ("bin/python", ".venv/bin/python") if (file / name).is_file()), None)
        hint = f'; write "{text.rstrip("/")}/{inner}"' if inner else ""
        raise ValueError(f'expected an interpreter, found a folder at "{file}"{hint}')
    if not file.is_file() or not os.access(file, os.X_OK):
        kind = _kind(file)
        hint = _near_interpreter(text, folder) if kind == "nothing" else ""
        raise ValueError(f'expected an interpreter, found {kind} at "{file}"{hint}')
    return str(file)


def _near_interpreter(text: str, folder: Path) -> str:
    """Return a "did you mean" for *text*, at which nothing is, with an environment beside the one that it names."""
    file = Path(text)
    if len(file.parts) < 3:
        return ""
    for name in (".venv", "venv", "env"):
        near = file.parents[2] / name / "bin" / "python"
        if (folder / near).is_file():
            return f'; did you mean "{near}"?'
    return ""


def _kind(file: Path) -> str:
    try:
        return "nothing" if not file.exists() else "a folder" if file.is_dir() else "another file"
    except OSError as error:
        return f"{error.strerror},"
