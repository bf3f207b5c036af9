"""Fair queues alone: limits, turns, refusal and what is told of them, with real threads and no server."""

import gc
import logging
import threading
import weakref

import pytest
from support.queues import Connection, House
from support.waiting import TIMEOUT, wait_until

from mountpoint.server.fair_queue import QueueLimits


@pytest.fixture
def house():
    """Return ``house(threads, mount=QueueLimits(), ...)``, which opens a `House`."""
    houses = []

    def house(threads, **arguments):
        houses.append(House(threads, **arguments))
        return houses[-1]

    yield house
    for each in houses:
        each.close()


# ---------------------------------------------------------------------------------------------------- limits of threads


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
def test_a_flooded_mount_has_fewer_running_than_threads_are_free_before_each_begins(house, threads, flooded, expected):
    place = house(threads, a=QueueLimits(), b=QueueLimits(), c=QueueLimits(), idle=QueueLimits())
    for key in flooded:
        place.add(key, 60)
    for _ in range(30):  # until what the first took before the others came is even
        place.end(*place.running()[:1])
    assert place.counts() == expected


def test_two_flooded_mounts_cannot_stop_a_third(house):
    place = house(8, a=QueueLimits(), b=QueueLimits(), c=QueueLimits())
    place.add("a", 50)
    place.add("b", 50)
    (third,) = place.add("c")
    assert third.served


def test_two_threads_serve_two_mounts_at_once(house):
    place = house(2, a=QueueLimits(), b=QueueLimits())
    place.add("a", 5)
    place.add("b", 5)
    assert place.counts() == {"a": 1, "b": 1}


def test_one_thread_serves_one_mount_after_the_other(house):
    place = house(1, a=QueueLimits(), b=QueueLimits())
    place.add("a", 3)
    place.add("b", 3)
    order = []
    while running := place.running():
        order += [connection.key for connection in running]
        place.end(*running)
    assert order == ["a", "a", "b", "a", "b", "b"]  # the second of a waited before b came


def test_the_only_mount_has_all_threads(house):
    place = house(8, a=QueueLimits())
    place.add("a", 20)
    assert place.counts() == {"a": 8}


def test_what_belongs_to_no_mount_has_a_share_like_a_mount(house):
    place = house(8, a=QueueLimits(), b=QueueLimits())
    place.add(None, 50)
    assert place.counts() == {None: 4}
    assert place.add("a")[0].served


@pytest.mark.parametrize(("threads", "limit", "running"), [(8, 1, 1), (8, 3, 3), (8, 99, 4), (1, 1, 1), (2, 2, 1)])
def test_a_limit_caps_the_share(house, threads, limit, running):
    place = house(threads, a=QueueLimits(limit=limit), b=QueueLimits())
    place.add("a", 20)
    assert place.counts() == {"a": running}


def test_a_limit_caps_the_only_mount_too(house):
    place = house(8, a=QueueLimits(limit=2))
    place.add("a", 20)
    assert place.counts() == {"a": 2}


# ---------------------------------------------------------------------------------------------------------------- turns


def test_mounts_with_work_are_served_in_turn_whatever_came_first(house):
    place = house(1, a=QueueLimits(), b=QueueLimits(), c=QueueLimits())
    first, *_ = place.add("a", 4)
    place.add("b", 2)
    place.add("c", 1)
    order = []
    while running := place.running():
        order += [connection.key for connection in running]
        place.end(*running)
    assert order[0] == first.key
    assert "".join(order) == "aabcaba"


def test_within_a_mount_who_came_first_is_first(house):
    place = house(1, a=QueueLimits(), b=QueueLimits())
    added = place.add("a", 6)
    served = []
    while running := place.running():
        served += running
        place.end(*running)
    assert served == added


