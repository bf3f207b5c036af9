"""Children that apps fork: they get neither our signals nor our sockets, and end where the code of their app ends.

A forked child is a copy of the server. Without this module it would keep the port after the server has ended, ignore
SIGTERM until its loop reads a flag, and go on to serve once it leaves the app's code.

Python calls `_after_fork_in_child` in each child of ``os.fork``, of ``multiprocessing`` with its method ``fork``, and
of ``subprocess`` with a ``preexec_fn``. Other children run another program. That program gets no descriptor of the
server, and the kernel resets its signal handlers.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, NoReturn, Protocol

#: The number of forks between the first process and this one. Code that calls an app compares it before and after the
#: call: if it has grown, this is a child that has left the code of the app.
generation = 0

_SIGNALS: Final = ("SIGTERM", "SIGINT", "SIGBREAK", "SIGHUP", "SIGUSR1", "SIGUSR2")
_LOG_SECONDS: Final = 5  # that the last log line of a child may take
_before = threading.local()  # ``mask``: the signal mask of a thread that forks
_owners: list[weakref.ref[Owner]] = []

logger = logging.getLogger("mountpoint")


class Owner(Protocol):
    """An object with descriptors that forked children must not keep."""

    def close_in_child(self) -> object: ...


def close_in_children(owner: Owner) -> None:
    """Have each forked child call ``owner.close_in_child()``, for as long as *owner* exists.

    The child has a copy of the descriptors, and only one thread. A lock that another thread held stays locked in the
    child, so the method must take no lock.
    """
    _owners[:] = [reference for reference in _owners if reference() is not None]
    _owners.append(weakref.ref(owner))


@contextmanager
def ending_forked_children() -> Iterator[None]:
    """End a child that an app forks in the body of the ``with`` statement, once it leaves the body."""
    before = generation
    try:
        yield
    finally:
        if generation != before:  # pragma: no cover - the child ends before it saves its coverage
            end_child()


def end_child() -> NoReturn:  # pragma: no cover - the child ends before it saves its coverage
    """End this process, a child that has left the code of its app. Log the exception, if one made it leave."""
    error = sys.exception()
    try:
        if error is not None and not isinstance(error.__cause__ or error, SystemExit):
            _limit_time()
            logger.error("a child process that an app has forked ends: it has left the app's code", exc_info=error)
    finally:
        os._exit(1)


def end_processes(timeout: float) -> None:
    """End the processes of ``multiprocessing`` that apps have started and that are not daemons.

    Python would wait for each of them at exit, however long it runs. They have *timeout* seconds after SIGTERM in all.
    """
    multiprocessing: Any = sys.modules.get("multiprocessing.process")
    children = multiprocessing.active_children() if multiprocessing else []
    processes = [process for process in children if not process.daemon]
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + timeout
    for process in processes:
        process.join(max(deadline - time.monotonic(), 0))
        if process.is_alive():
            process.kill()


def _limit_time() -> None:  # pragma: no cover - the child ends before it saves its coverage
    """Let the kernel end this child if a log handler waits for a lock that a thread of the parent held."""
    if sys.platform != "win32":
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_LOG_SECONDS)


# ----------------------------------------------------------------------------------------------------- called by Python


def _before_fork() -> None:
    """Hold back signals until the child has reset its handlers: a SIGTERM in between would have no effect."""
    if sys.platform != "win32" and _owners:
        _before.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _numbers())


def _after_fork_in_parent() -> None:
    mask = vars(_before).pop("mask", None)
    if sys.platform != "win32" and mask is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _after_fork_in_child() -> None:
    global generation  # noqa: PLW0603 - one number for each process
    generation += 1
    owners, _owners[:] = [owner() for owner in _owners], []
    for owner in filter(None, owners):
        with suppress(Exception):  # an app has closed a descriptor
            owner.close_in_child()
    if sys.platform != "win32" and (mask := vars(_before).pop("mask", None)) is not None:
        _reset_handlers()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask - _numbers())


def _reset_handlers() -> None:
    """Give each signal that the server handles its default action."""
    for number in _numbers():
        module = getattr(signal.getsignal(number), "__module__", None) or ""
        if module.startswith("mountpoint."):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def _numbers() -> set[int]:
    return {getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)}


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
