"""Fair queues against a naive model, and under a hostile thread scheduler: no request is lost or served twice."""

import random
import sys
import threading
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.queues import Pool, may_start
from support.waiting import TIMEOUT, wait_until

from mountpoint.server.fair_queue import MAX_CREDIT, MIN_CHARGE, PATIENCE, FairQueues, QueueLimits

KEYS = ["a", "b", "c", None]
LIMITS = st.dictionaries(
    st.sampled_from(["a", "b", "c"]),
    st.builds(QueueLimits, limit=st.sampled_from([None, None, None, 1, 2]), queue=st.sampled_from([0, 2, 100, 100])),
)


class Model:
    """The documented rules without threads, over plain lists."""

    def __init__(self, threads, limits):
        self.threads, self.limits = threads, limits
        self.round, self.waiting = [], {}  # keys in round-robin order; connections, by key
        self.running, self.rejected = {}, []  # the running connections with the time of their start
        self.now, self.charges, self.last_charge = 0.0, {}, 0.0

    def limits_of(self, key):
        return self.limits.get(key, QueueLimits())

    def may_start(self, key, running):
        slow = sum(self.now - started >= PATIENCE for started in self.running.values())
        return may_start(key, running, self.threads, self.limits, slow)

    def is_full(self, key):
        running = [one.key for one in self.running]
        at_once = 0
        while self.may_start(key, running):
            running.append(key)
            at_once += 1
        return len(self.waiting.get(key, [])) >= self.limits_of(key).queue + at_once

    def add(self, one):
        if self.is_full(one.key):
            waiting = self.waiting.setdefault(one.key, [])
            self.rejected += [other for other in waiting if not other.connected]
            waiting[:] = [other for other in waiting if other.connected]
            if not waiting and one.key in self.round:
                self.round.remove(one.key)
        if self.is_full(one.key):
            self.rejected.append(one)
        else:
            self.enqueue(one)
            self.start_all()

    def enqueue(self, one):
        self.waiting.setdefault(one.key, []).append(one)
        if one.key not in self.round:
            self.round.append(one.key)
            self.charges[one.key] = max(self.charges.get(one.key, 0.0), self.last_charge - MAX_CREDIT)

    def start_all(self):
        """Start every request that may start."""
        while keys := [key for key in self.round if self.may_start(key, [one.key for one in self.running])]:
            key = min(keys, key=self.charges.get)
            self.running[self.waiting[key].pop(0)] = self.now
            self.last_charge = max(self.last_charge, self.charges[key])
            self.charges[key] += MIN_CHARGE
            self.round.remove(key)
            if self.waiting[key]:
                self.round.append(key)

    def end(self, one, key):
        seconds = min(self.now - self.running.pop(one), PATIENCE)
        self.charges[key] += max(seconds - MIN_CHARGE, 0)
        self.start_all()

    def wait(self, seconds):
        self.now += seconds
        self.start_all()

    def reconfigure(self, limits, order):
        self.limits = limits
        waiting = sorted((one for queue in self.waiting.values() for one in queue), key=order.index)
        self.round, self.waiting = [], {}
        running = {one.key for one in self.running}
        self.charges = {key: charge for key, charge in self.charges.items() if key in running}
        for one in waiting:
            self.enqueue(one)
        self.start_all()


class Machine(RuleBasedStateMachine):
    """After each step the same requests run, wait and are rejected as in the model, each of them once."""

    @initialize(threads=st.sampled_from([1, 2, 3, 3, 4, 6, 9]), limits=LIMITS)
    def open(self, threads, limits):
        self.pool = Pool(threads, **limits)
        self.model = Model(threads, limits)

    @rule(key=st.sampled_from(KEYS), count=st.integers(1, 6))
    def add(self, key, count):
        for _ in range(count):
            self.model.add(*self.pool.add(key))

    @precondition(lambda self: self.model.running)
    @rule(data=st.data())
    def end(self, data):
        one = data.draw(st.sampled_from(list(self.model.running)))
        self.end_one(one)

    @rule(seconds=st.sampled_from([0.25, 0.5, 1.0, 60.0]))
    def wait(self, seconds):
        self.pool.wait(seconds)
        self.model.wait(seconds)

    @precondition(lambda self: self.model.round)
    @rule(data=st.data())
    def disconnect(self, data):
        queue = self.model.waiting[data.draw(st.sampled_from(self.model.round))]
        data.draw(st.sampled_from(queue)).connected = False

    @rule(limits=LIMITS, moved=st.dictionaries(st.sampled_from(KEYS), st.sampled_from(KEYS)))
    def reconfigure(self, limits, moved):
        for queue in self.model.waiting.values():
            for one in queue:
                one.key = moved.get(one.key, one.key)
        self.pool.reconfigure(**limits)
        self.model.reconfigure(limits, self.pool.connections)

    @rule()
    def reject(self):
        self.pool.queues.answer_rejected()
        assert [one for one in self.pool.connections if one.is_rejected] == sorted(
            self.model.rejected, key=self.pool.connections.index
        )

    @invariant()
    def equals_the_model(self):
        assert set(self.pool.running()) == set(self.model.running)
        waiting = {key: len(self.model.waiting[key]) for key in self.model.round}
        assert self.pool.queues.waiting_counts() == waiting
        assert self.pool.queues.is_busy == bool(
            waiting or self.model.running or not all(one.served for one in self.model.rejected)
        )

    def teardown(self):
        if not hasattr(self, "pool"):
            return
        while self.model.running:
            self.end_one(next(iter(self.model.running)))
        self.pool.queues.answer_rejected()
        assert not self.pool.queues.is_busy
        assert all(one.served == 1 for one in self.pool.connections)
        self.pool.close()

    def end_one(self, one):
        self.pool.end(one)
        self.model.end(one, one.key)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), threads=st.integers(2, 9))