def test_a_mount_that_may_not_begin_does_not_lose_its_turn(house):
    place = house(2, a=QueueLimits(limit=1), b=QueueLimits())
    running, waiting = place.add("a", 2)
    (other,) = place.add("b")
    later = place.add("b", 2)
    place.end(running)
    assert waiting.served  # before those of b, which came later
    place.end(other)
    assert [one.served for one in later] == [1, 0]


def test_one_end_that_makes_room_for_two_begins_two(house):
    place = house(3, a=QueueLimits(), b=QueueLimits())
    (first,) = place.add("a")
    place.add("b")
    place.add("b", 2)
    place.add("a", 2)
    assert place.counts() == {"a": 1, "b": 1}
    place.end(first)  # it is the turn of b, and then nothing of a runs, with one thread free
    assert place.counts() == {"a": 1, "b": 2}


# -------------------------------------------------------------------------------------------------------------- refusal


def test_the_queue_holds_what_cannot_begin_at_once_and_nothing_more(house):
    place = house(2, a=QueueLimits(queue=3), b=QueueLimits())
    added = place.add("a", 5)
    place.queues.answer_rejected()
    assert [one.is_rejected for one in added] == [False, False, False, False, True]
    assert place.queues.waiting() == {"a": 3}


def test_what_can_begin_takes_no_place_though_no_thread_has_taken_it_yet(house):
    place = house(4, a=QueueLimits(queue=0), b=QueueLimits())
    added = [Connection("a") for _ in range(3)]
    place.all += added
    for connection in added:
        place.queues.add_task(connection)
    place.settle()
    place.queues.answer_rejected()
    assert [one.is_rejected for one in added] == [False, False, True]


@pytest.mark.parametrize("limit", [1, None])
def test_without_a_queue_what_cannot_begin_is_rejected(house, limit):
    place = house(2, a=QueueLimits(limit=limit, queue=0), b=QueueLimits())
    first, second = place.add("a", 2)
    place.queues.answer_rejected()
    assert (first.is_rejected, second.is_rejected) == (False, True)
    place.end(first)
    assert place.add("a")[0].served


def test_a_mount_that_is_full_refuses_nothing_of_the_others(house):
    place = house(2, a=QueueLimits(queue=1), b=QueueLimits(queue=1))
    place.add("a", 9)
    others = place.add("b", 2)
    place.queues.answer_rejected()
    assert not any(one.is_rejected for one in others)


def test_what_is_refused_is_set_aside_until_the_loop_has_its_hands_free(house):
    place = house(1, a=QueueLimits(queue=0))
    _, refused = place.add("a", 2)
    assert not refused.served
    assert place.queues.is_busy
    place.queues.answer_rejected()
    assert refused.served == 1
    place.queues.answer_rejected()
    assert refused.served == 1


def test_what_is_refused_while_another_is_answered_is_answered_next_time(house):
    place = house(1, a=QueueLimits(queue=0))
    _, refused = place.add("a", 2)
    behind = Connection("a")
    refused.reject = lambda: (Connection.reject(refused), place.queues.add_task(behind))
    place.queues.answer_rejected()
    assert (refused.served, behind.served) == (1, 0)  # of one connection, one: others have their turn in between
    place.queues.answer_rejected()
    assert (refused.served, behind.served, behind.is_rejected) == (1, 1, True)


def test_it_is_said_once_that_a_mount_refuses_and_again_after_it_was_empty(house, caplog):
    caplog.set_level(logging.WARNING, "mountpoint")
    place = house(1, a=QueueLimits(queue=1), b=QueueLimits(queue=0))
    first, second, *_ = place.add("a", 9)
    place.queues.answer_rejected()
    place.add("a", 9)
    place.queues.answer_rejected()
    assert [record.getMessage() for record in caplog.records] == ["a: refusing requests, 503: 1 wait already (queue)"]
    place.end(first)
    place.add("a", 9)
    place.queues.answer_rejected()
    assert len(caplog.records) == 2
    place.end(second)


