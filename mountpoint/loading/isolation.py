"""Keep the load of one app from changing the process for the other apps.

Changes to three things are reverted after each load, because an app can do without them: the root logger (an app can
configure loggers of its own names), the working directory (an app can use ``__file__``), and the handlers and the mask
of the server's signals.

Other changes stay, because an app may need them in its requests and the process has no second copy of the state:
``os.environ``, umask, locale, time zone, the default socket timeout, warning filters, the default decimal context and
`logging.setLogRecordFactory`.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from .overlap import Overlap

# The server's own signals, and SIGPIPE: scripts like to restore its default action, which ends the process when a
# client disconnects. Other signals stay as the app sets them: it may have started a timer, and the default action of
# SIGALRM, SIGPROF and SIGVTALRM ends the process too.
SERVER_SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGBREAK", "SIGPIPE")
_SERVER_LOGGERS = {"root", "mountpoint", "waitress"}  # with all loggers below them
_UNCONFIGURED_LOGGER = {"level": logging.NOTSET, "handlers": [], "filters": [], "propagate": True, "disabled": False}
_HANDLER_ATTRIBUTES = ("level", "formatter", "filters")

K = TypeVar("K")
V = TypeVar("V")

# The state that the loads which run now have found.
_loggers = Overlap[tuple[Mapping[logging.Logger, Mapping[str, Any]], int]]()
_handlers = Overlap[Mapping[logging.Handler, tuple[Mapping[str, Any], Any]]]()
_folders = Overlap[Path | None]()
_variables = Overlap[Mapping[str, str | None]]()
_arguments = Overlap[list[str]]()


@contextmanager
def preserve_process_state(env: Mapping[str, str] | None = None, program: str | None = None) -> Iterator[None]:
    """Run the body, which loads an app, and restore the state that the app must not change for others.

    The state is restored whether the body returns or raises:

    - The root logger, and every logger that was configured before. A logger that was not configured keeps the
      configuration of the first app that sets it, if the load succeeds.
    - The working directory.
    - The handlers of the server's signals, on the main thread. No other thread can set them.
    - Which of these signals are blocked, on the thread that runs the body. A blocked SIGTERM would not stop the server.
    - The environment variables *env*, which are set during the body only. An app that reads one later, in a request,
      finds the previous value. Variables of other names stay as the app sets them.
    - ``sys.argv``, which has only *program* during the body. An app that parses its arguments would take the options of
      the server for its own, print its usage and exit.

    All of this is global to the process. Other threads see the changes while the body runs, and a change that another
    thread makes during that time is reverted too. Loads may overlap: see `mountpoint.loading.overlap`.
    """
    with (
        _preserve_logging(),
        _preserve_working_directory(),
        _preserve_signal_mask(),  # around the handlers: a pending signal then reaches the server's handler
        _preserve_signals(),
        _temporary_environment(env or {}),
        _temporary_arguments(program),
    ):
        yield


# ------------------------------------------------------------------------------------------------------------ logging


@contextmanager
def _preserve_logging() -> Iterator[None]:
    """Restore the loggers that were configured, and enable all others again.

    If the body raises, every logger is restored. Otherwise, at the next try, a logger that this app configured would
    count as one that another app has configured.
    """
    before = {logger: _snapshot(logger, _UNCONFIGURED_LOGGER) for logger in _existing_loggers()}
    load = _loggers.begin((before, logging.root.manager.disable))
    succeeded = False
    with _preserve_handlers(handler for logger in before for handler in logger.handlers):
        try:
            yield
            succeeded = True
        finally:
            earliest, disabled_level = _loggers.end(load)[0]
            for logger in _existing_loggers():
                state = earliest.get(logger, _UNCONFIGURED_LOGGER)
                is_server_logger = logger.name.partition(".")[0] in _SERVER_LOGGERS
                if is_server_logger or state != _UNCONFIGURED_LOGGER:
                    _restore(logger, state)
                elif not succeeded:
                    _restore(logger, before.get(logger, _UNCONFIGURED_LOGGER))
                elif logger in before:
                    logger.disabled = False  # dictConfig() disables all existing loggers unless told otherwise
            logging.disable(disabled_level)  # this also clears the levels that loggers have cached


@contextmanager
def _preserve_handlers(attached: Iterable[logging.Handler]) -> Iterator[None]:
    """Keep every handler open and restore its settings. *attached* are the handlers of all loggers.

    ``dictConfig()`` closes every handler of the process, and ``basicConfig(force=True)`` those of the root logger.
    Many handlers cannot be reopened without a loss: a file with mode "w" is truncated, a MemoryHandler loses its
    target, and a handler with a thread loses the thread. So ``close()`` does nothing during the body.
    """
    listed = logging._handlerList[:]  # type: ignore[attr-defined]  # weak references, in the order of creation
    # items() holds a reference to each handler. dict() of the WeakValueDictionary itself would list the names first
    # and then look each of them up, which raises KeyError if the garbage collector removes a handler in between.
    named = dict(logging._handlers.items())  # type: ignore[attr-defined]
    alive = [handler for reference in listed if (handler := reference())]
    found = dict.fromkeys((*alive, *attached))
    load = _handlers.begin({one: (_snapshot(one, _HANDLER_ATTRIBUTES), vars(one).get("close")) for one in found})
    for handler in found:
        vars(handler)["close"] = _ignore_close
    try:
        yield
    finally:
        for handler, (settings, close) in _merged(_handlers.end(load)).items():
            if close is None:
                vars(handler).pop("close", None)
            else:
                vars(handler)["close"] = close
            _restore(handler, settings)
        # dictConfig() clears both collections, but logging flushes only listed handlers when the process exits.
        now = logging._handlerList  # type: ignore[attr-defined]
        now[:0] = [reference for reference in listed if reference not in now]
        logging._handlers.update(named)  # type: ignore[attr-defined]


def _existing_loggers() -> list[logging.Logger]:
    known = list(logging.root.manager.loggerDict.values())  # a copy: other threads may add loggers
    return [logging.root, *(logger for logger in known if isinstance(logger, logging.Logger))]


def _snapshot(target: object, names: Iterable[str]) -> dict[str, Any]:
    return {name: _copy_if_list(getattr(target, name)) for name in names}


def _restore(target: object, state: Mapping[str, Any]) -> None:
    for name, value in state.items():
        setattr(target, name, _copy_if_list(value))


def _copy_if_list(value: Any) -> Any:
    return value[:] if isinstance(value, list) else value


def _ignore_close() -> None:
    """Do nothing, in place of the ``close`` of a handler while an app is loaded."""


# ----------------------------------------------------------- working directory, signals, environment and arguments


@contextmanager
def _preserve_working_directory() -> Iterator[None]:
    before = None
    with suppress(OSError):  # the directory may be deleted already
        before = Path.cwd()
    load = _folders.begin(before)
    try:
        yield
    finally:
        before = _folders.end(load)[0]
        if before is not None:
            with suppress(OSError):  # the directory may have been deleted during the body
                os.chdir(before)


@contextmanager
def _preserve_signals() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # neither the app nor we can set a handler here
        yield
        return
    numbers = [getattr(signal, name) for name in SERVER_SIGNALS if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None stands for a handler that was set in C, and that Python cannot restore.
            if handler is not None and signal.getsignal(number) != handler:
                signal.signal(number, handler)


@contextmanager
def _preserve_signal_mask() -> Iterator[None]:
    if sys.platform == "win32":  # which has no masks
        yield
        return
    numbers = {getattr(signal, name) for name in SERVER_SIGNALS if hasattr(signal, name)}
    blocked = numbers & signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers - blocked)


@contextmanager
def _temporary_environment(env: Mapping[str, str]) -> Iterator[None]:
    load = _variables.begin({name: os.environ.get(name) for name in env})
    try:
        os.environ.update(env)
        yield
    finally:
        for name, value in _merged(_variables.end(load)).items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _temporary_arguments(program: str | None) -> Iterator[None]:
    load = _arguments.begin(sys.argv)
    if program is not None:
        sys.argv = [program]
    try:
        yield
    finally:
        sys.argv = _arguments.end(load)[0]


def _merged(states: Sequence[Mapping[K, V]]) -> dict[K, V]:
    """Return the value of each key in the first of *states* that has it."""
    return {key: value for state in reversed(states) for key, value in state.items()}
