"""Loading one app changes nothing for the others: what of the process is put back after each load.

Put back is what an app sets for everybody and could have for itself: root logging (it has loggers of its own names),
the working folder (it has ``__file__``), the signals that are the server's. Left as the app has set it is what it can
only have for everybody, and would miss in its requests: ``os.environ``, umask, locale, time zone, the default
time-out of sockets, filters of warnings, the default decimal context, `logging.setLogRecordFactory`.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import signal
import sys
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

# Whose handlers would hurt the others: those of the server's own signals, and of SIGPIPE, whose default action, which
# scripts like to restore, ends the process when a client goes away. The rest is left: an app may have set a timer, and
# the default action of SIGALRM, SIGPROF and SIGVTALRM ends the process too.
_SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGBREAK", "SIGPIPE")
_HOST_LOGGERS = {"root", "mountpoint", "waitress"}
_UNCONFIGURED = {"level": logging.NOTSET, "handlers": [], "filters": [], "propagate": True, "disabled": False}
_OF_A_HANDLER = ("level", "formatter", "filters")
_INSTALLED = {"site-packages", "dist-packages"}


@contextmanager
def preserve_process_state(env: Mapping[str, str] | None = None) -> Iterator[None]:
    """Put back, after the body has loaded an app or has raised, what an app must not change for the others.

    *env* are variables that hold in ``os.environ`` meanwhile, and have their previous values afterwards. An app that
    reads one later, in a request, does not find it, and what else runs in the process meanwhile sees it. What the app
    itself puts into ``os.environ`` under other names stays.

    The root logger is as it was, and so is each logger that somebody had configured: who comes first keeps it. Loggers
    that nobody had configured keep what the app gave them, if its load succeeds. Changes that others make meanwhile,
    on other threads, are put back too.
    """
    with _logging_kept(), _folder_kept(), _signals_kept(), _environment(env or {}):
        yield


# ------------------------------------------------------------------------------------------------------------ logging


@contextmanager
def _logging_kept() -> Iterator[None]:
    """Put back the root logger, every configured logger with its handlers, and the ``disabled`` of all others.

    Of a load that raised, no configuration stays: it would count as somebody's at the next try.
    """
    loggers = {logger: _state(logger, _UNCONFIGURED) for logger in _loggers()}
    disabled_below = logging.root.manager.disable
    listed, named = logging._handlerList[:], dict(logging._handlers.items())  # type: ignore[attr-defined]
    alive = [handler for reference in listed if (handler := reference())]
    attached = [handler for logger in loggers for handler in logger.handlers]
    handlers = {handler: _state(handler, _OF_A_HANDLER) for handler in (*alive, *attached)}
    closes = {handler: vars(handler).get("close") for handler in handlers}
    for handler in handlers:
        # dictConfig closes every handler that there is, and basicConfig(force=True) those of the root. Many do not
        # open again: a file of mode "w", a MemoryHandler's target, whatever has a thread.
        vars(handler)["close"] = _stay_open
    failed = True
    try:
        yield
        failed = False
    finally:
        for handler, close in closes.items():
            if close is None:
                vars(handler).pop("close", None)
            else:
                vars(handler)["close"] = close
            _put_back(handler, handlers[handler])
        for logger in _loggers():
            before = loggers.get(logger, _UNCONFIGURED)
            if failed or before != _UNCONFIGURED or logger.name.partition(".")[0] in _HOST_LOGGERS:
                _put_back(logger, before)
            elif logger in loggers:
                logger.disabled = False
        # dictConfig forgets what there was, which would then not be flushed when the process ends.
        now = logging._handlerList  # type: ignore[attr-defined]
        now[:0] = [reference for reference in listed if reference not in now]
        logging._handlers.update(named)  # type: ignore[attr-defined]
        logging.disable(disabled_below)  # which also clears what loggers remember about levels


def _loggers() -> list[logging.Logger]:
    known = list(logging.root.manager.loggerDict.values())  # other threads may add some
    return [logging.root, *(logger for logger in known if isinstance(logger, logging.Logger))]


def _state(thing: object, names: Iterable[str]) -> dict[str, Any]:
    return {name: _copied(getattr(thing, name)) for name in names}


def _put_back(thing: object, state: Mapping[str, Any]) -> None:
    for name, value in state.items():
        setattr(thing, name, _copied(value))


def _copied(value: Any) -> Any:
    return value[:] if isinstance(value, list) else value


def _stay_open() -> None:
    """Stand in for the ``close`` of a handler that is not the app's."""


