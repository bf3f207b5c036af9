"""Which idle thread is woken."""

import threading

from mountpoint.server.idle_threads import IdleThreads, wake


def idle(count):
    """Return idle threads, and the locks on which *count* threads wait, the first one for the longest time."""
    threads, locks = IdleThreads(), [threading.Lock() for _ in range(count)]
    for lock in locks:
        lock.acquire()
        threads.add(lock)
    return threads, locks


def test_the_thread_that_has_waited_for_the_shortest_time_is_woken():
    threads, locks = idle(3)
    wake(threads.next())
    assert [lock.locked() for lock in locks] == [True, True, False]


def test_no_thread_is_woken_while_one_is_waking():
    threads, locks = idle(3)
    threads.next()
    assert threads.next() is None
    threads.looks_for_work()
    assert threads.next() is locks[1]


def test_without_an_idle_thread_none_is_woken():
    threads, _ = idle(0)
    wake(threads.next())
    assert not threads
    threads.add(lock := threading.Lock())
    assert threads
    assert threads.next() is lock


def test_all_threads_can_be_woken_at_once():
    threads, locks = idle(3)
    threads.wake_all()
    assert not any(lock.locked() for lock in locks)
    assert not threads