def test_what_belongs_to_no_mount_is_called_a_dash_when_it_is_rejected(house, caplog):
    caplog.set_level(logging.WARNING, "mountpoint")
    place = house(1, a=QueueLimits())
    place.add(None, 102)
    place.queues.answer_rejected()
    assert caplog.messages == ["-: refusing requests, 503: 100 wait already (queue)"]


def test_clients_that_have_gone_leave_the_queue_first(house, caplog):
    place = house(1, a=QueueLimits(queue=3), b=QueueLimits())
    running, *waiting = place.add("a", 4)
    waiting[0].connected = waiting[2].connected = False
    late = place.add("a", 3)
    place.queues.answer_rejected()
    assert [one.is_rejected for one in late] == [False, False, True]
    assert [one.served for one in waiting] == [1, 0, 1]  # waitress is told of all, and calls no app for who has gone
    place.end(running)
    assert waiting[1].served  # which goes on waiting where it was


def test_a_queue_of_clients_that_have_all_gone_is_empty(house, caplog):
    caplog.set_level(logging.WARNING, "mountpoint")
    place = house(1, a=QueueLimits(queue=2), b=QueueLimits())
    (running,) = place.add("b")
    gone = place.add("a", 2)
    for one in gone:
        one.connected = False
    fresh = place.add("a", 2)
    place.queues.answer_rejected()
    assert place.queues.waiting() == {"a": 2}
    assert not caplog.messages  # nobody is there to be refused
    place.end(running)
    assert fresh[0].served
    assert [one.served for one in gone] == [1, 1]


# ----------------------------------------------------------------------------------------------------------- new limits


def test_new_shares_let_begin_what_they_leave_room_for(house):
    place = house(8, a=QueueLimits(limit=1), b=QueueLimits())
    place.add("a", 5)
    place.reconfigure(a=QueueLimits(limit=3), b=QueueLimits())
    assert place.counts() == {"a": 3}
    place.reconfigure(a=QueueLimits())
    assert place.counts() == {"a": 5}


def test_new_shares_stop_nothing_that_runs(house):
    place = house(8, a=QueueLimits(), b=QueueLimits())
    place.add("a", 9)
    place.reconfigure(a=QueueLimits(limit=1), b=QueueLimits())
    assert place.counts() == {"a": 4}
    place.end(*place.running()[:3])
    assert place.counts() == {"a": 1}
    place.end(*place.running())
    assert place.counts() == {"a": 1}


def test_what_waits_is_sorted_anew_in_the_order_of_its_arrival(house):
    place = house(1, a=QueueLimits(), b=QueueLimits())
    (running,) = place.add("b")
    mixed = [place.add(key)[0] for key in ("a", "b", "a", "b")]
    for one in mixed:
        one.key = "/new"
    place.queues.reconfigure({"/new": QueueLimits()})
    assert place.queues.waiting() == {"/new": 4}
    served = []
    while running:
        place.end(running)
        (running,) = place.running() or [None]
        served.append(running)
    assert served == [*mixed, None]


def test_what_waits_beyond_a_smaller_queue_is_not_refused_for_it(house):
    place = house(1, a=QueueLimits(queue=5), b=QueueLimits())
    added = place.add("a", 6)
    place.reconfigure(a=QueueLimits(queue=1), b=QueueLimits())
    place.queues.answer_rejected()
    (late,) = place.add("a")
    place.queues.answer_rejected()
    assert late.is_rejected
    assert not any(one.is_rejected for one in added)


def test_a_mount_that_is_gone_ends_what_it_has_begun_and_is_forgotten(house):
    place = house(2, a=QueueLimits(), b=QueueLimits())
    (running,) = place.add("a")
    place.reconfigure(b=QueueLimits())
    place.end(running)
    place.reconfigure(b=QueueLimits())
    assert "a" not in place.queues._queues


# ------------------------------------------------------------------------------------------------------ what goes wrong


