"""Refuse monkey patching: a load must not replace the sockets, locks and threads of the whole process.

gevent and eventlet replace blocking functions of the standard library by cooperative ones. The server and its worker
threads use these functions too: SIGTERM would cut requests off, and one request that waits in C would stop all others.
Such a patch cannot be undone reliably, because other modules have copied the new functions by then. So it is prevented:
the functions that patch raise during a load.

A process that is patched before its first load, as by ``gunicorn -k gevent``, has chosen its server. Nothing is
refused there.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from ..errors import LoadError, causes
from .import_hooks import after_import

#: The modules that patch, and the beginnings of the names of their functions that do.
_PATCHERS = {"gevent.monkey": "patch_", "eventlet.patcher": "monkey_patch"}

#: Blocking functions and classes that the server itself relies on. Other libraries may wrap methods, as of Thread.
_BLOCKING = {
    "socket": ("socket",),
    "select": ("select", "poll", "epoll", "kqueue"),
    "selectors": ("DefaultSelector",),
    "time": ("sleep",),
    "os": ("fork",),
    "_thread": ("start_new_thread", "allocate_lock"),
    "threading": ("Thread", "Lock", "RLock", "Condition", "Event", "_start_new_thread", "_allocate_lock"),
    "queue": ("Queue", "SimpleQueue"),
}

_MISSING = object()

_REMEDY = 'serve this app from a process of its own: write process = "own"'


class PatchingRefused(Exception):
    """Raised by a function that would patch the standard library, during a load."""


class _Loads:
    """The number of loads that run in this process."""

    running = 0


@contextmanager
def refuse_patching() -> Iterator[None]:
    """Run the body, which loads an app, and raise `LoadError` if it patches the standard library.

    The functions of gevent and eventlet that patch raise `PatchingRefused`. If other code has replaced a blocking
    function, the original is restored.
    """
    if _is_patched():
        yield
        return
    before = _blocking_functions()
    _Loads.running += 1
    try:
        with after_import(dict.fromkeys(_PATCHERS, _guard)):
            yield
    except LoadError as error:
        _restore(before)
        if refused := _refusal_in(error):
            raise LoadError(str(refused), files=error.files) from None
        raise
    finally:
        _Loads.running -= 1
    if replaced := _restore(before):
        raise LoadError(
            f"the app replaces {', '.join(replaced)} for the whole process, also for its siblings and the server; "
            f"remove the replacement, or {_REMEDY}"
        )


def _guard(module: ModuleType) -> None:
    """Make the functions of *module* that patch raise during a load. Outside of loads they work."""
    beginning = _PATCHERS[module.__name__]
    for name, function in [*vars(module).items()]:
        if name.startswith(beginning) and callable(function) and not hasattr(function, "is_guarded_by_mountpoint"):
            setattr(module, name, _guarded(function, f"{module.__name__.partition('.')[0]}'s {name}()"))


def _guarded(function: Callable[..., Any], description: str) -> Callable[..., Any]:
    @functools.wraps(function)
    def patch(*args: Any, **kwargs: Any) -> Any:
        if not _Loads.running:
            return function(*args, **kwargs)
        caller = sys._getframe(1)
        raise PatchingRefused(
            f"line {caller.f_lineno} of {caller.f_code.co_filename} calls {description}, which would replace the "
            f"sockets, locks and threads of all apps and of the server; remove the call, or {_REMEDY}"
        )

    vars(patch)["is_guarded_by_mountpoint"] = True
    return patch


def _refusal_in(error: BaseException) -> PatchingRefused | None:
    """Return the refusal from which *error* was raised, or None."""
    return next((cause for cause in causes(error) if isinstance(cause, PatchingRefused)), None)


def _is_patched() -> bool:
    """Whether gevent or eventlet has patched this process."""
    monkey, patcher = (sys.modules.get(name) for name in _PATCHERS)
    is_anything_patched = getattr(monkey, "is_anything_patched", None)
    return bool((is_anything_patched and is_anything_patched()) or getattr(patcher, "already_patched", None))


def _blocking_functions() -> dict[tuple[str, str], Any]:
    """Return the blocking functions by module and name. ``_MISSING`` stands for those that the system does not have."""
    return {
        (module, name): getattr(sys.modules[module], name, _MISSING)
        for module, names in _BLOCKING.items()
        if module in sys.modules
        for name in names
    }


def _restore(before: dict[tuple[str, str], Any]) -> list[str]:
    """Restore the functions in *before* that were replaced, and return their names."""
    replaced = []
    for (module, name), function in before.items():
        owner = sys.modules.get(module)
        if owner is not None and getattr(owner, name, _MISSING) is not function:
            replaced.append(f"{module}.{name}")
            if function is _MISSING:
                delattr(owner, name)
            else:
                setattr(owner, name, function)
    return replaced
