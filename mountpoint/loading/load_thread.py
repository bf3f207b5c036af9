"""Load apps in the main thread, while the threads that ask for them wait.

Python lets only the main thread set signal handlers, and gives only that thread an event loop. So an app that does
either at import loads only there. The main thread therefore runs the loads, at the start and at a reload. Other threads
decide what to load, and serve.

A load may hang, and Python cannot end a thread. While the main thread is in a load, other loads run in new threads. The
waiting thread can also give a load up: a signal then raises `GivenUp` in the code of the app. That does not help if the
load hangs in C code, or catches every exception.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType
from typing import Any, Generic, TypeVar

from .app_thread import AppThread

STUCK_SECONDS = 1.0  # for which a load that was given up may go on before it counts as stuck
_TICK = 0.25  # seconds between two calls of `on_wait`
_INTERRUPT = "SIGURG"  # by default it does nothing, so it is harmless under any handler

logger = logging.getLogger("mountpoint")
T = TypeVar("T")


class GivenUp(KeyboardInterrupt):
    """Ends a load that was given up. Like every KeyboardInterrupt, it does not count as a failure of the app."""


class Load(Generic[T]):
    """One load that has begun, of the mount with *key*.

    ``thread`` is the identifier of the thread that runs it, and ``started_at`` is from `time.monotonic`, in seconds.
    """

    def __init__(self, load: Callable[[], T], key: str) -> None:
        self.key = key
        self._load = load
        self._result: list[T] = []
        self._error: BaseException | None = None
        self.started_at = time.monotonic()
        self.thread: int | None = None
        self.is_given_up = False
        self.is_stuck = False  # whether it went on after it was given up
        self.done = threading.Event()

    def run(self) -> None:
        """Load, in this thread."""
        self.thread = threading.get_ident()
        try:
            self._result.append(self._load())
        except BaseException as error:
            self._error = error
        finally:
            self.done.set()

    def result(self) -> T:
        """Return the result of the load, which is done, or raise its exception."""
        if self._error is not None:
            raise self._error
        return self._result[0]


class LoadThread:
    """Runs loads in the thread that creates it and then calls `run`, which should be the main thread.

    *after_each* is called in that thread after each load.
    """

    def __init__(self, after_each: Callable[[], object] = lambda: None) -> None:
        self._after_each = after_each
        self._tasks: SimpleQueue[Load[Any] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._current: Load[Any] | None = None
        self._thread: int | None = threading.get_ident()  # None once `run` has returned
        self._handler: Callable[[int, FrameType | None], object] | None = None
        self._is_stopped = False

    # ------------------------------------------------------------------------------------------------- in its thread

    def run(self) -> None:
        """Run the loads that other threads ask for, until `stop`."""
        self._thread = threading.get_ident()
        try:
            with self._interruptible():
                while (load := self._tasks.get()) is not None:
                    self._run(load)
        finally:
            self._thread = None

    def _run(self, load: Load[Any]) -> None:
        try:
            load.run()
        except GivenUp:  # it came a moment after the end of the load
            load.done.set()
        self._after_each()
        with self._lock:
            self._current = None

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
            yield
            return
        number = getattr(signal, _INTERRUPT)
        self._handler = self._raise_if_given_up
        previous = signal.signal(number, self._handler)
        try:
            yield
        finally:
            self._handler = None
            signal.signal(number, previous)

    def _raise_if_given_up(self, number: int, frame: FrameType | None) -> None:
        load = self._current
        if load is not None and load.is_given_up and not load.done.is_set():
            raise GivenUp

    # ---------------------------------------------------------------------------------------------- in other threads

    def start(self, load: Callable[[], T], key: str = "") -> Load[T]:
        """Begin *load*, of the mount with *key*, and return it.

        It runs in the thread of `run`, or in a new one if that is in another load.
        """
        begun = Load(load, key)
        if self._claim(begun):
            self._tasks.put(begun)
        else:
            AppThread(target=begun.run, name="mountpoint-load").start()
        return begun

    def wait(self, load: Load[T], on_wait: Callable[[float], bool]) -> bool:
        """Wait until *load* is done. Meanwhile call *on_wait* a few times a second, with the seconds since its start.

        Return False if *on_wait* does: the load goes on then. An exception from *on_wait* gives the load up.
        """
        try:
            while not load.done.wait(_TICK):
                if not on_wait(time.monotonic() - load.started_at):
                    return False
        except BaseException:
            load.is_given_up = True
            self._interrupt(load)
            raise
        return True

    def give_up(self) -> None:
        """Give up the load that the thread of `run` is in. The next `start` interrupts it."""
        with self._lock:
            if self._current is not None:
                self._current.is_given_up = True

    def stop(self) -> bool:
        """Make `run` return, and give up the load that it runs. Return False if that load is stuck."""
        self._is_stopped = True
        self._tasks.put(None)
        with self._lock:
            load = self._current
        if load is None:
            return True
        load.is_given_up = True
        return self._interrupt(load)

    @property
    def current(self) -> Load[Any] | None:
        """The load that the thread of `run` is in, None if it waits for one."""
        return self._current

    def _claim(self, load: Load[T]) -> bool:
        """Reserve the thread for *load*; return False if it is in another load, or `run` has returned."""
        if self._is_stopped:
            raise GivenUp
        while True:
            with self._lock:
                if self._thread is None:
                    return False
                current = self._current
                if current is None:
                    self._current = load
                    return True
            if not current.done.is_set() and not (current.is_given_up and self._interrupt(current)):
                return False
            time.sleep(0.001)  # the thread is about to be free

    def _interrupt(self, load: Load[T]) -> bool:
        """Raise `GivenUp` in *load*, which was given up; return False if it does not end within `STUCK_SECONDS`."""
        if load.is_stuck:
            return load.done.is_set()
        deadline = time.monotonic() + STUCK_SECONDS
        while not load.done.wait(0.05) and time.monotonic() < deadline:
            # Repeatedly: a signal just before a system call does not interrupt the call.
            thread = load.thread
            if sys.platform != "win32" and self._handler is not None and thread is not None and thread == self._thread:
                number = getattr(signal, _INTERRUPT)
                if signal.getsignal(number) == self._handler:
                    signal.pthread_kill(thread, number)
        load.is_stuck = not load.done.is_set()
        return not load.is_stuck
