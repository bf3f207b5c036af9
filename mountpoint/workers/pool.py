"""The workers of one mount: choose one for each request, replace them, and restart those that have died.

The mount has ``workers`` places. A place has a worker, and while that one is replaced, its successor: the successor is
ready before the worker ends. A worker that dies is restarted after a pause, which doubles with each further death.

One thread supervises all pools and calls `supervise`. The threads that serve requests call `acquire` and `release`.
"""

from __future__ import annotations

import sys

assert sys.platform != "win32"  # `processes` imports this module elsewhere only

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from ..config.reader import MountConfig
from ..errors import LoadError
from ..loading.app_facts import AppFacts
from .worker import Worker, WorkerConnection

FIRST_PAUSE = 0.1  # seconds between the death of a worker and its restart
LAST_PAUSE = 30.0
STEADY_SECONDS = 30.0  # of service, after which the next death counts as the first
WAIT_SECONDS = 10.0  # for which a request waits for a worker while none is ready
_MEMORY_SECONDS = 1.0  # between two looks at the memory of the workers
_STACK_SECONDS = 0.5  # for which a worker that does not start may report where it is
_SPREAD = 0.1  # of ``max_requests``, so that the workers of a mount are not replaced together

logger = logging.getLogger("mountpoint")


class NoWorker(Exception):
    """No worker of the mount is ready, or all are busy for too long."""


class _Place:
    """A place for one worker of the mount."""

    def __init__(self) -> None:
        self.worker: Worker | None = None
        self.successor: Worker | None = None
        self.has_served = False  # whether the latest worker was ready
        self.deaths = 0  # in a row
        self.start_at = 0.0  # from `time.monotonic`: the next worker may start

    def pause(self, now: float) -> float:
        """Postpone the next start; return for how many seconds."""
        seconds: float = min(FIRST_PAUSE * 2 ** min(self.deaths, 20), LAST_PAUSE)
        self.deaths += 1
        self.start_at = now + seconds
        return seconds