def test_no_number_of_hanging_mounts_below_threads_stops_another(data, threads):
    """Whatever the hanging mounts get, and in which order: a mount that does not hang is served."""
    hanging = [f"hangs-{number}" for number in range(data.draw(st.integers(0, threads - 1)))]
    healthy = [f"healthy-{number}" for number in range(data.draw(st.integers(1, 3)))]
    table = {key: QueueLimits(limit=data.draw(st.sampled_from([None, None, 1, 3]))) for key in [*hanging, *healthy]}
    pool = Pool(threads, **table)
    try:
        for _ in range(data.draw(st.integers(0, 25))):
            pool.add(data.draw(st.sampled_from([*hanging, *healthy])), data.draw(st.integers(1, 4)))
            if data.draw(st.booleans()):
                pool.wait(data.draw(st.sampled_from([PATIENCE / 4, PATIENCE])))
            for one in pool.connections:
                if one.is_running and one.key in healthy and data.draw(st.booleans()):
                    pool.end(one)
        asked = pool.add(data.draw(st.sampled_from(healthy)))[0]
        for _ in range(200):  # each round ends at least one request of a healthy mount
            pool.end(*(one for one in pool.running() if one.key in healthy and one is not asked))
            if asked.served:
                break
            pool.wait()
        assert asked.served
        assert len(pool.running()) <= 2 * threads - 1
    finally:
        pool.close()


Machine.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestAgainstTheModel = Machine.TestCase


# ------------------------------------------------------------------------------------------------ under the scheduler


class Pipelined:
    """A connection with *count* requests. The thread that has served one adds the next."""

    def __init__(self, crowd, count, chance):
        self.crowd, self.left, self.chance = crowd, count, chance
        self.connected = True
        self.is_rejected = False
        self.served = 0
        self.key = chance.choice(KEYS)
        self.lock = threading.Lock()

    first_request = None

    def resume(self, may_wait):
        pass

    def reject(self, is_at_limit):
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
    """Many connections at once, and a count of the running requests of each mount."""

    def __init__(self, threads, limits):
        self.queues = FairQueues(threads, lambda one: one.key)
        self.limits, self.threads = limits, threads
        self.inside, self.lock = Counter(), threading.Lock()
        self.broken = []

    def enter(self, key):
        with self.lock:
            self.inside[key] += 1
            if self.inside[key] > self.limits.get(key, self.threads) or self.inside.total() > 2 * self.threads - 1:
                self.broken.append(dict(self.inside))

    def leave(self, key):
        with self.lock:
            self.inside[key] -= 1


@pytest.fixture
def hasty():
    """Switch between threads as often as possible."""
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

    def random_limits():
        return {
            "a": QueueLimits(limit=1, queue=chance.choice([0, 1, 100])),
            "b": QueueLimits(limit=chance.choice([1, 2]), queue=chance.choice([0, 100])),
            **({"c": QueueLimits(slow_after=0)} if chance.random() < 0.7 else {}),
        }

    is_over = threading.Event()

    def observe():
        while not is_over.is_set():
            for thread, running in queues.running_requests():
                queues.mark_reported(thread, running)
            queues.waiting_counts()

    observer = threading.Thread(target=observe)
    observer.start()
    try:
        queues.reconfigure(random_limits())
        for number, one in enumerate(connections):
            queues.add_task(one)
            if number % 7 == 0:
                queues.answer_rejected()
            if number % 31 == 0:
                queues.reconfigure(random_limits())

        def all_ended():
            queues.answer_rejected()
            return not any(one.left for one in connections)

        wait_until(all_ended)
    finally:
        is_over.set()
        observer.join(TIMEOUT)
        queues.stop()
    assert {one: one.served for one in connections} == wanted
    wait_until(lambda: not queues.is_busy)
    assert not crowd.broken
