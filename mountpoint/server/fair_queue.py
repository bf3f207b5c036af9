"""Fair queues: every mount has a queue of its own, and a fixed pool of threads serves the queues in turn.

With one queue for all requests, a mount that is slow and busy occupies every thread, and the other mounts starve.
Here each mount can occupy only part of the threads. Three rules decide when a request starts, and a fourth bounds the
wait:

**Admission.** A queue may start a request while fewer of its own requests run than threads are free. A mount under
flood therefore settles at half of the threads, two such mounts at a third each, and from three on one thread stays free
for the next mount. With 8 threads: 4, 3 + 3, 2 + 2 + 2. ``limit`` caps this further. If the table has only one mount,
that mount may use every thread. The queue of the requests that no mount owns follows the same rule.

**Spare threads.** Admission alone lets four mounts that hang take all 8 threads: 4 + 2 + 1 + 1. So there are spare
threads, one fewer than *threads*. They serve only mounts of which no request runs, and only in exchange for slow
requests: those that have run for `PATIENCE` seconds. Fewer than *threads* requests that are not slow run when a spare
thread starts one.

If fewer mounts hang than there are *threads*, every other mount is served after `PATIENCE`. Proof: while *threads*
requests or more run, a mount can start only its first request. So when a mount last started a second request, at most
*threads* were running. Let T be *threads*, and let H < T mounts hang. They occupy at most T threads at that moment, and
the H - 1 others take at most one more each: T + H - 1 <= 2 T - 2 threads. There are 2 T - 1. The last one is free for
the mounts that do not hang, one request of a mount at a time, as soon as the hanging requests count as slow. A pool of
one thread has none to spare, so requests never overlap. T mounts that hang can occupy every thread.

**Order.** A free thread takes the queue that has used the least time of threads, among those that may start a request.
A queue is charged for each of its requests with the seconds that it runs, at least `MIN_CHARGE` and at most `PATIENCE`.
A queue that was empty keeps at most `MAX_CREDIT` of its advantage over the queue that was served last. So a mount with
few and short requests does not wait for a round of the flooded mounts, and no queue waits forever: the charges of the
others grow past its own. Queues with equal charges are served round-robin. Within a queue requests are served first in,
first out.

**Rejection.** A queue holds as many requests as it may start at once, plus ``queue`` more. A request beyond that is
rejected at once with 503, because its client would have given up by the time of its turn.

`FairQueues` is a task dispatcher for waitress, which calls `FairQueues.add_task` with each channel whose first request
is complete.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Generic, NamedTuple, Protocol, TypeVar

from ..loading.app_thread import AppThread
from .idle_threads import IdleThreads, wake

PATIENCE = 1.0  # seconds after which a running request counts as slow, and a spare thread may start another one
MIN_CHARGE = 0.001  # seconds
MAX_CREDIT = 0.1  # seconds

logger = logging.getLogger("mountpoint")


class QueuedRequest(Protocol):
    """A request, with a ``label`` for logs, its method and path, and with the fields of their records."""

    @property
    def label(self) -> str: ...
    @property
    def log_fields(self) -> Mapping[str, object]: ...


class QueuedChannel(Protocol):
    """A connection whose first request waits.

    ``service`` runs that request. After ``reject`` it writes a 503 instead; *is_at_limit* says whether the ``limit`` of
    the mount is the cause. ``resume`` has the next request read. If it may wait for that, no other request runs or
    waits.
    """

    connected: bool

    @property
    def first_request(self) -> QueuedRequest: ...
    def service(self) -> None: ...
    def resume(self, may_wait: bool) -> None: ...
    def reject(self, is_at_limit: bool) -> None: ...


C = TypeVar("C", bound=QueuedChannel)


class QueueLimits(NamedTuple):
    """The limits of one mount.

    ``limit``       how many of its requests may run at once, None for no cap of its own, 0 while it cannot run any
    ``queue``       how many more may wait
    ``slow_after``  the seconds after which a running request is reported as slow, 0 for never
    """

    limit: int | None = None
    queue: int = 100
    slow_after: float = 10.0


class Queue(Generic[C]):
    """The waiting requests of one mount, each with its arrival number, and the count of its running requests."""

    __slots__ = ("charge", "is_rejecting", "key", "limits", "running", "waiting")

    def __init__(self, key: str | None, limits: QueueLimits) -> None:
        self.key = key
        self.limits = limits
        self.waiting: deque[tuple[int, C]] = deque()
        self.running = 0
        self.charge = 0.0  # seconds of threads
        self.is_rejecting = False  # True from the logged warning until the queue is empty again

    @property
    def is_at_limit(self) -> bool:
        """Whether the mount's own ``limit`` keeps its next request from starting."""
        return self.limits.limit is not None and 0 < self.limits.limit <= self.running


