"""Fair queues alone: which request starts, in which order, and which is rejected. Real threads, and no server."""

import logging

import pytest
from support.queues import Connection

from mountpoint.server.fair_queue import PATIENCE, QueueLimits

# ------------------------------------------------------------------------------------------------------------ admission


@pytest.mark.parametrize(
    ("threads", "flooded", "expected"),
    [
        (8, "a", {"a": 4}),
        (8, "ab", {"a": 3, "b": 3}),
        (8, "abc", {"a": 2, "b": 2, "c": 2}),
        (7, "a", {"a": 4}),
        (3, "a", {"a": 2}),
        (3, "ab", {"a": 1, "b": 1}),
        (2, "a", {"a": 1}),
        (1, "a", {"a": 1}),
    ],
)
def test_flooded_mounts_leave_threads_free_for_the_others(make_pool, threads, flooded, expected):
    pool = make_pool(threads, a=QueueLimits(), b=QueueLimits(), c=QueueLimits(), idle=QueueLimits())
    for key in flooded:
        pool.add(key, 60)
    for _ in range(30):  # the first mount took more before the others came
        pool.end(*pool.running()[:1])
    assert pool.counts() == expected


def test_two_flooded_mounts_cannot_stop_a_third(make_pool):
    pool = make_pool(8, a=QueueLimits(), b=QueueLimits(), c=QueueLimits())
    pool.add("a", 50)
    pool.add("b", 50)
    (third,) = pool.add("c")
    assert third.served


def test_two_threads_serve_two_mounts_at_once(make_pool):
    pool = make_pool(2, a=QueueLimits(), b=QueueLimits())
    pool.add("a", 5)
    pool.add("b", 5)
    assert pool.counts() == {"a": 1, "b": 1}


def test_the_only_mount_may_use_all_threads(make_pool):
    pool = make_pool(8, a=QueueLimits())
    pool.add("a", 20)
    assert pool.counts() == {"a": 8}


def test_requests_that_no_mount_owns_share_a_queue_with_default_limits(make_pool):
    pool = make_pool(8, a=QueueLimits(), b=QueueLimits())
    pool.add(None, 50)
    assert pool.counts() == {None: 4}
    assert pool.add("a")[0].served


@pytest.mark.parametrize(("threads", "limit", "running"), [(8, 1, 1), (8, 3, 3), (8, 99, 4), (1, 1, 1), (2, 2, 1)])
def test_a_limit_caps_the_fair_number(make_pool, threads, limit, running):
    pool = make_pool(threads, a=QueueLimits(limit=limit), b=QueueLimits())
    pool.add("a", 20)
    assert pool.counts() == {"a": running}


def test_a_limit_caps_the_only_mount_too(make_pool):
    pool = make_pool(8, a=QueueLimits(limit=2))
    pool.add("a", 20)
    assert pool.counts() == {"a": 2}


# -------------------------------------------------------------------------------------------------------- spare threads


@pytest.mark.parametrize(("threads", "hanging"), [(8, 1), (8, 4), (8, 7), (3, 2), (2, 1)])
def test_a_mount_is_served_while_fewer_mounts_hang_than_there_are_threads(make_pool, threads, hanging):
    keys = [f"hangs-{number}" for number in range(hanging)]
    pool = make_pool(threads, healthy=QueueLimits(), **{key: QueueLimits() for key in keys})
    for key in keys:
        pool.add(key, 20)
        pool.wait()
    for _ in range(3):
        (healthy,) = pool.add("healthy")
        assert healthy.served
        pool.end(healthy)


def test_a_spare_thread_serves_once_the_running_requests_are_slow(make_pool):
    pool = make_pool(8, healthy=QueueLimits(), **{key: QueueLimits() for key in "abcd"})
    for key in "abcd":
        pool.add(key, 20)
    assert pool.counts() == {"a": 4, "b": 2, "c": 1, "d": 1}
    (healthy,) = pool.add("healthy")
    pool.wait(PATIENCE / 2)
    assert not healthy.served
    pool.wait(PATIENCE / 2)
    assert healthy.served


def test_a_spare_thread_serves_no_mount_of_which_a_request_runs(make_pool):
    pool = make_pool(2, a=QueueLimits(), b=QueueLimits(), c=QueueLimits())
    for key in "abc":
        pool.add(key, 5)
    pool.wait(60)
    assert pool.counts() == {"a": 1, "b": 1, "c": 1}


