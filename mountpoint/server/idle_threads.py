"""The threads of a pool that wait for work, and the one to wake next.

Python runs one thread at a time. If each request of a burst woke a thread, most of these threads would find that a
thread which had just finished another request was faster, and the process would spend its time on switches. So:

- One thread is woken at a time. It takes a request, and then wakes the next thread if more requests may start.
- It is the one that has waited for the shortest time, because its memory is still in the processor's caches.
- Each thread waits on a lock of its own. The waker releases it without the lock of the queues, for which the woken
  thread would wait again at once.
"""

from __future__ import annotations

import threading


class IdleThreads:
    """The idle threads, each as the lock on which it waits. Call the methods with the lock of the queues."""

    def __init__(self) -> None:
        self._locks: list[threading.Lock] = []  # of the threads that were not woken, the latest last
        self._is_waking = False  # whether a thread was woken and has not looked for work since

    def __bool__(self) -> bool:
        """Whether a thread waits."""
        return bool(self._locks)

    def add(self, lock: threading.Lock) -> None:
        """Add a thread, which is about to acquire *lock*."""
        self._locks.append(lock)

    def next(self) -> threading.Lock | None:
        """Return the lock of the thread to wake, None without an idle thread, or if one is waking already.

        The caller gives it to `wake`, without the lock of the queues. The thread calls `looks_for_work`.
        """
        if self._is_waking or not self._locks:
            return None
        self._is_waking = True
        return self._locks.pop()

    def looks_for_work(self) -> None:
        """Note that the thread that was woken is awake."""
        self._is_waking = False

    def wake_all(self) -> None:
        while self._locks:
            self._locks.pop().release()


def wake(lock: threading.Lock | None) -> None:
    """Wake the thread of *lock*, which `IdleThreads.next` has returned."""
    if lock is not None:
        lock.release()
