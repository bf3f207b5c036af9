"""Fair queues: each mount waits in a queue of its own, outside the threads, and those with work are served in turn.

With one queue for all, an app that is slow and busy takes every thread, and its siblings wait behind it. Here a mount
begins a request only while it has fewer running than there are threads free: one flooded mount gets half of the
threads, two get a third each, and of three or more one is left for the next. ``limit`` caps that. Of a mount,
``queue`` requests may wait; what comes beyond is refused at once, 503, since its client would have gone by its turn.

This is a task dispatcher for waitress: its ``add_task`` takes a channel, of which the first request is to be served.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

logger = logging.getLogger("mountpoint")


class Request(Protocol):
    """A request; ``title`` says which."""

    @property
    def title(self) -> str: ...


class Channel(Protocol):
    """What waits: a connection; ``service`` serves its first request, which ``reject`` has made a 503 before."""

    connected: bool

    @property
    def first(self) -> Request: ...
    def service(self) -> None: ...
    def reject(self) -> None: ...


C = TypeVar("C", bound=Channel)


class QueueLimits(NamedTuple):
    """What one mount may take: ``limit`` requests running at once, None for no cap, and ``queue`` waiting.

    One that runs for ``slow_after`` seconds is worth a report; 0 is never.
    """

    limit: int | None = None
    queue: int = 100
    slow_after: float = 10.0


class Queue(Generic[C]):
    """The requests of one mount that wait, each with its number, and how many of its requests run."""

    __slots__ = ("is_rejecting", "key", "limits", "running", "waiting")

    def __init__(self, key: str | None, limits: QueueLimits) -> None:
        self.key = key
        self.limits = limits
        self.waiting: deque[tuple[int, C]] = deque()
        self.running = 0
        self.is_rejecting = False  # whether it was said, since it was last empty, that it rejects


@dataclass(slots=True, eq=False)
class RunningRequest(Generic[C]):
    """A *request* that runs: in whose queue it was, on which connection, since when (`time.monotonic`).

    ``reported`` says whether it was reported as slow.
    """

    queue: Queue[C]
    channel: C
    request: Request
    since: float
    reported: bool = False


class FairQueues(Generic[C]):
    """*threads* threads, and a queue for each mount; what belongs to no mount, a 404 say, has a queue without a key.

    *classify* returns the key of the mount that the first request of a channel is for. *ended* is called when a request
    ends that was marked with `report`, in the thread that ran it.
    """

    def __init__(
        self,
        threads: int,
        classify: Callable[[C], str | None],
        ended: Callable[[RunningRequest[C]], object] = lambda run: None,
    ) -> None:
        self._threads = threads
        self._classify = classify
        self._ended = ended
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._idle = 0  # threads that wait, and that nobody has woken yet
        self._stopped = False
        self._number = 0  # of the latest request
        self._limits: Mapping[str, QueueLimits] = {}
        self._queues: dict[str | None, Queue[C]] = {}
        self._turns: deque[Queue[C]] = deque()  # those in which something waits; the first is the next
        self._rejected: list[tuple[Queue[C], C]] = []
        self._runs: dict[int, RunningRequest[C]] = {}  # by the identifier of the thread
        for number in range(threads):
            threading.Thread(target=self._serve, name=f"mountpoint-{number}", daemon=True).start()

    # ------------------------------------------------------------------------------------------- of the loop's thread

    def add_task(self, channel: C) -> None:
        """Enqueue the first request of *channel*, or keep it for `answer_rejected`. Calls no app and never blocks."""
        key = self._classify(channel)
        with self._lock:
            self._number += 1
            queue = self._queue(key)
            if self._is_full(queue, channel):
                self._drop_disconnected(queue)
                if self._is_full(queue, channel):
                    self._rejected.append((queue, channel))
                    return
            self._enqueue(queue, self._number, channel)
            if self._idle and self._free_slots(queue):
                self._wake()

    def answer_rejected(self) -> None:
        """Answer what was set aside. To be called between turns of the loop: in one, waitress holds locks.

        One of each connection: what a client has pipelined behind it is for the next turn, or one that pipelines much
        would keep the loop from all others.
        """
        with self._lock:
            rejected, self._rejected = self._rejected, []
        for queue, channel in rejected:
            try:
                if channel.connected and not queue.is_rejecting:
                    queue.is_rejecting = True
                    logger.warning(
                        "%s: refusing requests, 503: %d wait already (queue)", queue.key or "-", queue.limits.queue
                    )
                channel.reject()
                channel.service()
            except Exception:  # the others are to have their answers
                logger.exception("a request could not be refused")

    def reconfigure(self, limits: Mapping[str, QueueLimits]) -> None:
        """Let each mount have its share, by its key, from now on; and sort anew what waits."""
        with self._lock:
            waiting = sorted(item for queue in self._queues.values() for item in queue.waiting)
            self._limits = limits
            self._turns.clear()
            self._queues = {key: queue for key, queue in self._queues.items() if queue.running}
            for queue in self._queues.values():
                queue.waiting.clear()
                queue.limits = self._limits_of(queue.key)
            for number, channel in waiting:
                self._enqueue(self._queue(self._classify(channel)), number, channel)
            self._idle = 0
            self._work.notify_all()

    def stop(self) -> None:
        """Let the threads end; what runs is finished, what waits is not begun."""
        with self._lock:
            self._stopped = True
            self._turns.clear()
            self._work.notify_all()

    # ---------------------------------------------------------------------------------------------------- of any thread

    @property
    def is_busy(self) -> bool:
        """Whether anything runs or waits."""
        with self._lock:  # what is between waiting and running is neither
            return bool(self._runs or self._turns or self._rejected)

    def runs(self) -> Sequence[tuple[int, RunningRequest[C]]]:
        """Return what runs now, by the identifier of its thread, the oldest first."""
        with self._lock:
            return sorted(self._runs.items(), key=lambda item: item[1].since)

    def waiting(self) -> Mapping[str | None, int]:
        """Return how many requests wait, by the key of their mount."""
        with self._lock:
            return {queue.key: len(queue.waiting) for queue in self._turns}

    def is_current(self, thread: int, run: RunningRequest[C]) -> bool:
        """Whether *run* still runs in *thread*."""
        return self._runs.get(thread) is run

    def report(self, thread: int, run: RunningRequest[C]) -> bool:
        """Mark *run* as reported; return False if it has ended."""
        with self._lock:
            if not self.is_current(thread, run):
                return False
            run.reported = True
            return True

    def min_slow_after(self) -> float:
        """Return the shortest time, in seconds, after which a request is slow; 0 if none ever is."""
        return min((limits.slow_after for limits in self._limits.values() if limits.slow_after), default=0.0)

    # ---------------------------------------------------------------------------------- with the lock, or in a thread

    def _limits_of(self, key: str | None) -> QueueLimits:
        return self._limits.get(key, QueueLimits()) if key is not None else QueueLimits()

    def _queue(self, key: str | None) -> Queue[C]:
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = Queue(key, self._limits_of(key))
        return queue

    def _is_full(self, queue: Queue[C], channel: C) -> bool:
        """Whether *queue* has no place for a request of *channel*: all are taken, and it may not begin at once."""
        if len(queue.waiting) < queue.limits.queue + self._free_slots(queue):
            return False
        # An answer may have been read, and the next request of its connection be here, before its run has ended.
        ending = next((run for run in self._runs.values() if run.channel is channel), None)
        return len(queue.waiting) >= queue.limits.queue + self._free_slots(queue, ending)

    def _enqueue(self, queue: Queue[C], number: int, channel: C) -> None:
        queue.waiting.append((number, channel))
        if len(queue.waiting) == 1:
            self._turns.append(queue)

    def _drop_disconnected(self, queue: Queue[C]) -> None:
        """Take the requests of clients that have gone out of *queue*: they need no place, and no thread."""
        if gone := [channel for _, channel in queue.waiting if not channel.connected]:
            queue.waiting = deque(item for item in queue.waiting if item[1].connected)
            if not queue.waiting:
                self._turns.remove(queue)
            self._rejected += [(queue, channel) for channel in gone]

    def _free_slots(self, queue: Queue[C], ending: RunningRequest[C] | None = None) -> int:
        """Return how many requests of *queue* may begin now, or once *ending* has ended."""
        free, running = self._threads - len(self._runs), queue.running
        if ending is not None:
            free += 1
            running -= ending.queue is queue
        # The only mount has nobody to leave a thread to. Else each that begins is one more here and one less there.
        room = free if len(self._limits) < 2 else (free - running + 1) // 2
        limit = queue.limits.limit
        return max(room if limit is None else min(room, limit - running), 0)

    def _next(self) -> Queue[C] | None:
        """Return the queue whose turn it is, of those that may begin a request; None if none may."""
        for queue in self._turns:
            if self._free_slots(queue):
                return queue
        return None

    def _begin(self, thread: int) -> RunningRequest[C] | None:
        queue = self._next()
        if queue is None:
            return None
        _, channel = queue.waiting.popleft()
        self._turns.remove(queue)
        if queue.waiting:
            self._turns.append(queue)
        else:
            queue.is_rejecting = False
        queue.running += 1
        run = self._runs[thread] = RunningRequest(queue, channel, channel.first, time.monotonic())
        # An end makes room for two at times: one thread less is taken, and its own mount has one less.
        if self._turns and self._idle and self._next() is not None:
            self._wake()
        return run

    def _wake(self) -> None:
        self._idle -= 1
        self._work.notify()

    def _serve(self) -> None:
        thread = threading.get_ident()
        while (run := self._wait(thread)) is not None:
            _log_exceptions(run.channel.service)
            with self._lock:
                del self._runs[thread]
                run.queue.running -= 1
            if run.reported:
                _log_exceptions(self._ended, run)
            del run  # it would be kept for as long as nothing comes

    def _wait(self, thread: int) -> RunningRequest[C] | None:
        """Wait for a request to begin; return None when there will be none."""
        with self._lock:
            while (run := self._begin(thread)) is None:
                if self._stopped:
                    return None
                self._idle += 1
                self._work.wait()
            return run


def _log_exceptions(call: Callable[..., object], *arguments: object) -> None:
    """Call it; the thread is to outlive what it raises, and a log that cannot be written too."""
    try:
        call(*arguments)
    except BaseException:
        with suppress(BaseException):
            logger.exception("a request failed outside its app")