def test_requests_never_overlap_with_one_thread(make_pool):
    pool = make_pool(1, a=QueueLimits(), b=QueueLimits())
    pool.add("a", 5)
    pool.add("b", 5)
    pool.wait(60)
    assert pool.counts() == {"a": 1}


def test_the_only_mount_of_a_table_gets_no_spare_thread_and_404s_get_one(make_pool):
    pool = make_pool(8, a=QueueLimits())
    pool.add("a", 20)
    pool.wait(60)
    assert pool.counts() == {"a": 8}
    assert pool.add(None)[0].served


# ---------------------------------------------------------------------------------------------------------------- order


def starts(pool):
    """End the running requests until no request runs; return the keys in the order of their starts."""
    keys = []
    while running := pool.running():
        keys += [connection.key for connection in running]
        pool.end(*running)
    return keys


def test_one_thread_alternates_between_two_mounts(make_pool):
    pool = make_pool(1, a=QueueLimits(), b=QueueLimits())
    pool.add("a", 3)
    pool.add("b", 3)
    assert starts(pool) == ["a", "b", "a", "b", "a", "b"]


def test_queues_are_served_round_robin_whatever_their_lengths(make_pool):
    pool = make_pool(1, a=QueueLimits(), b=QueueLimits(), c=QueueLimits())
    pool.add("a", 4)
    pool.add("b", 2)
    pool.add("c", 1)
    assert "".join(starts(pool)) == "abcabaa"


def test_a_mount_that_was_idle_does_not_wait_for_a_round_of_the_flooded(make_pool):
    pool = make_pool(1, rare=QueueLimits(), **{key: QueueLimits() for key in "abcdef"})
    for key in "abcdef":
        pool.add(key, 9)
    for _ in range(20):
        pool.wait(0.5)
        pool.end(*pool.running())
    for _ in range(5):  # one request after the other, each of them short
        (rare,) = pool.add("rare")
        pool.wait(0.5)
        pool.end(*pool.running())
        assert rare.served
        pool.end(rare)


def test_an_idle_mount_saves_no_turns_for_later(make_pool):
    pool = make_pool(1, a=QueueLimits(), b=QueueLimits())
    pool.add("a", 9)
    for _ in range(6):
        pool.wait(1)
        pool.end(*pool.running())
    pool.add("b", 9)
    pool.wait(1)
    keys = []
    for _ in range(4):
        pool.end(*pool.running())
        keys += [connection.key for connection in pool.running()]
        pool.wait(1)
    assert keys == ["b", "b", "a", "b"]


def test_a_request_that_hung_for_an_hour_costs_its_mount_no_hour(make_pool):
    pool = make_pool(1, a=QueueLimits(), b=QueueLimits())
    (hanging,) = pool.add("a")
    pool.add("b", 9)
    pool.add("a")
    pool.wait(3600)
    pool.end(hanging)
    keys = []
    for _ in range(3):
        keys += [connection.key for connection in pool.running()]
        pool.wait(1)
        pool.end(*pool.running())
    assert "a" in keys


def test_a_queue_is_first_in_first_out(make_pool):
    pool = make_pool(1, a=QueueLimits(), b=QueueLimits())
    added = pool.add("a", 6)
    served = []
    while running := pool.running():
        served += running
        pool.end(*running)
    assert served == added


def test_a_queue_that_is_skipped_keeps_its_place(make_pool):
    pool = make_pool(2, a=QueueLimits(limit=1), b=QueueLimits())
    running, waiting = pool.add("a", 2)
    (other,) = pool.add("b")
    later = pool.add("b", 2)
    pool.end(running)
    assert waiting.served  # before the requests of b, which came later
    pool.end(other)
    assert [connection.served for connection in later] == [1, 0]


def test_one_end_that_admits_two_requests_starts_both(make_pool):
    pool = make_pool(3, a=QueueLimits(), b=QueueLimits())
    (first,) = pool.add("a")
    pool.add("b")
    pool.add("b", 2)
    pool.add("a", 2)
    assert pool.counts() == {"a": 1, "b": 1}
    pool.end(first)  # b is next; after its start no request of a runs, and one thread is free
    assert pool.counts() == {"a": 1, "b": 2}


# ------------------------------------------------------------------------------------------------------------ rejection


def rejections(connections):
    return [connection.is_rejected for connection in connections]


def test_a_queue_holds_its_length_beyond_what_may_start_at_once(make_pool):
    pool = make_pool(2, a=QueueLimits(queue=3), b=QueueLimits())
    added = pool.add("a", 5)
    pool.queues.answer_rejected()
    assert rejections(added) == [False, False, False, False, True]
    assert pool.queues.waiting_counts() == {"a": 3}


