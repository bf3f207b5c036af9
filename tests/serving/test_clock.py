"""The system's clock is set while the server runs: no time-out may depend on it.

An app stands in for the operator: it replaces `time.time` for the whole process, and a request shifts it.
"""

import re

import pytest
from support.client import Client
from support.sources import LINTED

APP = (
    """
import time
real, shift = time.time, 0
def shifted():
    return real() + shift
time.time = shifted
def app(environ, start_response):
    global shift
    if environ["PATH_INFO"].startswith("/shift/"):
        shift = int(environ["PATH_INFO"].removeprefix("/shift/"))
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]
"""
    + LINTED
)
HOUR = 3600
SHIFTS = pytest.mark.parametrize("shift", [-HOUR, HOUR], ids=["back", "forward"])


@pytest.fixture
def serve_clock(serve, tmp_path):
    """Return ``serve_clock(channel_timeout)``, which serves an app that can shift the clock."""
    (tmp_path / "clock.py").write_text(APP)
    times = "[server]\nheader_timeout = 1\ncleanup_interval = 1\nchannel_timeout = {}\n"
    return lambda channel_timeout: serve(times.format(channel_timeout) + '[mounts]\n"/clock" = "clock:app"\n')


def set_clock(server, shift):
    with Client(server.url) as client:
        assert client.get(f"/clock/shift/{shift}", "Connection: close").status == 200


@SHIFTS
def test_unfinished_headers_and_idle_connections_time_out(serve_clock, connect, shift):
    server = serve_clock(1)
    idle, fresh, unfinished = connect(server, "/clock/"), connect(server), connect(server)
    assert idle.answer().body == b"ok"
    unfinished.send("GET /clock/ HT")
    set_clock(server, shift)
    assert unfinished.answer().status == 408
    assert all(client.is_closed() for client in (unfinished, idle, fresh))


@SHIFTS
def test_a_drain_closes_idle_connections(serve_clock, connect, shift):
    server = serve_clock(60)
    idle = connect(server, "/clock/")
    assert idle.answer().body == b"ok"
    set_clock(server, shift)
    assert server.stop() == 0
    assert idle.is_closed()


def test_a_clock_that_is_set_forward_closes_no_connection_early(serve_clock, connect):
    server = serve_clock(60)
    idle = connect(server, "/clock/")
    assert idle.answer().body == b"ok"
    set_clock(server, HOUR)
    unfinished = connect(server)
    unfinished.send("GET /clock/ HT")
    assert unfinished.answer().status == 408  # the server has looked for connections to close
    assert idle.get("/clock/").body == b"ok"


@SHIFTS
def test_the_access_log_has_the_real_duration(serve_clock, shift):
    server = serve_clock(60)
    set_clock(server, shift)
    durations = re.findall(r" /clock (\S+)\n", server.wait_for("/clock/shift/"))
    assert [0 <= float(milliseconds) < HOUR * 1000 / 2 for milliseconds in durations] == [True]
