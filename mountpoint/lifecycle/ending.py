"""End the process: let Python end the threads and pools of apps and call their exit handlers, for a bounded time.

At its exit Python ends the idle threads of each `concurrent.futures` pool, waits for all threads that are not daemons,
and calls the handlers that `atexit` has registered. Any of these may hang.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import NoReturn

from ..loading.app_thread import running_app_threads
from ..loading.forking import end_processes
from ..loading.log_stream import drain_logs
from ..loading.places import root_of_thread
from .signals import SignalReceiver

MIN_SECONDS = 1.0  # for the threads and exit handlers of apps, even if requests have used up the time
_SOONEST = 0.2  # seconds in which a process ends whose apps do not run

logger = logging.getLogger("mountpoint")


def end_process(
    code: int, timeout: float, roots: Iterable[tuple[str, Path]] = (), *, is_quiet: bool = False
) -> NoReturn:
    """End the process with *code*, or with 1 if apps still run after *timeout* seconds or at another stop signal.

    *roots* are the key and the root of each mount, for the log. With *is_quiet* nothing is logged, and the code stays.
    """
    if threading.current_thread() is not threading.main_thread():
        sys.exit(code)
    ending = _Ending(code, roots, is_quiet)
    SignalReceiver(("SIGTERM", "SIGINT", "SIGBREAK"), lambda _: ending.cut_off()).install()
    timeout = max(timeout, _SOONEST)
    # Before the exit handler of multiprocessing, which waits for its processes without a limit.
    atexit.register(end_processes, min(timeout, MIN_SECONDS) / 2)
    _cancel_timers()
    atexit.register(ending.note_exit_handlers)  # the first that Python calls
    if not code and not is_quiet and running_app_threads():
        logger.info("waiting up to %g s for threads that apps have started", round(timeout, 1))
    _runners[:] = [_Runner(), _Runner()]  # for the exit handlers, and for `_flush`
    with suppress(RuntimeError):  # no thread can be started
        threading.Thread(target=ending.cut_off_after, args=(timeout,), name="mountpoint-end", daemon=True).start()
    sys.exit(code)


class _Ending:
    """Cuts off the threads and exit handlers of apps that do not end."""

    def __init__(self, code: int, roots: Iterable[tuple[str, Path]], is_quiet: bool) -> None:
        self._code = code if is_quiet else code or 1
        self._is_quiet = is_quiet
        self._keys: dict[Path, list[str]] = {}
        for key, root in roots:
            self._keys.setdefault(root, []).append(key)
        self._lock = threading.Lock()
        self._in_exit_handlers = False

    def note_exit_handlers(self) -> None:
        """Record that the threads have ended, and that Python calls the exit handlers."""
        self._in_exit_handlers = True

    def cut_off_after(self, seconds: float) -> None:
        """Cut off the apps in *seconds*."""
        time.sleep(seconds)
        self.cut_off()

    def cut_off(self) -> NoReturn:
        """End the process now, and log the reason."""
        self._lock.acquire()  # once
        description = "" if self._is_quiet else self._description()
        end_now(self._code, description, calls_exit_handlers=not self._in_exit_handlers)

    def _description(self) -> str:
        if self._in_exit_handlers:
            return "an exit handler of an app (atexit)"
        return f"threads that apps have started: {', '.join(map(self._named, running_app_threads()))}"

    def _named(self, thread: threading.Thread) -> str:
        root = root_of_thread(thread, self._keys)
        return f"{thread.name} ({', '.join(self._keys[root])})" if root else thread.name


def end_now(code: int, cut_off: str, *, calls_exit_handlers: bool = True) -> NoReturn:
    """End the process with *code*, from any thread, although something hangs. *cut_off* describes it for the log.

    The exit handlers of the other apps are called first, for up to `MIN_SECONDS`, unless Python calls them already.
    """
    if cut_off:
        logger.warning("cut off: %s", cut_off)
    if calls_exit_handlers:
        _run_bounded(atexit._run_exitfuncs)
    _run_bounded(_flush)
    drain_logs()
    os._exit(code)  # pragma: no cover - the process ends before it saves its coverage


def end_after(seconds: float) -> None:
    """End the process with 1 in *seconds*, whatever the other threads wait for."""

    def end() -> None:
        time.sleep(seconds)
        os._exit(1)

    try:
        threading.Thread(target=end, name="mountpoint-end", daemon=True).start()
    except RuntimeError:  # no thread can be started
        os._exit(1)


def end_by_signal(number: int) -> NoReturn:
    """End the process as the default action of the signal *number* does."""
    if os.getpid() != 1 and number != signal.SIGINT:  # the kernel drops the signal for process 1
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    end_process(128 + number, 0)


def _cancel_timers() -> None:
    """Cancel the timers of apps. Python restores the default actions at its exit, and SIGALRM would end the process."""
    if sys.platform != "win32":
        for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
            signal.setitimer(timer, 0)


def _flush() -> None:
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # an app has closed or replaced it
            stream.flush()


class _Runner:
    """A thread that waits for one function to call."""

    def __init__(self) -> None:
        self._functions: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._is_done = threading.Event()
        with suppress(RuntimeError):  # no thread can be started
            threading.Thread(target=self._run, name="mountpoint-exit", daemon=True).start()

    def call(self, function: Callable[[], object]) -> None:
        """Call *function*, and return when it has ended, or after `MIN_SECONDS`."""
        self._functions.put(function)
        self._is_done.wait(MIN_SECONDS)

    def _run(self) -> None:
        try:
            self._functions.get()()
        finally:
            self._is_done.set()


_runners: list[_Runner] = []  # that wait, because Python 3.12 starts no thread during its exit


def _run_bounded(function: Callable[[], object]) -> None:
    runner = _runners.pop() if _runners else _Runner()
    runner.call(function)
