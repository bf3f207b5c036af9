"""Fair queues against a naive model of them, and against the scheduler: nothing is lost, whatever happens when."""

import random
import sys
import threading
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.queues import House
from support.waiting import TIMEOUT, wait_until

from mountpoint.server.fair_queue import FairQueues, QueueLimits

KEYS = ["a", "b", "c", None]
SHARES = st.dictionaries(
    st.sampled_from(["a", "b", "c"]),
    st.builds(QueueLimits, limit=st.sampled_from([None, None, None, 1, 2]), queue=st.sampled_from([0, 2, 100, 100])),
)


class Model:
    """The rules as they are documented, without threads: what may begin is found by looking through lists."""

    def __init__(self, threads, limits):
        self.threads, self.limits = threads, limits
        self.turns, self.waiting = [], {}  # keys, the next first; connections, by key
        self.running, self.refused = [], []

    def limits_of(self, key):
        return self.limits.get(key, QueueLimits())

    def may_begin(self, key, running):
        """Whether a request of *key* may begin while those of the keys *running* run."""
        own, free = running.count(key), self.threads - len(running)
        limit = self.limits_of(key).limit
        return free > 0 and (own < free or len(self.limits) < 2) and (limit is None or own < limit)

    def is_full(self, key):
        running = [one.key for one in self.running]
        at_once = 0
        while self.may_begin(key, running):
            running.append(key)
            at_once += 1
        return len(self.waiting.get(key, [])) >= self.limits_of(key).queue + at_once

    def add(self, one):
        if self.is_full(one.key):
            waiting = self.waiting.setdefault(one.key, [])
            self.refused += [gone for gone in waiting if not gone.connected]
            waiting[:] = [there for there in waiting if there.connected]
            if not waiting and one.key in self.turns:
                self.turns.remove(one.key)
        if self.is_full(one.key):
            self.refused.append(one)
        else:
            self.put(one)
            self.go_on()

    def put(self, one):
        self.waiting.setdefault(one.key, []).append(one)
        if one.key not in self.turns:
            self.turns.append(one.key)

    def go_on(self):
        """Begin what may begin."""
        for key in self.turns:
            if self.may_begin(key, [one.key for one in self.running]):
                self.running.append(self.waiting[key].pop(0))
                self.turns.remove(key)
                if self.waiting[key]:
                    self.turns.append(key)
                self.go_on()
                return

    def end(self, one):
        self.running.remove(one)
        self.go_on()

    def reconfigure(self, limits, order):
        self.limits = limits
        waiting = sorted((one for queue in self.waiting.values() for one in queue), key=order.index)
        self.turns, self.waiting = [], {}
        for one in waiting:
            self.put(one)
        self.go_on()


class Machine(RuleBasedStateMachine):
    """After each step the same requests run, wait and are refused as in the model, each of them once."""

    @initialize(threads=st.sampled_from([1, 2, 3, 3, 4, 6, 9]), limits=SHARES)
    def open(self, threads, limits):
        self.house = House(threads, **limits)
        self.model = Model(threads, limits)

    @rule(key=st.sampled_from(KEYS), count=st.integers(1, 6))
    def add(self, key, count):
        for _ in range(count):
            self.model.add(*self.house.add(key))

    @precondition(lambda self: self.model.running)
    @rule(data=st.data())
    def end(self, data):
        one = data.draw(st.sampled_from(self.model.running))
        self.house.end(one)
        self.model.end(one)

    @precondition(lambda self: self.model.turns)
    @rule(data=st.data())
    def go_away(self, data):
        queue = self.model.waiting[data.draw(st.sampled_from(self.model.turns))]
        data.draw(st.sampled_from(queue)).connected = False

    @rule(limits=SHARES, moved=st.dictionaries(st.sampled_from(KEYS), st.sampled_from(KEYS)))
    def reconfigure(self, limits, moved):
        for queue in self.model.waiting.values():
            for one in queue:
                one.key = moved.get(one.key, one.key)
        self.house.reconfigure(**limits)
        self.model.reconfigure(limits, self.house.all)

    @rule()
    def reject(self):
        self.house.queues.answer_rejected()
        assert [one for one in self.house.all if one.is_rejected] == sorted(
            self.model.refused, key=self.house.all.index
        )

    @invariant()
    def as_in_the_model(self):
        assert set(self.house.running()) == set(self.model.running)
        waiting = {key: len(self.model.waiting[key]) for key in self.model.turns}
        assert self.house.queues.waiting() == waiting
        assert self.house.queues.is_busy == bool(
            waiting or self.model.running or not all(one.served for one in self.model.refused)
        )

    def teardown(self):
        if not hasattr(self, "house"):
            return
        while self.model.running:
            self.end_one(self.model.running[0])
        self.house.queues.answer_rejected()
        assert not self.house.queues.is_busy
        assert all(one.served == 1 for one in self.house.all)
        self.house.close()

    def end_one(self, one):
        self.house.end(one)
        self.model.end(one)


