"""A server or a worker that gets no further descriptor or thread: it says so, and keeps nothing open."""

import errno
import os
import socket
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from support.client import app_file
from support.tables import config_of, write

from mountpoint.errors import LoadError
from mountpoint.workers.connection import WorkerLost
from mountpoint.workers.processes import WorkerProcesses
from mountpoint.workers.worker import Worker

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the tests read /proc")

APP = app_file("own_app")
NO_THREAD = """
import sys

def fail(*_):
    raise RuntimeError("can't start new thread")

sys.modules["mountpoint_worker.workers.child_main"].start_new_thread = fail

def app(environ, start_response):
    start_response("200 OK", [])
    return []
"""


@pytest.fixture
def mount(tmp_path):
    return config_of(tmp_path, f'[mounts."/own"]\napp = "{APP}:app"\nprocess = "own"\n').mounts[0]


def descriptors():
    return len([*Path("/proc/self/fd").iterdir()])


@pytest.mark.parametrize(
    ("owner", "name", "successes"),
    [(socket, "socketpair", 0), (os, "pipe", 0), (os, "pipe", 1), (os, "memfd_create", 0)],
)
def test_without_descriptors_a_worker_does_not_start_and_leaves_none_open(mount, monkeypatch, owner, name, successes):
    real, calls = getattr(owner, name), []

    def limited(*arguments):
        calls.append(arguments)
        if len(calls) > successes:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(*arguments)

    before = descriptors()
    monkeypatch.setattr(owner, name, limited)
    with pytest.raises(LoadError, match=r"cannot be started: .*Too many open files"):
        Worker(mount, os.environ)
    assert descriptors() == before


@pytest.mark.parametrize(("thread", "message"), [("output", "cannot be started"), ("workers", "cannot be supervised")])
def test_without_a_thread_a_worker_does_not_start_and_leaves_nothing(mount, monkeypatch, thread, message):
    start = threading.Thread.start

    def limited(self):
        if self.name.startswith(f"mountpoint-{thread}"):
            raise RuntimeError("can't start new thread")
        start(self)

    before = descriptors()
    processes = WorkerProcesses()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", limited)
        with pytest.raises(LoadError, match=message):
            Worker(mount, os.environ) if thread == "output" else processes.start(mount)
    assert descriptors() == before
    app = processes.start(mount)
    try:
        assert processes.wait(app, 30)
        assert processes.error(app) is None
    finally:
        processes.close()


def test_a_worker_without_a_further_thread_closes_the_connection_and_lives_on(start, tmp_path):
    write(tmp_path, {"full.py": NO_THREAD})
    [worker] = start("threads = 1", app="full:app").pool.workers
    with closing(worker.connect()) as first, closing(worker.connect()) as second:
        with pytest.raises(WorkerLost):
            second.begin(b"", lambda size: b"")
        assert worker.stack(first.number) == f"(worker {worker.pid} has not begun it)"
