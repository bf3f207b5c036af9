"""Fair queues without a server: connections that wait for the test to end their requests."""

import threading
from collections import Counter

from mountpoint.server.fair_queue import PATIENCE, FairQueues, QueueLimits
from support.waiting import TIMEOUT, wait_until


class Connection:
    """A connection with one request for the mount *key*. It runs until `end`, and then raises *raised*."""

    def __init__(self, key, raised=None):
        self.key, self.raised = key, raised
        self.connected = True
        self.is_rejected = False
        self.served = 0
        self.may_end = threading.Event()

    @property
    def label(self):
        return f"GET {self.key}"

    @property
    def first_request(self):
        return self

    def reject(self, is_at_limit):
        self.is_rejected = True
        self.is_at_limit = is_at_limit

    def resume(self, may_wait):
        pass

    def service(self):
        self.served += 1
        if not self.is_rejected:
            assert self.may_end.wait(TIMEOUT)
            if self.raised:
                raise self.raised

    def end(self):
        self.may_end.set()

    @property
    def is_running(self):
        """Whether a thread has entered the request and stays in it."""
        return bool(self.served) and not self.may_end.is_set()


def may_start(key, running, threads, limits, slow=0):
    """Whether a request of *key* may start while requests of the keys *running* run: the rules of the docstring.

    *slow* is how many of the running requests are slow.
    """
    own, total = running.count(key), len(running)
    free = threads - total
    limit = limits.get(key, QueueLimits()).limit
    by_admission = free > 0 and (own < free or len(limits) < 2)
    by_spare_thread = own == 0 and total < 2 * threads - 1 and total - slow < threads
    return (by_admission or by_spare_thread) and (limit is None or own < limit)


class Pool:
    """Fair queues, and the connections that were added to them. Time passes only in `wait`."""

    def __init__(self, threads, on_reported_end=lambda running: None, **limits):
        self.threads = threads
        self.limits = limits
        self.now = 0.0
        self.queues = FairQueues(threads, lambda connection: connection.key, on_reported_end, lambda: self.now)
        self.queues.reconfigure(limits)
        self.connections = []

    def add(self, key, count=1, **options):
        """Add *count* requests of the mount *key*. Return their connections once every request that may start has."""
        added = [Connection(key, **options) for _ in range(count)]
        self.connections += added
        for connection in added:
            self.queues.add_task(connection)
        self.settle()
        return added

    def end(self, *connections):
        """End their requests. Return once every request that may start has."""
        for connection in connections:
            connection.end()
        self.settle()

    def wait(self, seconds=PATIENCE):
        """Let *seconds* pass. Return once every request that may start has."""
        self.now += seconds
        self.queues.use_spare_threads()
        self.settle()

    def reconfigure(self, **limits):
        self.limits = limits
        self.queues.reconfigure(limits)
        self.settle()

    def settle(self):
        """Wait until every running request stays, and no waiting request may start."""

        def is_settled():
            waiting = self.queues.waiting_counts()  # first: a request that starts now is then counted as running
            running = self.running()
            keys = [connection.key for connection in running]
            return all(connection.is_running for connection in running) and not any(
                may_start(key, keys, self.threads, self.limits, self.slow_count()) for key in waiting
            )

        wait_until(is_settled, interval=0.0002)

    def running(self):
        """Return the connections whose requests run, the oldest first."""
        return [running.channel for _, running in self.queues.running_requests()]

    def slow_count(self):
        """Return how many slow requests run."""
        return sum(self.now - running.started_at >= PATIENCE for _, running in self.queues.running_requests())

    def counts(self):
        """Return how many requests run, by the key of their mount."""
        return Counter(connection.key for connection in self.running())

    def close(self):
        self.queues.stop()
        for connection in self.connections:
            connection.end()
