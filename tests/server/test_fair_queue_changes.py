"""Fair queues alone: new limits, failures, reports of slow requests, and the stop."""

import gc
import threading
import weakref

import pytest
from support.queues import Connection, Pool
from support.waiting import TIMEOUT, wait_until

from mountpoint.server.fair_queue import Queue, QueueLimits

# ----------------------------------------------------------------------------------------------------------- new limits


def test_a_higher_limit_starts_waiting_requests_at_once(make_pool):
    pool = make_pool(8, a=QueueLimits(limit=1), b=QueueLimits())
    pool.add("a", 5)
    pool.reconfigure(a=QueueLimits(limit=3), b=QueueLimits())
    assert pool.counts() == {"a": 3}
    pool.reconfigure(a=QueueLimits())
    assert pool.counts() == {"a": 5}


def test_a_lower_limit_stops_no_running_request(make_pool):
    pool = make_pool(8, a=QueueLimits(), b=QueueLimits())
    pool.add("a", 9)
    pool.reconfigure(a=QueueLimits(limit=1), b=QueueLimits())
    assert pool.counts() == {"a": 4}
    pool.end(*pool.running()[:3])
    assert pool.counts() == {"a": 1}
    pool.end(*pool.running())
    assert pool.counts() == {"a": 1}


def test_waiting_requests_are_classified_again_in_order_of_arrival(make_pool):
    pool = make_pool(1, a=QueueLimits(), b=QueueLimits())
    (running,) = pool.add("b")
    mixed = [pool.add(key)[0] for key in ("a", "b", "a", "b")]
    for connection in mixed:
        connection.key = "new"
    pool.reconfigure(new=QueueLimits())
    assert pool.queues.waiting_counts() == {"new": 4}
    served = []
    while running:
        pool.end(running)
        (running,) = pool.running() or [None]
        served.append(running)
    assert served == [*mixed, None]


def test_a_shorter_queue_rejects_no_request_that_waits_already(make_pool):
    pool = make_pool(1, a=QueueLimits(queue=5), b=QueueLimits())
    added = pool.add("a", 6)
    pool.reconfigure(a=QueueLimits(queue=1), b=QueueLimits())
    pool.queues.answer_rejected()
    (late,) = pool.add("a")
    pool.queues.answer_rejected()
    assert late.is_rejected
    assert not any(connection.is_rejected for connection in added)


def test_a_removed_mount_finishes_its_requests_and_leaves_no_queue(make_pool):
    pool = make_pool(2, removed=QueueLimits(), b=QueueLimits())
    (running,) = pool.add("removed")
    pool.reconfigure(b=QueueLimits())
    pool.end(running)
    pool.reconfigure(b=QueueLimits())

    def is_forgotten():
        gc.collect()
        return not any(type(each) is Queue and each.key == "removed" for each in gc.get_objects())

    wait_until(is_forgotten)


# ------------------------------------------------------------------------------------------------------------- failures


@pytest.mark.parametrize("raised", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError])
def test_an_exception_of_a_request_costs_neither_thread_nor_slot(make_pool, caplog, raised):
    pool = make_pool(2, a=QueueLimits(limit=1), b=QueueLimits())
    for _ in range(5):
        pool.end(*pool.add("a", raised=raised("on purpose")))
    assert caplog.messages == ["a request failed outside its app"] * 5
    assert pool.add("a")[0].served
    assert pool.add("b")[0].served
    assert pool.counts() == {"a": 1, "b": 1}


def test_a_failing_report_of_an_end_costs_no_thread(make_pool, caplog):
    def fail(running):
        raise RuntimeError("on purpose")

    pool = make_pool(1, on_reported_end=fail, a=QueueLimits())
    for count in range(1, 4):
        (connection,) = pool.add("a")
        assert pool.queues.mark_reported(*pool.queues.running_requests()[0])
        pool.end(connection)
        wait_until(lambda count=count: caplog.messages == ["a request failed outside its app"] * count)


def test_an_ended_request_is_not_kept_in_memory(make_pool):
    pool = make_pool(1, a=QueueLimits())
    connection = weakref.ref(pool.add("a")[0])
    pool.end(*pool.running())
    pool.connections.clear()

    def is_forgotten():
        gc.collect()
        return connection() is None

    wait_until(is_forgotten)


# -------------------------------------------------------------------------------------------------------------- reports


def test_the_end_of_a_reported_request_is_reported_in_its_thread(make_pool):
    ended = []
    pool = make_pool(
        2,
        on_reported_end=lambda running: ended.append((threading.get_ident(), running)),
        a=QueueLimits(),
        b=QueueLimits(),
    )
    one, other = *pool.add("a"), *pool.add("b")
    (thread, running), _ = pool.queues.running_requests()
    assert running.channel is one
    assert pool.queues.running_request(thread) is running
    assert pool.queues.mark_reported(thread, running)
    pool.end(one, other)
    wait_until(lambda: ended)
    assert ended == [(thread, running)]
    assert running.is_reported
    assert pool.queues.running_request(thread) is not running
    assert not pool.queues.mark_reported(thread, running)


def test_the_next_request_of_a_thread_is_told_from_the_last_one(make_pool):
    pool = make_pool(1, a=QueueLimits())
    first, second = pool.add("a", 2)
    ((thread, running),) = pool.queues.running_requests()
    pool.end(first)
    assert pool.running() == [second]
    assert pool.queues.running_request(thread) is not running
    assert not pool.queues.mark_reported(thread, running)


def test_running_requests_are_listed_the_oldest_first(make_pool):
    pool = make_pool(8, a=QueueLimits())
    added = [pool.add("a")[0] for _ in range(5)]
    assert pool.running() == added


@pytest.mark.parametrize(("times", "shortest"), [([], 0), ([0, 0], 0), ([5, 0, 2], 2), ([10], 10)])
def test_the_shortest_slow_after_ignores_mounts_without_reports(make_pool, times, shortest):
    pool = make_pool(1, **{f"m{number}": QueueLimits(slow_after=seconds) for number, seconds in enumerate(times)})
    assert pool.queues.min_slow_after() == shortest


# ------------------------------------------------------------------------------------------------ busy, and the stop


def test_it_is_busy_while_a_request_runs_or_waits(make_pool):
    pool = make_pool(1, a=QueueLimits())
    assert not pool.queues.is_busy
    first, second = pool.add("a", 2)
    pool.end(first)
    assert pool.queues.is_busy
    pool.end(second)
    assert not pool.queues.is_busy


def test_a_waiting_request_makes_it_busy_though_none_runs():
    queues = Pool(0).queues
    assert not queues.is_busy
    queues.add_task(Connection("a"))
    assert queues.is_busy


def test_a_stop_ends_the_threads_and_starts_no_waiting_request():
    before = set(threading.enumerate())
    pool = Pool(3, a=QueueLimits(limit=1), b=QueueLimits())
    threads = set(threading.enumerate()) - before
    running, waiting = pool.add("a", 2)
    pool.queues.stop()
    wait_until(lambda: sum(thread.is_alive() for thread in threads) == 1)
    pool.close()
    for thread in threads:
        thread.join(TIMEOUT)
        assert not thread.is_alive()
    assert (running.served, waiting.served) == (1, 0)
