"""Keep the signal handlers of an app from raising exceptions into the code of others.

Python calls a signal handler in the main thread, whatever that thread does. A handler that raises ends the code that it
interrupts. While the app loads, that is its own code. Afterwards it is the server, or the load of another app.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

_LOG_SECONDS = 10.0  # between two log lines of one handler
_TRIES = 100  # to guard handlers, while one of them interrupts that

logger = logging.getLogger("mountpoint")


@contextmanager
def guarded_handlers() -> Iterator[None]:
    """Run the body, which loads an app. From its end on, the handlers that it has set log their exceptions instead."""
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for _ in range(_TRIES):
                with suppress(BaseException):  # from a handler that is not guarded yet
                    _guard_handlers()
                    break


def _guard_handlers() -> None:
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        if callable(handler) and not isinstance(handler, _Guard) and not _is_known(handler):
            signal.signal(number, _Guard(handler))


class _Guard:
    """A signal handler of an app. It logs the exceptions of the handler, because they would end the main thread.

    A timer may call it many times a second, also while it logs. So it logs one exception in `_LOG_SECONDS`.
    """

    def __init__(self, handler: Callable[[int, FrameType | None], object]) -> None:
        self._handler = handler
        self._next_log = 0.0  # a `time.monotonic`, in seconds

    def __call__(self, number: int, frame: FrameType | None) -> None:
        try:
            self._handler(number, frame)
        except BaseException:
            if time.monotonic() < self._next_log:
                return
            self._next_log = time.monotonic() + _LOG_SECONDS
            with suppress(BaseException):
                logger.exception("the handler of an app for %s raised; continuing", signal.Signals(number).name)


def _is_known(handler: Any) -> bool:
    """Whether *handler* is Python's, or one of this package."""
    module = getattr(handler, "__module__", None) or ""
    return handler is signal.default_int_handler or module.startswith("mountpoint.")