class Pool:
    """The workers of *mount*. *environ* is the environment of the server. *wake* wakes the supervising thread.

    With *is_trial* a worker that ends is not restarted, and nothing about the workers is logged.
    """

    def __init__(
        self, mount: MountConfig, environ: Mapping[str, str], wake: Callable[[], object], *, is_trial: bool = False
    ) -> None:
        assert mount.own is not None
        self.mount = mount
        self._own = mount.own
        self._environ = environ
        self._wake = wake
        self.is_trial = is_trial
        self._lock = threading.Lock()
        self._condition = threading.Condition(self._lock)
        self._waiting = 0  # threads that wait for the condition
        self._places = [_Place() for _ in range(self._own.workers)]
        self._retired: list[Worker] = []
        self._error: LoadError | None = None  # of the latest worker that did not start
        self._logged_error = ""
        self._has_served = False  # whether a worker was ready once
        self._starts = 0
        self._is_closed = self._is_urgent = False
        self._closed_at = 0.0  # from `time.monotonic`: from then on the workers take no requests
        self._memory_at = 0.0
        self._outcome = threading.Event()  # the first worker is ready, or has failed to start

    # ---------------------------------------------------------------------------------------- for the serving threads

    def acquire(self) -> WorkerConnection:
        """Return a connection to the worker with the fewest requests. Raises `NoWorker` if none is free in time."""
        deadline = 0.0
        with self._lock:
            while True:
                worker = self._least_busy()
                if worker is not None:
                    with suppress(OSError):
                        return self._connection(worker)
                    worker.accepts = False  # it has ended, or hangs
                    self._wake()
                    continue
                now = time.monotonic()
                deadline = deadline or now + WAIT_SECONDS
                if now >= deadline or not self._is_coming():
                    raise NoWorker
                self._waiting += 1
                self._condition.wait(deadline - now)
                self._waiting -= 1

    def release(self, connection: WorkerConnection, *, reusable: bool) -> None:
        """Give *connection* back. It is closed unless it is *reusable*: the response on it was complete."""
        worker = connection.worker
        with self._lock:
            worker.in_flight -= 1
            if reusable and not connection.has_expired and not worker.has_ended and not worker.kill_at:
                worker.idle.append(connection)
            else:
                worker.connections.discard(connection)
                connection.shut_down()
                connection.close()
            if self._waiting:
                self._condition.notify()
        if worker.kill_at:
            self._wake()

    def report_broken(self, worker: Worker, reason: str) -> None:
        """End a worker that has violated the protocol."""
        worker.kill(reason)
        self._wake()

    def report_gone(self, worker: Worker) -> None:
        """Hand no more requests to a worker that has closed a connection."""
        with self._condition:
            worker.expect_end()
        self._wake()

    def _least_busy(self) -> Worker | None:
        chosen, least = None, self._own.threads
        for place in self._places:
            worker = place.worker
            if worker is not None and worker.accepts and worker.in_flight < least:
                chosen, least = worker, worker.in_flight
        return chosen

    def _connection(self, worker: Worker) -> WorkerConnection:
        connection = worker.idle.pop() if worker.idle else worker.connect()
        worker.in_flight += 1
        worker.assigned += 1
        if worker.assigned == worker.max_requests:
            self._wake()
        return connection

    def _is_coming(self) -> bool:
        """Whether a request may wait: a worker is busy, or one starts soon where a worker served."""
        busy = any(place.worker is not None and place.worker.accepts for place in self._places)
        if busy or self._is_closed or self.is_trial:
            return busy
        soon = time.monotonic() + WAIT_SECONDS
        return any(place.has_served and place.start_at < soon for place in self._places)

    # ------------------------------------------------------------------------------------- for the supervising thread

    @property
    def workers(self) -> list[Worker]:
        """All workers that have not ended."""
        found = [*self._retired]
        for place in self._places:
            found += [worker for worker in (place.worker, place.successor) if worker is not None]
        return found

    @property
    def tick(self) -> float:
        """The seconds until the next call of `supervise`, at most."""
        now = time.monotonic()
        if any(worker.is_changing for worker in self.workers):
            return 0.05
        places = [place for place in self._places if place.worker is None and not (self.is_trial and place.deaths)]
        starts = [place.start_at - now for place in places]
        if starts:
            return min(max(min(starts), 0.05), 1.0)
        timeout = self._own.timeout
        return min(max(timeout / 4, 0.05), 1.0) if timeout else 1.0

    @property
    def is_over(self) -> bool:
        """Whether the pool is closed, and all of its workers have ended."""
        return self._is_closed and not self.workers

    def close(self, seconds: float = 0.0, *, is_urgent: bool = False) -> None:
        """Serve the requests in flight, start no further worker, and end all. Called in any thread.

        For *seconds* more the workers take requests: a thread of the server may be about to forward one. With
        *is_urgent* the workers are killed.
        """
        if not self._is_closed:
            self._closed_at = time.monotonic() + seconds
        self._is_urgent = is_urgent
        self._is_closed = True
        self._wake()

    def wait(self, seconds: float) -> bool:
        """Wait up to *seconds*; return whether the first worker is ready, or has failed to start."""
        return self._outcome.wait(seconds)

    @property
    def error(self) -> LoadError | None:
        """Why no worker starts, None if one was ready."""
        return None if self._has_served else self._error

    @property
    def start_error(self) -> LoadError | None:
        """Why the latest worker did not start, None if one has become ready since."""
        return self._error if self._logged_error else None

    @property
    def restarts(self) -> int:
        """How many workers have started beside the first one of each place."""
        return max(self._starts - len(self._places), 0)

    @property
    def facts(self) -> AppFacts | None:
        """The facts about the app that a worker has found."""
        return next((worker.facts for worker in self.workers if worker.facts), None)

    def have_all_started(self) -> bool:
        """Return whether every worker is ready. Raises `LoadError` if one did not become ready, or has died."""
        if self._is_closed:
            raise LoadError("the server is stopping")
        if self._error is not None:
            raise self._error
        if any(place.deaths for place in self._places):
            raise LoadError("a worker died as soon as it was ready")
        return all(place.worker is not None and place.worker.is_ready for place in self._places)

    def end_trial(self) -> None:
        """Restart workers that end, and log their lives, from now on."""
        self.is_trial = False
        for worker in self.workers:
            worker.announce()

    def supervise(self) -> None:
        """Do what is due: start, replace and end workers."""
        now = time.monotonic()
        for place in self._places:
            self._supervise_place(place, now)
        for worker in self._retired:
            if self._is_urgent:
                worker.kill("the server ends")
            with self._lock:
                worker.expire(now)
            self._has_ended(worker)
            worker.stop_if_idle()
        self._retired = [worker for worker in self._retired if not worker.has_ended]
        if now >= self._memory_at:
            self._memory_at = now + _MEMORY_SECONDS

    def _has_ended(self, worker: Worker) -> bool:
        if not worker.poll():
            return False
        with self._condition:
            worker.close_idle()
        return True

    def _supervise_place(self, place: _Place, now: float) -> None:
        if self._is_closed:
            if now >= self._closed_at:
                self._empty(place)
            return
        self._supervise_successor(place, now)
        worker = place.worker
        if worker is None:
            if place.successor is None and now >= place.start_at and not (self.is_trial and place.deaths):
                place.worker = self._start(place, now)
            return
        if self._has_ended(worker):
            self._bury(place, worker, now)
            return
        if not worker.is_ready:
            self._check_start(worker, now)
            return
        self._has_served = place.has_served = True
        self._outcome.set()
        self._logged_error = ""
        with self._condition:
            self._condition.notify_all()
        if place.deaths and now - worker.ready_at > STEADY_SECONDS:
            place.deaths = 0
        if reason := self._reason_to_replace(place, worker, now):
            if not worker.reason:
                worker.reason = reason
                logger.info("%s: worker %d is replaced: %s", self.mount.key, worker.pid, reason)
            if place.successor is None and now >= place.start_at:
                place.successor = self._start(place, now)

    def _reason_to_replace(self, place: _Place, worker: Worker, now: float) -> str:
        own = self._own
        with self._lock:  # a response that ends now is complete, or its connection is given up
            if worker.expire(now):
                worker.retire(f"a request took longer than {own.timeout:g} s")
        if worker.reason:
            return worker.reason
        if own.max_requests and worker.assigned >= worker.max_requests:
            return f"it has served {worker.assigned} requests"
        if own.max_memory and now >= self._memory_at and (used := worker.resident_bytes()) > own.max_memory:
            return f"its memory is {used >> 20} MiB"
        return ""

    def _supervise_successor(self, place: _Place, now: float) -> None:
        successor, worker = place.successor, place.worker
        if successor is None:
            return
        if self._has_ended(successor):
            place.successor = None
            self._note_failure(successor)
            place.pause(now)
            if worker is not None and worker.kill_at:  # it takes no requests: nothing is gained by waiting
                self._retired.append(worker)
                place.worker = None
        elif not successor.is_ready:
            self._check_start(successor, now)
        else:
            with self._condition:
                place.worker, place.successor = successor, None
                place.deaths = 0
                if worker is not None:
                    worker.retire(worker.reason)
                    self._retired.append(worker)
                self._condition.notify_all()

    def _start(self, place: _Place, now: float) -> Worker | None:
        self._starts += 1
        try:
            worker = Worker(self.mount, self._environ, is_quiet=self.is_trial)
        except LoadError as error:
            self._note_error(error)
            place.pause(now)
            return None
        limit = self._own.max_requests
        worker.max_requests = max(round(limit * random.uniform(1 - _SPREAD, 1)), 1)  # noqa: S311 - not for security
        return worker

    def _check_start(self, worker: Worker, now: float) -> None:
        limit = self._own.start_timeout
        if not limit or now - worker.started_at <= limit:
            return
        if not worker.reason:
            worker.reason = f"not ready after {limit:g} s"
            worker.ask_where_it_loads()
        elif worker.load_stack or now - worker.started_at > limit + _STACK_SECONDS:
            message = f"its worker was not ready after start_timeout, {limit:g} s"
            details = f"it is loading, at:\n{worker.load_stack}" if worker.load_stack else ""
            worker.error = worker.error or LoadError(message, details=details)
            worker.kill(worker.reason)

    def _bury(self, place: _Place, worker: Worker, now: float) -> None:
        """Restart a worker that has ended by itself."""
        with self._condition:
            place.worker = None
            self._condition.notify_all()
        if worker.is_ready and now - worker.ready_at > STEADY_SECONDS:
            place.deaths = 0
        seconds = place.pause(now)
        if place.successor is not None:
            return
        if not worker.is_ready:
            place.has_served = False
            self._note_failure(worker)
        if not self.is_trial:
            logger.info("%s: another worker starts in %.1f s", self.mount.key, seconds)

    def _note_failure(self, worker: Worker) -> None:
        self._note_error(worker.start_error())

    def _note_error(self, error: LoadError) -> None:
        self._error = error
        self._outcome.set()
        with self._condition:
            self._condition.notify_all()
        if self.is_trial:
            return
        text = f"{error}\n{error.details}".rstrip()
        if text == self._logged_error:
            text = f"{error} (as before)"
        else:
            self._logged_error = text
        logger.error("%s is broken: %s", self.mount.key, text)

    def _empty(self, place: _Place) -> None:
        with self._condition:
            found, place.worker, place.successor = (place.worker, place.successor), None, None
            self._condition.notify_all()
        for worker in found:
            if worker is not None:
                worker.retire("it is no longer needed")
                self._retired.append(worker)
