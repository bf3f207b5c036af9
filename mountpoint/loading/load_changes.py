"""The changes that a load makes to the process: those that are restored after it, and those that affect its siblings.

`mountpoint.loading.isolation` restores the state that an app can do without. The author of the app does not know that,
so `mountpoint check` describes the changes.
"""

from __future__ import annotations

import gc
import locale
import logging
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import counted
from .isolation import SERVER_SIGNALS

_MAX_NAMED = 5
_REMEDY = 'serve this app from a process of its own: write process = "own"'


@dataclass(slots=True)
class LoadChanges:
    """The changes of one load. Folders and names are those that it has added."""

    working_folder: Path | None = None
    signals: Sequence[str] = ()
    root_logger: Sequence[str] = ()
    path_entries: Sequence[str] = ()
    variables: Sequence[str] = ()
    settings: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # name to the value before and after

    def conflicts(self, siblings: Collection[str]) -> Iterator[str]:
        """Yield a warning for each change that the app needs in requests and loses, or that affects its *siblings*."""
        if self.working_folder is not None:
            yield (
                f"its load has changed the working folder to {self.working_folder}; mountpoint has restored "
                f"it for {_names(siblings) or 'the server'}, so a relative path in a request leads elsewhere; begin "
                f"paths at the folder of __file__, or {_REMEDY}"
            )
        for name, (before, after) in self.settings.items() if siblings else ():
            yield (
                f"its load has changed {name} from {before} to {after}, also for {_names(siblings)}, because a "
                f"process has only one; remove the change, or {_REMEDY}"
            )

    def notes(self, siblings: Collection[str]) -> Iterator[str]:
        """Yield a sentence for each change that was restored, or that does not harm the *siblings*."""
        others = _names(siblings)
        if self.root_logger:
            yield (
                f"its load has changed the root logger ({', '.join(self.root_logger)}); mountpoint has restored it "
                f"for {others or 'the server'}; configure loggers of the app's own names, or [logging], or {_REMEDY}"
            )
        if self.signals:
            yield (
                f"its load has set a handler for {_names(self.signals)}; mountpoint has restored the server's"
                f"{f', also for {others}' if others else ''}; clean up in atexit, or {_REMEDY}"
            )
        if self.path_entries and others:
            yield (
                f"its load has added {_names(self.path_entries)} to sys.path, which stays there for {others} too, "
                f"behind all other folders; if modules of one name are in two of them, {_REMEDY}"
            )
        if self.variables and others:
            yield (
                f"its load has set {_names(self.variables)} in os.environ, which stays there for {others} too; if "
                f"they must not have it, {_REMEDY}"
            )


@contextmanager
def record_changes(changes: LoadChanges) -> Iterator[None]:
    """Run the body, which loads an app, and record in *changes* how it leaves the process.

    The changes of another load that runs at the same time are recorded too.
    """
    folder, handlers, root = _working_folder(), _handlers(), _root_logger()
    entries, settings = list(sys.path), _settings()
    yield
    now = _working_folder()
    changes.working_folder = now if now != folder else None
    changes.signals = [name for name, handler in _handlers().items() if handler != handlers.get(name)]
    changes.root_logger = [text for text, value in _root_logger().items() if value != root[text]]
    changes.path_entries = [entry for entry in sys.path if entry not in entries and isinstance(entry, str)]
    changes.settings = {
        name: (settings[name], value)
        for name, value in _settings().items()
        if name in settings and settings[name] != value
    }


def _names(names: Collection[str]) -> str:
    """Return *names* in a sentence, the first few of many."""
    shown = sorted(names) if isinstance(names, set) else list(names)
    more = len(shown) - _MAX_NAMED
    if more > 0:
        return f"{', '.join(shown[:_MAX_NAMED])} and {counted(more, 'other')}"
    return " and ".join(filter(None, [", ".join(shown[:-1]), *shown[-1:]]))


def _working_folder() -> Path | None:
    with suppress(OSError):  # it has been deleted
        return Path.cwd()
    return None


def _handlers() -> dict[str, Any]:
    if threading.current_thread() is not threading.main_thread():  # no other thread can set one
        return {}
    return {name: signal.getsignal(getattr(signal, name)) for name in SERVER_SIGNALS if hasattr(signal, name)}


def _root_logger() -> dict[str, Any]:
    root = logging.root
    return {
        "its level": root.level,
        "its handlers": [id(handler) for handler in root.handlers],
        "its filters": [id(one) for one in root.filters],
    }


def _umask() -> str:
    status = Path("/proc/self/status").read_text("ascii", "replace")  # os.umask() would change it
    return next(line.split()[1] for line in status.splitlines() if line.startswith("Umask"))


#: State of the process that a load may change for its siblings, and that is not restored.
_SETTINGS: Mapping[str, Callable[[], object]] = {
    "the umask": _umask,
    "the locale": lambda: locale.setlocale(locale.LC_ALL),
    "the time zone": lambda: "/".join(time.tzname),
    "the default timeout of sockets": socket.getdefaulttimeout,
    "the recursion limit": sys.getrecursionlimit,
    "the garbage collector": lambda: "on" if gc.isenabled() else "off",
    "the switch interval of threads": sys.getswitchinterval,
}


def _settings() -> dict[str, str]:
    found = {}
    for name, read in _SETTINGS.items():
        with suppress(Exception):  # the system does not have it
            found[name] = str(read())
    return found
