"""Fair queues alone: new limits, failures, reports of slow requests, and the stop."""

import gc
import threading
import weakref

import pytest
from support.queues import Connection, Pool
from support.waiting import TIMEOUT, wait_until

from mountpoint.server.fair_queue import Queue, QueueLimits

# ----------------------------------------------------------------------------------------------------------- new limits


def test_a_higher_limit_starts_waiting_requests_at_once(pool):
    place = pool(8, a=QueueLimits(limit=1), b=QueueLimits())
    place.add("a", 5)
    place.reconfigure(a=QueueLimits(limit=3), b=QueueLimits())
    assert place.counts() == {"a": 3}
    place.reconfigure(a=QueueLimits())
    assert place.counts() == {"a": 5}


def test_a_lower_limit_stops_no_running_request(pool):
    place = pool(8, a=QueueLimits(), b=QueueLimits())
    place.add("a", 9)
    place.reconfigure(a=QueueLimits(limit=1), b=QueueLimits())
    assert place.counts() == {"a": 4}
    place.end(*place.running()[:3])
    assert place.counts() == {"a": 1}
    place.end(*place.running())
    assert place.counts() == {"a": 1}


def test_waiting_requests_are_classified_again_in_order_of_arrival(pool):
    place = pool(1, a=QueueLimits(), b=QueueLimits())
    (running,) = place.add("b")
    mixed = [place.add(key)[0] for key in ("a", "b", "a", "b")]
    for connection in mixed:
        connection.key = "new"
    place.reconfigure(new=QueueLimits())
    assert place.queues.waiting_counts() == {"new": 4}
    served = []
    while running:
        place.end(running)
        (running,) = place.running() or [None]
        served.append(running)
    assert served == [*mixed, None]


def test_a_shorter_queue_rejects_no_request_that_waits_already(pool):
    place = pool(1, a=QueueLimits(queue=5), b=QueueLimits())
    added = place.add("a", 6)
    place.reconfigure(a=QueueLimits(queue=1), b=QueueLimits())
    place.queues.answer_rejected()
    (late,) = place.add("a")
    place.queues.answer_rejected()
    assert late.is_rejected
    assert not any(connection.is_rejected for connection in added)


def test_a_removed_mount_finishes_its_requests_and_leaves_no_queue(pool):
    place = pool(2, removed=QueueLimits(), b=QueueLimits())
    (running,) = place.add("removed")
    place.reconfigure(b=QueueLimits())
    place.end(running)
    place.reconfigure(b=QueueLimits())

    def is_forgotten():
        gc.collect()
        return not any(type(each) is Queue and each.key == "removed" for each in gc.get_objects())

    wait_until(is_forgotten)


# ------------------------------------------------------------------------------------------------------------- failures


@pytest.mark.parametrize("raised", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError])
def test_an_exception_of_a_request_costs_neither_thread_nor_slot(pool, caplog, raised):
    place = pool(2, a=QueueLimits(limit=1), b=QueueLimits())
    for _ in range(5):
        place.end(*place.add("a", raised=raised("on purpose")))
    assert caplog.messages == ["a request failed outside its app"] * 5
    assert place.add("a")[0].served
    assert place.add("b")[0].served
    assert place.counts() == {"a": 1, "b": 1}


def test_a_failing_report_of_an_end_costs_no_thread(pool, caplog):
    def fail(running):
        raise RuntimeError("on purpose")

    place = pool(1, on_reported_end=fail, a=QueueLimits())
    for count in range(1, 4):
        (connection,) = place.add("a")
        assert place.queues.mark_reported(*place.queues.running_requests()[0])
        place.end(connection)
        wait_until(lambda count=count: caplog.messages == ["a request failed outside its app"] * count)


def test_an_ended_request_is_not_kept_in_memory(pool):
    place = pool(1, a=QueueLimits())
    connection = weakref.ref(place.add("a")[0])
    place.end(*place.running())
    place.connections.clear()

    def is_forgotten():
        gc.collect()
        return connection() is None

    wait_until(is_forgotten)


# -------------------------------------------------------------------------------------------------------------- reports


def test_the_end_of_a_reported_request_is_reported_in_its_thread(pool):
    ended = []
    place = pool(
        2,
        on_reported_end=lambda running: ended.append((threading.get_ident(), running)),
        a=QueueLimits(),
        b=QueueLimits(),
    )
    one, other = *place.add("a"), *place.add("b")
    (thread, running), _ = place.queues.running_requests()
    assert running.channel is one
    assert place.queues.is_current(thread, running)
    assert place.queues.mark_reported(thread, running)
    place.end(one, other)
    wait_until(lambda: ended)
    assert ended == [(thread, running)]
    assert running.is_reported
    assert not place.queues.is_current(thread, running)
    assert not place.queues.mark_reported(thread, running)


def test_the_next_request_of_a_thread_is_told_from_the_last_one(pool):
    place = pool(1, a=QueueLimits())
    first, second = place.add("a", 2)
    ((thread, running),) = place.queues.running_requests()
    place.end(first)
    assert place.running() == [second]
    assert not place.queues.is_current(thread, running)
    assert not place.queues.mark_reported(thread, running)


def test_running_requests_are_listed_the_oldest_first(pool):
    place = pool(8, a=QueueLimits())
    added = [place.add("a")[0] for _ in range(5)]
    assert place.running() == added


@pytest.mark.parametrize(("times", "shortest"), [([], 0), ([0, 0], 0), ([5, 0, 2], 2), ([10], 10)])
def test_the_shortest_slow_after_ignores_mounts_without_reports(pool, times, shortest):
    place = pool(1, **{f"m{number}": QueueLimits(slow_after=seconds) for number, seconds in enumerate(times)})
    assert place.queues.min_slow_after() == shortest


# ------------------------------------------------------------------------------------------------ busy, and the stop


def test_it_is_busy_while_a_request_runs_or_waits(pool):
    place = pool(1, a=QueueLimits())
    assert not place.queues.is_busy
    first, second = place.add("a", 2)
    place.end(first)
    assert place.queues.is_busy
    place.end(second)
    assert not place.queues.is_busy


def test_a_waiting_request_makes_it_busy_though_none_runs():
    queues = Pool(0).queues
    assert not queues.is_busy
    queues.add_task(Connection("a"))
    assert queues.is_busy


def test_a_stop_ends_the_threads_and_starts_no_waiting_request():
    before = set(threading.enumerate())
    place = Pool(3, a=QueueLimits(limit=1), b=QueueLimits())
    threads = set(threading.enumerate()) - before
    running, waiting = place.add("a", 2)
    place.queues.stop()
    wait_until(lambda: sum(thread.is_alive() for thread in threads) == 1)
    place.close()
    for thread in threads:
        thread.join(TIMEOUT)
        assert not thread.is_alive()
    assert (running.served, waiting.served) == (1, 0)
