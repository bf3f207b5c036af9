"""The environment variables that a load reads and sets, and those that it takes over from the load of another app.

``os.environ`` is one for the process. If two apps call ``load_dotenv()``, the second one keeps each variable that the
first one has set, so it runs on the database and the secret key of the first.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from ..config.reader import MountConfig, quoted
from ..errors import counted
from .env_files import nearest_env_file, read_env_file


@dataclass(slots=True)
class EnvironmentUse:
    """The variables that one load has used, by name. Other threads and code in C are not observed."""

    #: All that were read, also by code that reads every variable.
    read: set[str] = field(default_factory=set)
    #: Those that were read by name while they had a value that the load had not set itself.
    taken_over: set[str] = field(default_factory=set)
    #: Those that the load has set or changed, with their values after it, without lists such as PATH that only grew.
    changed: dict[str, str] = field(default_factory=dict)
    #: Those that the load has set, and those of its mount.
    own: set[str] = field(default_factory=set)
    #: Those of its mount, and the lines that have read one of them, as pairs of file and line.
    env: frozenset[str] = frozenset()
    lines: set[tuple[str, int]] = field(default_factory=set)
    _listed: deque[str] = field(default_factory=deque)  # names that an iteration has yielded, for the reads after it

    def unread(self, env: Iterable[str]) -> list[str]:
        """Return the names in *env* that were not read."""
        return [name for name in env if _name(name) not in self.read]

    def record_read(self, name: str, *, has_value: bool) -> None:
        """Record that *name* was read, which is a read by name unless an iteration has yielded it just before."""
        self.read.add(name)
        if name in self.env:
            self.lines.add(_calling_line())
        if self._listed and self._listed[0] == name:
            self._listed.popleft()
        elif has_value and name not in self.own:
            self.taken_over.add(name)

    def record_set(self, name: str) -> None:
        """Record that the load has set *name*."""
        self.own.add(name)

    def record_listing(self) -> deque[str]:
        """Record that an iteration begins; the caller appends each name that it yields to the result."""
        self._listed = deque()
        return self._listed


@contextmanager
def record_environment(env: Mapping[str, str], use: EnvironmentUse) -> Iterator[None]:
    """Run the body, which loads an app on this thread, and record its use of ``os.environ`` in *use*.

    *env* are the variables of the mount, which are set already. They never count as changed by the load.
    """
    environ: Any = os.environ  # an app may replace it
    before = {name: environ.get(name) for name in list(environ)}  # other threads may remove variables
    thread = threading.get_ident()
    use.env = frozenset(map(_name, env))
    for name in use.env:
        use.record_set(name)
    _uses[thread] = use
    environ.__class__ = _RecordingEnviron
    try:
        yield
    finally:
        del _uses[thread]
        if not _uses:
            environ.__class__ = _PlainEnviron
        # Only those that this thread has set: another load may have run at the same time.
        now = {name: environ.get(name) for name in use.own - env.keys()}
        use.changed = {
            name: value
            for name, value in now.items()
            if value is not None and before.get(name) != value and not _extends(value, before.get(name))
        }


class SharedEnvironment:
    """The variables that the loads of one process have set, each with the mount that has set it."""

    def __init__(self) -> None:
        self._setters: dict[str, MountConfig] = {}

    def conflicts(self, mount: MountConfig, use: EnvironmentUse) -> list[str]:
        """Return a warning for each way in which *mount* shares variables with an earlier mount by mistake.

        *use* is that of its load, and is remembered for the mounts after it. The values of variables are often secret,
        so no warning shows one.
        """
        file = nearest_env_file(mount.root, mount.app.module)
        wanted = read_env_file(file) if file else {}
        foreign = {
            name: setter for name, setter in self._setters.items() if name not in mount.env and setter.key != mount.key
        }
        taken, unlike, changed = {}, {}, {}
        for name, setter in foreign.items():
            if name in use.changed:
                changed[name] = setter
            elif name in os.environ and _is_other_value(wanted.get(name.casefold()), os.environ[name]):
                unlike[name] = setter
            elif name in use.taken_over and name in os.environ and name.casefold() not in wanted:
                taken[name] = setter
        for name in use.changed:
            self._setters[name] = mount
        return [
            *_warnings(taken, mount, "its load has read {names}, with the values that the load of {setter} has set"),
            *_warnings(
                unlike, mount, f"{file} has other values for {{names}} than the load of {{setter}} has set before"
            ),
            *_warnings(changed, mount, "its load has changed {names}, which the load of {setter} had set before"),
        ]


def _warnings(names: Mapping[str, MountConfig], mount: MountConfig, text: str) -> Iterator[str]:
    """Yield *text* for each mount that has set some of *names*."""
    for setter in dict.fromkeys(config.key for config in names.values()):
        own = sorted(name for name, config in names.items() if config.key == setter)
        listed = ", ".join(own[:5]) + (f" and {counted(len(own) - 5, 'other')}" if len(own) > 5 else "")
        yield (
            f"{text.format(names=listed, setter=setter)}; os.environ is one for all apps, so both run on the same "
            f"values; write them into env of each mount, as in [mounts.{quoted(mount.key)}.env], and read them at "
            'import, or serve one of the two from a process of its own: write process = "own"'
        )


def _extends(value: str, before: str | None) -> bool:
    """Whether *value* is a list of folders, as PATH is, that has all those of *before* and further ones."""
    return bool(before) and os.pathsep in value and {*str(before).split(os.pathsep)} <= {*value.split(os.pathsep)}


def _is_other_value(wanted: str | None, actual: str) -> bool:
    """Whether *wanted*, from a file, is not *actual*. A value with a ``$`` may be expanded and is not compared."""
    return wanted is not None and wanted != actual and "$" not in wanted


# ---------------------------------------------------------------------------------------------------------- recording


_uses: dict[int, EnvironmentUse] = {}  # by the thread that loads
_PlainEnviron: Any = type(os.environ)
_FILES = (__file__, os.getenv.__code__.co_filename, Mapping.get.__code__.co_filename)


class _RecordingEnviron(_PlainEnviron):  # type: ignore[misc]
    """``os.environ`` during a load. All reads by name go through ``__getitem__``, also those of `os.getenv`."""

    def __getitem__(self, key: Any) -> Any:
        use = _uses.get(threading.get_ident())
        try:
            value = super().__getitem__(key)
        except KeyError:
            if use:
                use.record_read(_name(key), has_value=False)
            raise
        if use:
            use.record_read(_name(key), has_value=True)
        return value

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        if use := _uses.get(threading.get_ident()):
            use.record_set(_name(key))

    def __iter__(self) -> Iterator[Any]:
        use = _uses.get(threading.get_ident())
        listed = use.record_listing() if use else None
        for key in super().__iter__():
            if listed is not None:
                listed.append(key)
            yield key

    def setdefault(self, key: Any, value: Any) -> Any:
        """Set *key* unless it is set. A variable that has this value already is not taken over."""
        use = _uses.get(threading.get_ident())
        with suppress(KeyError):
            if use and super().__getitem__(key) == value:
                use.read.add(_name(key))
                return value
        return super().setdefault(key, value)


def _calling_line() -> tuple[str, int]:
    """Return the file and the line of the code that reads a variable, outside of this module and of ``os``."""
    frame: FrameType | None = sys._getframe(1)
    while frame and frame.f_code.co_filename in _FILES:
        frame = frame.f_back
    return (frame.f_code.co_filename, frame.f_lineno) if frame else ("", 0)


def _name(key: str) -> str:
    return key.upper() if os.name == "nt" else key
