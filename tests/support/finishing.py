"""Requests that have finished, without a server, at times that the test chooses."""

from pathlib import Path
from types import SimpleNamespace

from mountpoint.config.reader import MountConfig
from mountpoint.server.finished import FinishedRequest, measure
from mountpoint.status.counters import Counters
from mountpoint.wsgi.record import RequestRecord


def finished(mount="/app", status=200, at=1000.0, **facts):
    """Return what an observer hears of a request that ended *at* a time: its measures, and the function for the rest.

    *facts* are ``queue`` and ``app``, in seconds, and those of the client.
    """
    record = RequestRecord("192.0.2.7")
    record.mount, record.reason = mount, facts.get("reason")
    client_request = SimpleNamespace(
        command=facts.get("method", "GET"),
        path_info=facts.get("path", f"{mount}/"),
        headers={},
        error=None,
        record=record,
        route=None,
        rejection=facts.get("rejection"),
        started_at=at - facts.get("app", 0.0),
        received_at=at - facts.get("app", 0.0) - facts.get("queue", 0.0),
        body_length=facts.get("bytes_in", 0),
        request_id=facts.get("request_id"),
    )
    measures = measure(client_request, status, facts.get("bytes_out", 0), at)
    return measures, lambda: FinishedRequest(client_request, None, measures, False)


def mounts(*keys, slow_after=10.0):
    """Return the configurations of mounts at *keys*."""
    return [MountConfig(key, SimpleNamespace(text="app:app"), Path("/srv"), slow_after=slow_after) for key in keys]


class Clock:
    """A clock that the test sets."""

    def __init__(self, now=1000.0):
        self.now = now

    def __call__(self):
        return self.now


class CountedSite:
    """Counters with a clock of the test, for the mounts *keys*."""

    def __init__(self, *keys, **options):
        self.clock = Clock()
        self.counters = Counters(self.clock)
        self.counters.configure(mounts(*keys, **options))

    def finish(self, mount="/app", status=200, count=1, **facts):
        """Let *count* requests end now."""
        for _ in range(count):
            self.counters.request_finished(*finished(mount, status, self.clock.now, **facts))

    def read(self, key="/app"):
        """Return the part of the snapshot that *key* has from the counts."""
        return self.counters.read().mounts[key].as_dict()