class RunningRequest(Generic[C]):
    """A request that a thread runs. ``started_at`` is a `time.monotonic`, in seconds."""

    __slots__ = ("channel", "is_reported", "queue", "request", "started_at")

    def __init__(self, queue: Queue[C], channel: C, request: QueuedRequest, started_at: float) -> None:
        self.queue = queue
        self.channel = channel
        self.request = request
        self.started_at = started_at
        self.is_reported = False  # as slow


class FairQueues(Generic[C]):
    """A pool of *threads* threads with one spare thread fewer, and a queue for each mount.

    *classify* returns the key of the mount that owns the first request of a channel. Requests that no mount owns, which
    get a 404, share one queue whose key is None. *on_reported_end* is called with each request that `mark_reported` has
    marked, when it ends, in the thread that ran it. *clock* returns seconds, as `time.monotonic` does.
    """

    def __init__(
        self,
        threads: int,
        classify: Callable[[C], str | None],
        on_reported_end: Callable[[RunningRequest[C]], object] = lambda running: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threads = threads
        self._max_running = max(2 * threads - 1, 0)
        self._clock = clock
        self._classify = classify
        self._on_reported_end = on_reported_end
        self._lock = threading.Lock()
        self._idle = IdleThreads()
        self._is_stopped = False
        self._arrivals = itertools.count()
        self._limits: Mapping[str, QueueLimits] = {}
        self._queues: dict[str | None, Queue[C]] = {}
        self._backlogged: deque[Queue[C]] = deque()  # the queues with waiting requests, round-robin for equal charges
        self._last_charge = 0.0  # the greatest charge with which a queue was served
        self._rejected: list[tuple[Queue[C], C]] = []
        self._running: dict[int, RunningRequest[C]] = {}  # by thread identifier
        self._pool: set[int] = set()  # thread identifiers
        for number in range(self._max_running):  # the spare threads too: a start could fail when they are needed
            AppThread(target=self._serve, name=f"mountpoint-{number}").start()

    # ------------------------------------------------------------------------------------------- in the loop's thread

    def add_task(self, channel: C) -> bool:
        """Enqueue the first request of *channel*, or keep it for `answer_rejected`. Calls no app and never blocks.

        Return whether the loop need not call `answer_rejected`.
        """
        key = self._classify(channel)
        with self._lock:
            queue = self._queue(key)
            if self._is_full(queue, channel):
                self._drop_disconnected(queue)
                if self._is_full(queue, channel):
                    self._rejected.append((queue, channel))
                    return False
            self._enqueue(queue, next(self._arrivals), channel)
            # A thread of the pool calls this only when it is about to take its next request.
            is_own = threading.get_ident() in self._pool
            woken = self._idle.next() if not is_own and self._idle and self._free_slots(queue) else None
        wake(woken)
        return not self._rejected

    def answer_rejected(self) -> None:
        """Write a 503 for each rejected request. Call it between iterations: within one, waitress holds locks.

        Each call answers one request of a connection. The requests that its client has pipelined behind it wait for the
        next call. Otherwise one client that pipelines many requests would block the loop for all others.
        """
        if not self._rejected:
            return
        with self._lock:
            rejected, self._rejected = self._rejected, []
        for queue, channel in rejected:
            try:
                if channel.connected and not queue.is_rejecting:
                    queue.is_rejecting = True
                    key, length = queue.key or "-", queue.limits.queue
                    logger.warning("%s: rejecting requests with 503: the queue is full (queue = %d)", key, length)
                channel.reject(queue.is_at_limit)
                channel.service()
                channel.resume(False)
            except Exception:  # the next channels still get their responses
                logger.exception("a rejected request could not be answered")

    def use_spare_threads(self) -> None:
        """Start the requests that may start because others have become slow. Call it about once a second."""
        if not self._backlogged:
            return
        with self._lock:
            woken = self._idle.next() if self._next_queue() is not None else None
        wake(woken)

    def reconfigure(self, limits: Mapping[str, QueueLimits]) -> None:
        """Set the limits of every mount, by its key, and classify the waiting requests again."""
        with self._lock:
            waiting = sorted(item for queue in self._queues.values() for item in queue.waiting)
            self._limits = limits
            self._backlogged.clear()
            self._queues = {key: queue for key, queue in self._queues.items() if queue.running}
            for queue in self._queues.values():
                queue.waiting.clear()
                queue.limits = self._limits_of(queue.key)
            for arrival, channel in waiting:
                self._enqueue(self._queue(self._classify(channel)), arrival, channel)
            self._idle.wake_all()

    def stop(self) -> None:
        """End the threads. Running requests finish; waiting requests do not start."""
        with self._lock:
            self._is_stopped = True
            self._backlogged.clear()
            self._idle.wake_all()

    # ---------------------------------------------------------------------------------------------------- in any thread

    @property
    def is_quiet(self) -> bool:
        """Whether a thread is idle, one request runs at most, and none waits. All of that may change at once."""
        return len(self._running) <= 1 and not self._backlogged and bool(self._idle)

    @property
    def is_busy(self) -> bool:
        """Whether a request runs, waits, or is rejected and not yet answered."""
        with self._lock:  # without it, a request on its way from waiting to running would be missed
            return bool(self._running or self._backlogged or self._rejected)

    def running_requests(self) -> Sequence[tuple[int, RunningRequest[C]]]:
        """Return the running requests with the identifiers of their threads, the oldest first. Takes no lock."""
        return sorted(self._running.copy().items(), key=lambda item: item[1].started_at)  # a copy is atomic

    def waiting_counts(self) -> Mapping[str | None, int]:
        """Return how many requests wait, by the key of their mount; mounts without any are left out. Takes no lock."""
        return {queue.key: len(queue.waiting) for queue in self._queues.copy().values() if queue.waiting}

    def running_request(self, thread: int) -> RunningRequest[C] | None:
        """Return the request that *thread* runs. Takes no lock."""
        return self._running.get(thread)

    def mark_reported(self, thread: int, running: RunningRequest[C]) -> bool:
        """Mark *running* as reported; return False if it has ended."""
        with self._lock:
            if self._running.get(thread) is not running:
                return False
            running.is_reported = True
            return True

    def min_slow_after(self) -> float:
        """Return the shortest ``slow_after`` of all mounts, in seconds; 0 if every mount has it switched off."""
        return min((limits.slow_after for limits in self._limits.values() if limits.slow_after), default=0.0)

    # ------------------------------------------------------------------------------------ private, called with the lock

    def _limits_of(self, key: str | None) -> QueueLimits:
        return self._limits.get(key, QueueLimits()) if key is not None else QueueLimits()

    def _queue(self, key: str | None) -> Queue[C]:
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = Queue(key, self._limits_of(key))
        return queue

    def _is_full(self, queue: Queue[C], channel: C) -> bool:
        """Whether *queue* must reject a request of *channel*."""
        if len(queue.waiting) < queue.limits.queue or len(queue.waiting) < queue.limits.queue + self._free_slots(queue):
            return False
        # A client may have read its response and sent its next request before the thread has finished the first.
        ending = next((running for running in self._running.values() if running.channel is channel), None)
        return len(queue.waiting) >= queue.limits.queue + self._free_slots(queue, ending)

    def _enqueue(self, queue: Queue[C], arrival: int, channel: C) -> None:
        queue.waiting.append((arrival, channel))
        if len(queue.waiting) == 1:
            queue.charge = max(queue.charge, self._last_charge - MAX_CREDIT)
            self._backlogged.append(queue)

    def _drop_disconnected(self, queue: Queue[C]) -> None:
        """Remove the requests of disconnected clients from *queue*, so that they take neither place nor thread."""
        if disconnected := [channel for _, channel in queue.waiting if not channel.connected]:
            queue.waiting = deque(item for item in queue.waiting if item[1].connected)
            if not queue.waiting:
                self._backlogged.remove(queue)
            self._rejected += [(queue, channel) for channel in disconnected]

    def _free_slots(self, queue: Queue[C], ending: RunningRequest[C] | None = None) -> int:
        """Return how many requests *queue* may start now, or as soon as *ending* has ended."""
        free, running = self._threads - len(self._running), queue.running
        if ending is not None:
            free += 1
            running -= ending.queue is queue
        # The largest n with running + n - 1 < free - (n - 1): each start adds one to the first and takes one from the
        # second. A single mount may start as many as threads are free.
        slots = free if len(self._limits) < 2 else (free - running + 1) // 2
        if slots <= 0 and not running:
            slots = int(self._may_use_spare_thread(ending))
        limit = queue.limits.limit
        return max(slots if limit is None else min(slots, limit - running), 0)

    def _may_use_spare_thread(self, ending: RunningRequest[C] | None = None) -> bool:
        """Whether a spare thread may start a request now, or as soon as *ending* has ended."""
        others = [running for running in self._running.values() if running is not ending]
        slow_since = self._clock() - PATIENCE
        quick = sum(running.started_at > slow_since for running in others)
        return len(others) < self._max_running and quick < self._threads

    def _next_queue(self) -> Queue[C] | None:
        """Return the queue with the least charge that may start a request, or None."""
        if len(self._running) >= self._threads and not self._may_use_spare_thread():
            return None
        return min(filter(self._free_slots, self._backlogged), key=lambda queue: queue.charge, default=None)

    def _start_next(self, thread: int) -> RunningRequest[C] | None:
        queue = self._next_queue()
        if queue is None:
            return None
        _, channel = queue.waiting.popleft()
        self._backlogged.remove(queue)
        if queue.waiting:
            self._backlogged.append(queue)
        else:
            queue.is_rejecting = False
        self._last_charge = max(self._last_charge, queue.charge)
        queue.charge += MIN_CHARGE
        queue.running += 1
        running = RunningRequest(queue, channel, channel.first_request, self._clock())
        self._running[thread] = running
        return running

    # ---------------------------------------------------------------------------------------- private, in a pool thread

    def _serve(self) -> None:
        thread, wake_up = threading.get_ident(), threading.Lock()
        wake_up.acquire()
        self._pool.add(thread)
        while (running := self._wait_for_request(thread, wake_up)) is not None:
            _log_exceptions(running.channel.service)
            with self._lock:
                del self._running[thread]
                running.queue.running -= 1
                seconds = min(self._clock() - running.started_at, PATIENCE)
                running.queue.charge += max(seconds - MIN_CHARGE, 0)  # `_start_next` has charged the minimum
            if running.is_reported:
                _log_exceptions(self._on_reported_end, running)
            _log_exceptions(running.channel.resume, self.is_quiet)
            del running  # an idle thread must not keep the last request alive

    def _wait_for_request(self, thread: int, wake_up: threading.Lock) -> RunningRequest[C] | None:
        """Wait until a request can start; return None once the queues are stopped. The thread waits on *wake_up*."""
        was_woken = False
        while True:
            with self._lock:
                if was_woken:
                    self._idle.looks_for_work()
                running = self._start_next(thread)
                has_more = running and self._backlogged and self._idle and self._next_queue() is not None
                woken = self._idle.next() if has_more else None
                if running is None and self._is_stopped:
                    return None
                if running is None:
                    self._idle.add(wake_up)
            wake(woken)
            if running:
                return running
            wake_up.acquire()
            was_woken = True


def _log_exceptions(call: Callable[..., object], *arguments: object) -> None:
    """Call *call*. The thread survives every exception, also that of a log handler that fails."""
    try:
        call(*arguments)
    except BaseException:
        with suppress(BaseException):
            logger.exception("a request failed outside its app")
