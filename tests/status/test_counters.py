"""Counters of requests: exact in many threads, bounded whatever clients send, and never waiting."""

import gc
import json
import random
import sys
import threading
import tracemalloc

import pytest
from support.finishing import CountedSite, finished, mounts
from support.waiting import TIMEOUT

from mountpoint.status.counters import Counters


@pytest.fixture
def quick_switches():
    """Have the interpreter switch threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def run_threads(work, count):
    """Run ``work(number)`` in *count* threads at once. Raise what one of them raises."""
    failures = []
    start = threading.Barrier(count)

    def run(number):
        try:
            start.wait(TIMEOUT)
            work(number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
        assert not thread.is_alive()
    if failures:
        raise failures[0]


@pytest.mark.usefixtures("quick_switches")
def test_threads_count_exactly_while_others_read_and_reload():
    threads, each = 6, 1500
    counters = Counters()
    counters.configure(mounts("/a", "/b", "/c"))
    is_over = threading.Event()
    seen = []

    def work(number):
        if number == threads:  # a reader
            while not is_over.is_set():
                seen.append(sum(counters.read().mounts["/a"].as_dict()["requests"].values()))
        elif number == threads + 1:  # reloads
            while not is_over.is_set():
                counters.configure(mounts("/b", "/new", "/a"))
                counters.configure(mounts("/a", "/c", "/b"))
        else:
            for count in range(each):
                counters.request_finished(*finished("/a", 200 + 100 * (count % 4), bytes_in=1, bytes_out=2))
                counters.request_finished(*finished(None, 404))
                if count % 10 == 0:
                    counters.app_raised("/a", ValueError())
            ended.append(number)
            if len(ended) == threads:
                is_over.set()

    ended = []
    run_threads(work, threads + 2)
    reading = counters.read()
    found = reading.mounts["/a"].as_dict()
    quarter = threads * each // 4
    assert found["requests"] == {"none": 0, "1xx": 0, "2xx": quarter, "3xx": quarter, "4xx": quarter, "5xx": quarter}
    assert (found["bytes_in"], found["bytes_out"]) == (threads * each, 2 * threads * each)
    assert found["exceptions"] == threads * each // 10
    assert reading.mounts[None].as_dict()["requests"]["4xx"] == threads * each
    assert seen == sorted(seen)


def test_a_thread_with_a_request_never_waits_for_a_reader():
    site = CountedSite("/app")
    assert site.counters._lock.acquire()  # as a reader does, for ever
    try:
        site.finish(count=1000)
        site.counters.app_raised("/app", ValueError())
    finally:
        site.counters._lock.release()
    assert site.read()["requests"]["2xx"] == 1000
    assert site.read()["exceptions"] == 1


def test_one_thread_counts_a_bounded_share_of_a_backlog():
    site = CountedSite("/app")
    with site.counters._lock:
        site.finish(count=2000)
    site.finish()
    assert len(site.counters._records) == 2001 - 512
    site.finish(count=10)
    assert len(site.counters._records) < 64
    assert site.read()["requests"]["2xx"] == 2011


def test_without_a_reader_few_requests_are_kept():
    site = CountedSite("/app")
    for _ in range(10):
        site.finish(count=100)
        assert len(site.counters._records) < 64


# ------------------------------------------------------------------------------------------------------------- reloads


def test_counters_of_mounts_that_stay_are_kept_and_others_go():
    site = CountedSite("/stays", "/goes")
    site.finish("/stays", 200, 3, app=2.0)
    site.finish("/goes", 200, 4, app=3.0)
    site.counters.configure(mounts("/new", "/stays"))
    site.finish("/goes", 200, 5, app=4.0)  # it was in flight
    reading = site.counters.read()
    assert [*reading.mounts] == ["/new", "/stays", None]
    assert site.read("/stays")["requests"]["2xx"] == 3
    assert {slow.mount for slow in reading.slowest} == {"/stays"}
    site.counters.configure(mounts("/goes"))
    assert site.read("/goes")["requests"]["2xx"] == 0


def test_a_reload_changes_the_time_after_which_a_request_is_slow():
    site = CountedSite("/app", slow_after=1.0)
    site.finish(app=2.0)
    site.counters.configure(mounts("/app", slow_after=5.0))
    site.finish(app=2.0)
    site.counters.configure(mounts("/app", slow_after=0))
    site.finish(app=100.0)
    assert site.read()["slow"] == 1


# ---------------------------------------------------------------------------------------------------------- rejections


@pytest.mark.parametrize(("status", "cause"), [(503, "queue"), (503, "limit"), (413, "body")])
def test_a_rejection_counts_by_its_cause_and_not_as_time_in_the_app(status, cause):
    site = CountedSite("/app")
    site.finish(app=0.2)
    if cause == "body":
        site.finish(status=status, reason="the body exceeds the mount's max_body of 1")
    else:
        site.finish(status=status, rejection=cause)
    found = site.read()
    assert found["rejected"] == {"queue": 0, "limit": 0, "body": 0} | {cause: 1}
    assert found["requests"][f"{status // 100}xx"] == 1
    assert sum(found["app_seconds"]["counts"]) == sum(found["queue_seconds"]["counts"]) == 1
    assert found["last_minute"]["errors"] == 0
    assert found["last_minute"]["rejected"] == (cause != "body")


# ---------------------------------------------------------------------------------------------------- bounded memory


def hostile_request(site, chance):
    text = f"{chance.random()}\0\xff" * 300
    mount = chance.choice(["/app", None, f"/unknown{chance.random()}"])
    site.finish(mount, chance.choice([0, *range(200, 600)]), method=text, path=text, app=chance.expovariate(1))
    if chance.random() < 0.1:
        site.counters.app_raised(mount, type(text[:15], (Exception,), {})(text))
    site.clock.now += chance.choice([0, 0, 0.001, 1, 61])


def test_memory_is_bounded_whatever_clients_and_apps_send():
    site, chance = CountedSite("/app"), random.Random(2)
    for _ in range(3000):  # as much as all windows can hold
        hostile_request(site, chance)
    site.read()
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(1000):
            hostile_request(site, chance)
        site.read()
        gc.collect()
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The new texts have replaced old ones, which were not traced: 60 minutes with 20 requests of 220 characters each.
    assert grown < 60 * 20 * (220 + 500)
    reading = site.counters.read()
    assert set(reading.mounts) == {"/app", None}
    assert len(reading.slowest) == 20
    assert max(len(slow.path) for slow in reading.slowest) == 200
    assert max(len(slow.method) for slow in reading.slowest) == 20
    assert len(reading.mounts["/app"].exceptions) == 10
    json.dumps(site.read())


# --------------------------------------------------------------------------------------------------- slowest requests


def test_the_slowest_of_the_hour_are_kept_exactly():
    site, chance = CountedSite("/app"), random.Random(3)
    ended = []
    for _ in range(3000):
        seconds = chance.expovariate(1)
        site.finish(app=seconds, path=f"/app/{seconds}")
        ended.append((seconds, site.clock.now))
        site.clock.now += chance.choice([0.1, 1, 5])
    found = site.counters.read().slowest
    first = (int(site.clock.now) // 60 - 59) * 60
    expected = sorted((one for one in ended if one[1] >= first), reverse=True)[:20]
    assert [slow.seconds for slow in found] == pytest.approx([one[0] for one in expected])


def test_a_rejection_is_not_among_the_slowest():
    site = CountedSite("/app")
    site.finish(status=503, rejection="queue", app=1.0)
    assert site.counters.read().slowest == []
