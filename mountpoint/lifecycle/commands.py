"""Run a command that loads apps, such as ``check``, so that no app keeps it from ending.

The main thread loads the apps, and the command runs in another thread (see `mountpoint.loading.load_thread`). If the
main thread is stuck in a load, the command goes on without it and ends the process.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from ..loading.app_thread import AppThread, running_app_threads
from ..loading.forking import end_processes
from ..loading.load_thread import GivenUp, LoadThread
from .ending import MIN_SECONDS, end_process

T = TypeVar("T")


def run_loading_command(command: Callable[[LoadThread], T], finish: Callable[[T], int]) -> int:
    """Return the exit code from *finish*, which gets the result of *command*. Raises the exceptions of both.

    *command* gets the thread that loads apps. If that thread is stuck, if threads of apps still run, or if apps have
    registered exit handlers, this function does not return: the process ends with the exit code.
    """
    exit_handlers = atexit._ncallbacks()
    thread = LoadThread()
    outcomes: list[Any] = []

    def run() -> None:
        try:
            outcomes.append(command(thread))
        except BaseException as error:
            outcomes.append(error)
        if not thread.stop():
            _end_stuck(outcomes[0], finish)

    AppThread(target=run, name="mountpoint-command").start()
    thread.run()
    try:
        if isinstance(outcomes[0], BaseException):
            raise outcomes[0]
        code = finish(outcomes[0])
    finally:
        end_processes(MIN_SECONDS)
    if running_app_threads() or atexit._ncallbacks() > exit_handlers:
        sys.stdout.flush()
        end_process(code, MIN_SECONDS, is_quiet=True)
    return code


def _end_stuck(outcome: Any, finish: Callable[[Any], int]) -> None:  # pragma: no cover - see os._exit at its end
    """End the process from another thread than the main one, which does not return from the load of an app."""
    code = 1
    try:
        if not isinstance(outcome, BaseException):
            code = finish(outcome)
        elif not isinstance(outcome, GivenUp):
            sys.stderr.write(f"{outcome}\n")
            code = 2
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        end_processes(MIN_SECONDS)
    finally:
        os._exit(code)
