"""Fixtures of the status page: the app with a snapshot made by hand, and a listener in this process."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from support.status_snapshot import Process, troubled
from support.waiting import TIMEOUT
from webtest import TestApp

from mountpoint.status.app import StatusApp
from mountpoint.status.listener import StatusListener


@pytest.fixture
def client() -> Callable[..., TestApp]:
    """Return ``client(snapshot, age, **settings)``, which returns a client of the app, inside a linter.

    *snapshot* is one that `support.status_snapshot` makes, and *age* that of the loop.
    """

    def client(snapshot=None, age=0.1, **settings) -> TestApp:
        process = Process(troubled() if snapshot is None else snapshot)
        process.age = age
        return TestApp(StatusApp(process, **settings), lint=True)

    return client


@pytest.fixture
def listen() -> Iterator[Callable[..., tuple[str, int]]]:
    """Return ``listen(app)``, which serves *app* until the end of the test and returns its address."""
    with ExitStack() as stack:

        def listen(app) -> tuple[str, int]:
            sock = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            listener = StatusListener([sock], app)
            listener.start()
            stack.callback(listener.join, TIMEOUT)
            stack.callback(listener.stop)
            return sock.getsockname()

        yield listen
