"""A command connects to a server whose queue of connections is full."""

import socket
import sys
import threading
import time
from contextlib import ExitStack
from itertools import count
from types import SimpleNamespace

import pytest
from support.waiting import TIMEOUT

from mountpoint.errors import ControlError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux does not queue the connection")

if sys.platform == "linux":
    from mountpoint.lifecycle import control_connection
    from mountpoint.lifecycle.control_connection import Connection


@pytest.fixture
def full(socket_path):
    """Return a listener at `socket_path` whose queue is full, and the number of connections in it."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(socket_path))
        listener.settimeout(TIMEOUT)
        listener.listen(0)
        for queued in count():  # noqa: B007 - the last number is the size of the queue
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            try:
                client.connect(str(socket_path))
            except BlockingIOError:
                break
        yield listener, queued


def test_it_waits_while_the_server_has_many_clients(full, socket_path, monkeypatch):
    waits = threading.Event()
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=lambda seconds: waits.set() or time.sleep(seconds))
    monkeypatch.setattr(control_connection, "time", clock)

    listener, queued = full

    def serve():
        assert waits.wait(TIMEOUT)
        for _ in range(queued + 1):
            client, _ = listener.accept()
            with client:
                client.sendall(b'{"pid": 7}\n')

    thread = threading.Thread(target=serve)
    thread.start()
    connection = Connection(socket_path, TIMEOUT)
    thread.join()
    connection.close()
    assert connection.greeting == {"pid": 7}


def test_a_queue_that_stays_full_is_a_server_that_does_not_answer(full, socket_path):
    with pytest.raises(ControlError, match=r"listens on .* and did not answer within 0\.01 s"):
        Connection(socket_path, 0.01)
