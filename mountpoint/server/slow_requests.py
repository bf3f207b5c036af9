"""Report slow requests, with the stacks of their threads.

A request that runs longer than the ``slow_after`` of its mount is reported on the logger ``mountpoint.slow``: once
while it runs, and once when it ends. The reporter only observes. It takes the stacks from `sys._current_frames`, which
also shows the frames inside generators.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from typing import Any

from ..loading.log_fields import log_with_fields
from ..loading.places import is_package_code
from ..workers.processes import worker_stack
from .fair_queue import FairQueues, RunningRequest

logger = logging.getLogger("mountpoint.slow")
_main_logger = logging.getLogger("mountpoint")

_RETRY_SECONDS = 10.0


class SlowRequestReporter:
    """A thread that reports the slow requests of *queues*. It sleeps until the next request can have become slow."""

    def __init__(self, queues: FairQueues[Any]) -> None:
        self._queues = queues
        self._wakeup = threading.Event()
        self._is_stopped = False
        threading.Thread(target=self._run, name="mountpoint-slow", daemon=True).start()

    def reschedule(self) -> None:
        """Check again now, because a ``slow_after`` may have changed."""
        self._wakeup.set()

    def stop(self) -> None:
        """End the thread."""
        self._is_stopped = True
        self._wakeup.set()

    def _run(self) -> None:
        while not self._is_stopped:
            try:
                pause = self._report_slow()
            except Exception:  # such as a log handler that raises
                logger.exception("the check for slow requests failed; trying again in %g s", _RETRY_SECONDS)
                pause = _RETRY_SECONDS
            self._wakeup.wait(pause)
            self._wakeup.clear()

    def _report_slow(self) -> float | None:
        """Report the requests that are slow by now.

        Return the seconds until the next request can become slow, None if no mount reports slow requests.
        """
        pause = self._queues.min_slow_after()
        if not pause:
            return None
        now = time.monotonic()
        for thread, running in self._queues.running_requests():
            slow_after = running.queue.limits.slow_after
            if running.is_reported or not slow_after:
                continue
            left = running.started_at + slow_after - now
            if left > 0:
                pause = min(pause, left)
                continue
            stack = stack_of(thread)
            if self._queues.mark_reported(thread, running):  # else the stack may be that of the thread's next request
                log_with_fields(
                    logger,
                    logging.WARNING,
                    "%s: %s has run for %.1f s, and is at:\n%s",
                    running.queue.key or "-",
                    running.request.label,
                    now - running.started_at,
                    stack,
                    fields=running.request.log_fields,
                )
        return pause


def log_slow_end(running: RunningRequest[Any]) -> None:
    """Log the end of a request that was reported as slow."""
    seconds = time.monotonic() - running.started_at
    log_with_fields(
        logger,
        logging.WARNING,
        "%s: %s ended after %.1f s",
        running.queue.key or "-",
        running.request.label,
        seconds,
        fields=running.request.log_fields,
    )


def log_in_flight(queues: FairQueues[Any]) -> None:
    """Log every running request with the stack of its thread, and how many requests wait."""
    now = time.monotonic()
    stacks = [(thread, running, stack_of(thread)) for thread, running in queues.running_requests()]
    # A request may have ended in between, and its thread may have begun another one. Its stack is dropped.
    current = [(running, stack) for thread, running, stack in stacks if queues.running_request(thread) is running]
    lines = [f"{len(current)} requests in flight"]
    for running, stack in current:
        seconds = now - running.started_at
        lines += [f"{running.queue.key or '-'}: {running.request.label}, for {seconds:.1f} s, is at:", stack]
    lines += [f"{key or '-'}: {count} waiting" for key, count in queues.waiting_counts().items()]
    _main_logger.info("%s", "\n".join(lines))


def stack_of(thread: int) -> str:
    """Return the formatted stack of the thread with that identifier, from the first frame outside the server on.

    If the thread waits for a worker process, it is the stack of the thread there.
    """
    if (remote := worker_stack(thread)) is not None:
        return remote
    frame = sys._current_frames().get(thread)
    try:
        summary = traceback.extract_stack(frame) if frame else []
        del frame  # it would keep the app's local variables alive
        first = next((index for index, line in enumerate(summary) if not _is_server_code(line.filename)), 0)
        return "".join(traceback.format_list(summary[first:])).rstrip()
    except Exception as error:  # the code has the name of a file that no file can have, such as one with a NUL
        return f"(a stack that cannot be formatted: {error!r})"


def _is_server_code(filename: str) -> bool:
    is_waitress = "/waitress/" in filename.replace("\\", "/")
    return is_package_code(filename) or filename == threading.__file__ or is_waitress
