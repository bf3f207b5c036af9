"""A server that drains: it accepts no new connections, finishes the requests in flight and ends."""

from __future__ import annotations

import signal

from support.running import MountpointServe

BIG = 40_000_000  # bytes: more than the server and both sockets hold together
NOTHING_LOST = "stopped; no request was cut off"


def drain(server: MountpointServe, number: int = signal.SIGTERM) -> None:
    """Send the signal *number* and return once *server* drains."""
    server.send(number)
    server.wait_for("draining")


def assert_nothing_lost(server: MountpointServe) -> None:
    """Wait until *server* has ended. Assert that it finished every request."""
    assert server.wait() == 0
    assert NOTHING_LOST in server.log()
    assert "Traceback" not in server.log()
