"""Fair queues to be tested alone, with connections that do nothing but wait to be told that their request has ended."""

import threading
from collections import Counter

from mountpoint.server.fair_queue import FairQueues
from support.waiting import TIMEOUT, wait_until


class Connection:
    """A connection with a request of the mount *key*, which runs until `end`, and then raises *raised*."""

    def __init__(self, key, raised=None):
        self.key, self.raised = key, raised
        self.connected = True
        self.is_rejected = False
        self.served = 0
        self.may_end = threading.Event()

    @property
    def title(self):
        return f"GET {self.key}"

    @property
    def first(self):
        return self

    def reject(self):
        self.is_rejected = True

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
        """Whether its thread, if it has one, is in the request and stays there."""
        return bool(self.served) and not self.may_end.is_set()


class House:
    """Fair queues, and what came to them."""

    def __init__(self, threads, ended=lambda run: None, **limits):
        self.threads = threads
        self.queues = FairQueues(threads, lambda connection: connection.key, ended)
        self.queues.reconfigure(limits)
        self.all = []

    def add(self, key, count=1, **options):
        """Add *count* requests of the mount *key*; return their connections, once all that can begin has begun."""
        added = [Connection(key, **options) for _ in range(count)]
        self.all += added
        for connection in added:
            self.queues.add_task(connection)
        self.settle()
        return added

    def end(self, *connections):
        """End their requests; return once all that can begin has begun."""
        for connection in connections:
            connection.end()
        self.settle()

    def reconfigure(self, **limits):
        self.queues.reconfigure(limits)
        self.settle()

    def settle(self):
        """Wait until every thread waits, or is in a request that does not end by itself."""

        def is_settled():
            with self.queues._lock:
                running = [run.channel for run in self.queues._runs.values()]
                return self.queues._idle + len(running) == self.threads and all(one.is_running for one in running)

        wait_until(is_settled, interval=0.0002)

    def running(self):
        """Return the connections whose requests run, the oldest first."""
        return [run.channel for _, run in self.queues.runs()]

    def counts(self):
        """Return how many requests run, by the key of their mount."""
        return Counter(connection.key for connection in self.running())

    def close(self):
        self.queues.stop()
        for connection in self.all:
            connection.end()