def test_a_request_that_may_start_needs_no_place_in_the_queue(make_pool):
    pool = make_pool(4, a=QueueLimits(queue=0), b=QueueLimits())
    added = [Connection("a") for _ in range(3)]
    pool.connections += added
    for connection in added:  # faster than the threads can take them
        pool.queues.add_task(connection)
    pool.settle()
    pool.queues.answer_rejected()
    assert rejections(added) == [False, False, True]


@pytest.mark.parametrize("limit", [1, None])
def test_without_a_queue_a_request_that_cannot_start_is_rejected(make_pool, limit):
    pool = make_pool(2, a=QueueLimits(limit=limit, queue=0), b=QueueLimits())
    first, second = pool.add("a", 2)
    pool.queues.answer_rejected()
    assert rejections([first, second]) == [False, True]
    pool.end(first)
    assert pool.add("a")[0].served


def test_a_full_queue_rejects_no_request_of_other_mounts(make_pool):
    pool = make_pool(2, a=QueueLimits(queue=1), b=QueueLimits(queue=1))
    pool.add("a", 9)
    others = pool.add("b", 2)
    pool.queues.answer_rejected()
    assert not any(rejections(others))


def test_a_rejected_request_is_answered_only_when_the_loop_asks(make_pool):
    pool = make_pool(1, a=QueueLimits(queue=0))
    _, rejected = pool.add("a", 2)
    assert not rejected.served
    assert pool.queues.is_busy
    pool.queues.answer_rejected()
    assert rejected.served == 1
    pool.queues.answer_rejected()
    assert rejected.served == 1


def test_each_call_answers_one_rejected_request_of_a_connection(make_pool):
    pool = make_pool(1, a=QueueLimits(queue=0))
    _, rejected = pool.add("a", 2)
    pipelined = Connection("a")
    rejected.reject = lambda at_limit: (Connection.reject(rejected, at_limit), pool.queues.add_task(pipelined))
    pool.queues.answer_rejected()
    assert (rejected.served, pipelined.served) == (1, 0)
    pool.queues.answer_rejected()
    assert (rejected.served, pipelined.served, pipelined.is_rejected) == (1, 1, True)


def test_a_rejecting_mount_is_logged_once_until_its_queue_was_empty(make_pool, caplog):
    caplog.set_level(logging.WARNING, "mountpoint")
    pool = make_pool(1, a=QueueLimits(queue=1), b=QueueLimits(queue=0))
    first, second, *_ = pool.add("a", 9)
    pool.queues.answer_rejected()
    pool.add("a", 9)
    pool.queues.answer_rejected()
    assert caplog.messages == ["a: rejecting requests with 503: the queue is full (queue = 1)"]
    pool.end(first)
    pool.add("a", 9)
    pool.queues.answer_rejected()
    assert len(caplog.records) == 2
    pool.end(second)


def test_the_log_writes_a_dash_where_no_mount_owns_the_requests(make_pool, caplog):
    caplog.set_level(logging.WARNING, "mountpoint")
    pool = make_pool(1, a=QueueLimits())
    pool.add(None, 102)
    pool.queues.answer_rejected()
    assert caplog.messages == ["-: rejecting requests with 503: the queue is full (queue = 100)"]


def test_disconnected_clients_give_up_their_places_first(make_pool, caplog):
    pool = make_pool(1, a=QueueLimits(queue=3), b=QueueLimits())
    running, *waiting = pool.add("a", 4)
    waiting[0].connected = waiting[2].connected = False
    late = pool.add("a", 3)
    pool.queues.answer_rejected()
    assert rejections(late) == [False, False, True]
    # waitress removes a disconnected client in `service`, without a call of its app.
    assert [connection.served for connection in waiting] == [1, 0, 1]
    pool.end(running)
    assert waiting[1].served  # it kept its place


def test_a_queue_of_disconnected_clients_counts_as_empty(make_pool, caplog):
    caplog.set_level(logging.WARNING, "mountpoint")
    pool = make_pool(1, a=QueueLimits(queue=2), b=QueueLimits())
    (running,) = pool.add("b")
    disconnected = pool.add("a", 2)
    for connection in disconnected:
        connection.connected = False
    fresh = pool.add("a", 2)
    pool.queues.answer_rejected()
    assert pool.queues.waiting_counts() == {"a": 2}
    assert not caplog.messages
    pool.end(running)
    assert fresh[0].served
    assert [connection.served for connection in disconnected] == [1, 1]
