"""What a stuck app looks like: where its requests are, by the stacks of their threads.

A request that runs for longer than its mount's ``slow_after`` is reported on ``mountpoint.slow``: once while it runs,
and once at its end. Nothing is done to it, and nothing is kept of it: `sys._current_frames` says where each thread is,
inside generators too.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from .fair_queue import FairQueues, RunningRequest

logger = logging.getLogger("mountpoint.slow")
_main_logger = logging.getLogger("mountpoint")

_OURS = str(Path(__file__).parent.parent / "_")[:-1]  # with its slash: a neighbour may be named alike


class SlowWatch:
    """A thread that reports what runs for long in *queues*. It sleeps until the next request can have become slow."""

    def __init__(self, queues: FairQueues[Any]) -> None:
        self._queues = queues
        self._news = threading.Event()
        self._stopped = False
        threading.Thread(target=self._watch, name="mountpoint-slow", daemon=True).start()

    def look_again(self) -> None:
        """Take notice that the times have changed."""
        self._news.set()

    def stop(self) -> None:
        """Let the thread end."""
        self._stopped = True
        self._news.set()

    def _watch(self) -> None:
        while not self._stopped:
            try:
                pause = self._look()
            except Exception:  # a log's handler, say: the next look may be luckier
                logger.exception("the watch for slow requests failed")
                pause = 10.0
            self._news.wait(pause)
            self._news.clear()

    def _look(self) -> float | None:
        """Report what is slow by now; return the seconds until something can be, None if nothing ever is."""
        soonest = self._queues.min_slow_after()
        if not soonest:
            return None
        now = time.monotonic()
        for thread, run in self._queues.runs():
            slow_after = run.queue.limits.slow_after
            if run.reported or not slow_after:
                continue
            left = run.since + slow_after - now
            if left > 0:
                soonest = min(soonest, left)
                continue
            stack = stack_of(thread)
            if self._queues.report(thread, run):  # else it has ended, and these may be the frames of the next
                logger.warning(
                    "%s: %s has run for %.1f s, and is at:\n%s",
                    run.queue.key or "-",
                    run.request.title,
                    now - run.since,
                    stack,
                )
        return soonest


def log_slow_end(run: RunningRequest[Any]) -> None:
    """Log the end of *run*, which was reported."""
    logger.warning("%s: %s ended after %.1f s", run.queue.key or "-", run.request.title, time.monotonic() - run.since)


def log_in_flight(queues: FairQueues[Any]) -> None:
    """Log every request in flight with the stack of its thread, and how many wait."""
    now = time.monotonic()
    found = [(run, stack_of(thread), thread) for thread, run in queues.runs()]
    runs = [(run, stack) for run, stack, thread in found if queues.is_current(thread, run)]
    lines = [f"{len(runs)} requests in flight"]
    for run, stack in runs:
        lines += [f"{run.queue.key or '-'}: {run.request.title}, for {now - run.since:.1f} s, is at:", stack]
    lines += [f"{key or '-'}: {count} waiting" for key, count in queues.waiting().items()]
    _main_logger.info("%s", "\n".join(lines))


def stack_of(thread: int) -> str:
    """Return where *thread*, an identifier, is: its stack from the first frame that is not the server's."""
    frame = sys._current_frames().get(thread)
    summary = traceback.extract_stack(frame) if frame else []
    del frame  # it would keep what the app has in its variables
    own = next((place for place, line in enumerate(summary) if not _is_host(line.filename)), 0)
    return "".join(traceback.format_list(summary[own:])).rstrip()


def _is_host(filename: str) -> bool:
    return filename.startswith(_OURS) or filename == threading.__file__ or "/waitress/" in filename.replace("\\", "/")