Machine.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestAgainstTheModel = Machine.TestCase


# ------------------------------------------------------------------------------------------------ against the scheduler


class Pipelined:
    """A connection with *count* requests, the next of which is added from the thread that has served the one before."""

    def __init__(self, crowd, count, chance):
        self.crowd, self.left, self.chance = crowd, count, chance
        self.connected = True
        self.is_rejected = False
        self.served = 0
        self.key = chance.choice(KEYS)
        self.lock = threading.Lock()

    first = None

    def reject(self):
        self.is_rejected = True

    def service(self):
        assert self.lock.acquire(blocking=False), "one connection is served by two threads"
        if not self.is_rejected:
            self.crowd.enter(self.key)
            if self.chance.random() < 0.1:
                self.connected = False
            self.crowd.leave(self.key)
        self.served += 1
        self.left -= 1
        self.is_rejected = False
        self.lock.release()
        if self.left:
            self.key = self.chance.choice(KEYS)
            self.crowd.queues.add_task(self)


class Crowd:
    """Connections that all come at once, and what runs of each mount."""

    def __init__(self, threads, limits):
        self.queues = FairQueues(threads, lambda one: one.key)
        self.limits, self.threads = limits, threads
        self.inside, self.lock = Counter(), threading.Lock()
        self.broken = []

    def enter(self, key):
        with self.lock:
            self.inside[key] += 1
            if self.inside[key] > self.limits.get(key, self.threads) or self.inside.total() > self.threads:
                self.broken.append(dict(self.inside))

    def leave(self, key):
        with self.lock:
            self.inside[key] -= 1


@pytest.fixture
def hasty():
    """Let threads take turns as often as can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_every_request_ends_once_whatever_the_scheduler_does(hasty, threads):
    chance = random.Random(threads)
    limits = {"a": 1, "b": 2}
    crowd = Crowd(threads, limits)
    queues = crowd.queues
    connections = [Pipelined(crowd, 4, random.Random(seed)) for seed in range(300)]
    wanted = {one: one.left for one in connections}

    def limits():
        return {
            "a": QueueLimits(limit=1, queue=chance.choice([0, 1, 100])),
            "b": QueueLimits(limit=chance.choice([1, 2]), queue=chance.choice([0, 100])),
            **({"c": QueueLimits(slow_after=0)} if chance.random() < 0.7 else {}),
        }

    watched = threading.Event()

    def watch():
        while not watched.is_set():
            for thread, run in queues.runs():
                queues.report(thread, run)
            queues.waiting()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        queues.reconfigure(limits())
        for number, one in enumerate(connections):
            queues.add_task(one)
            if number % 7 == 0:
                queues.answer_rejected()
            if number % 31 == 0:
                queues.reconfigure(limits())

        def all_ended():
            queues.answer_rejected()
            return not any(one.left for one in connections)

        wait_until(all_ended)
    finally:
        watched.set()
        watcher.join(TIMEOUT)
        queues.stop()
    assert {one: one.served for one in connections} == wanted
    wait_until(lambda: not queues.is_busy)
    assert not crowd.broken