# ------------------------------------------------------------------------------------- folder, signals and environment


@contextmanager
def _folder_kept() -> Iterator[None]:
    before = None
    with suppress(OSError):  # the folder may have been deleted
        before = Path.cwd()
    try:
        yield
    finally:
        with suppress(OSError):  # deleted meanwhile: there is no way back
            if before is not None:
                os.chdir(before)


@contextmanager
def _signals_kept() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # where nobody can set a handler, the app neither
        yield
        return
    numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None is one that was not set from Python, nor can be.
            if handler is not None and signal.getsignal(number) != handler:
                signal.signal(number, handler)


@contextmanager
def _environment(env: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in env}
    try:
        os.environ.update(env)
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


# ------------------------------------------------------------------------------------------------------------- modules


# What failed loads have brought into ``sys.modules``: root, names, further files. One for the process, as that is.
_left_over: list[tuple[Path, set[str], tuple[str, ...]]] = []


def note_failed_load(root: Path, before: Collection[str], files: Iterable[str] = ()) -> None:
    """Note which modules a load that failed has brought, for `forget_failed_loads`.

    *before* are the names that were in ``sys.modules`` before it, *files* the source files that it has read besides:
    importlib itself has removed a module that raised.
    """
    _left_over.append((root, set(sys.modules) - set(before), tuple(files)))


def forget_failed_loads() -> None:
    """Remove from ``sys.modules`` what failed loads have brought from their roots; called before the next try.

    Not at the failure: a later mount that shares a module with the broken one would run it again, and one that
    registers something under a name cannot be run twice. Python's own modules and installed ones stay, below a root
    too, and their state with them: Django's ``setup`` and the registry of a metrics library remember a failed load
    until the process ends.
    """
    while _left_over:
        _forget(*_left_over.pop())
    importlib.invalidate_caches()


def _forget(root: Path, names: Iterable[str], files: Iterable[str]) -> None:
    places = {name: _places(sys.modules[name]) for name in names if name in sys.modules}
    own = {name: found for name, found in places.items() if any(_is_own(place, root) for place in found)}
    for name in own:
        module = sys.modules.pop(name)
        package, _, child = name.rpartition(".")
        parent = sys.modules.get(package)
        if getattr(parent, "__dict__", {}).get(child) is module:
            delattr(parent, child)  # "from package import child" looks here first
    for file in {place for found in own.values() for place in found} | {*files}:
        # Bytecode is told by the second and the size of its source: a fix of that size, in that second, is not seen.
        if file.endswith(".py") and _is_own(file, root):
            with suppress(OSError):
                Path(importlib.util.cache_from_source(file)).unlink()


def names_of(module: object) -> Mapping[str, Any]:
    """Return the names in *module*, without loading one that is lazy; none of what only stands for a module."""
    if not issubclass(type(module), ModuleType):
        return {}
    names: dict[str, Any] = object.__getattribute__(module, "__dict__")
    return names


def _places(module: ModuleType) -> list[str]:
    """Return the file of *module*, or the folders of a namespace package; nothing for what only stands for a module."""
    names = names_of(module)
    return [names["__file__"]] if names.get("__file__") else [*names.get("__path__", ())]


def _is_own(place: str, root: Path) -> bool:
    """Whether the file or folder *place* is below *root*, in either's spelling, and not of an installed package."""
    path, library = Path(place), Path(os.__file__).parent
    for file, folder in ((path.absolute(), root.absolute()), (path.resolve(), root.resolve())):
        if file.is_relative_to(folder):
            return not (_INSTALLED.intersection(file.relative_to(folder).parts) or _is_library(file, folder, library))
    return False


def _is_library(file: Path, folder: Path, library: Path) -> bool:
    return library.is_relative_to(folder) and file.is_relative_to(library)