@pytest.mark.parametrize("raised", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError])
def test_what_a_request_raises_ends_neither_its_thread_nor_its_place(house, caplog, raised):
    place = house(2, a=QueueLimits(limit=1), b=QueueLimits())
    for _ in range(5):
        place.end(*place.add("a", raised=raised("on purpose")))
    assert caplog.messages == ["a request failed outside its app"] * 5
    assert place.add("a")[0].served
    assert place.add("b")[0].served
    assert place.counts() == {"a": 1, "b": 1}


def test_an_end_that_cannot_be_told_costs_no_thread(house, caplog):
    def ended(run):
        raise RuntimeError("on purpose")

    place = house(1, ended=ended, a=QueueLimits())
    for _ in range(3):
        (one,) = place.add("a")
        assert place.queues.report(*place.queues.runs()[0])
        place.end(one)
    assert caplog.messages == ["a request failed outside its app"] * 3


def test_nothing_is_kept_of_a_request_that_has_ended(house):
    place = house(1, a=QueueLimits())
    connection = weakref.ref(place.add("a")[0])
    place.end(*place.running())
    place.all.clear()
    gc.collect()
    assert connection() is None


# ----------------------------------------------------------------------------------------------------- what is reported


def test_what_was_reported_is_told_at_its_end_in_its_thread(house):
    ended = []
    place = house(2, ended=lambda run: ended.append((threading.get_ident(), run)), a=QueueLimits(), b=QueueLimits())
    one, other = *place.add("a"), *place.add("b")
    (thread, run), _ = place.queues.runs()
    assert run.channel is one
    assert place.queues.is_current(thread, run)
    assert place.queues.report(thread, run)
    place.end(one, other)
    wait_until(lambda: ended)
    assert ended == [(thread, run)]
    assert run.reported
    assert not place.queues.is_current(thread, run)
    assert not place.queues.report(thread, run)


def test_the_next_request_of_a_thread_is_not_taken_for_the_one_before(house):
    place = house(1, a=QueueLimits())
    first, second = place.add("a", 2)
    ((thread, run),) = place.queues.runs()
    place.end(first)
    assert place.running() == [second]
    assert not place.queues.is_current(thread, run)
    assert not place.queues.report(thread, run)


def test_what_runs_is_told_the_oldest_first(house):
    place = house(8, a=QueueLimits())
    added = [place.add("a")[0] for _ in range(5)]
    assert place.running() == added


@pytest.mark.parametrize(("times", "soonest"), [([], 0), ([0, 0], 0), ([5, 0, 2], 2), ([10], 10)])
def test_the_soonest_that_a_request_can_be_slow_is_the_least_of_those_that_are_not_off(house, times, soonest):
    place = house(1, **{f"m{number}": QueueLimits(slow_after=seconds) for number, seconds in enumerate(times)})
    assert place.queues.min_slow_after() == soonest


def test_it_is_busy_while_something_runs_or_waits(house):
    place = house(1, a=QueueLimits())
    assert not place.queues.is_busy
    first, second = place.add("a", 2)
    place.end(first)
    assert place.queues.is_busy
    place.end(second)
    assert not place.queues.is_busy


def test_what_waits_keeps_it_busy_though_nothing_runs():
    queues = House(0).queues
    assert not queues.is_busy
    queues.add_task(Connection("a"))
    assert queues.is_busy


def test_stopped_it_ends_its_threads_and_begins_nothing_more():
    before = set(threading.enumerate())
    place = House(3, a=QueueLimits(limit=1), b=QueueLimits())
    threads = set(threading.enumerate()) - before
    running, waiting = place.add("a", 2)
    place.queues.stop()
    wait_until(lambda: sum(thread.is_alive() for thread in threads) == 1)
    place.close()
    for thread in threads:
        thread.join(TIMEOUT)
        assert not thread.is_alive()
    assert (running.served, waiting.served) == (1, 0)
