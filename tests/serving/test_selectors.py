"""The loop misses no event, with each selector that this Python has, and with no look at all connections in between.

The server runs in a thread of the test, because only so can a test choose the selector. A lost event is a hang here:
`EventLoop.check`, which would repair it after a second, is switched off.
"""

import errno
import selectors
import socket
import sys
import threading
import time

import pytest
from support.site_in_thread import LARGE, connect, running_site
from support.waiting import wait_until

from mountpoint.server import selector as selector_module
from mountpoint.server.channel import Channel
from mountpoint.server.event_loop import EventLoop
from mountpoint.server.selector import PortableSelector

SELECTORS = {
    name: (lambda name=name: PortableSelector(getattr(selectors, name)()))
    for name in ("EpollSelector", "KqueueSelector", "PollSelector", "SelectSelector")
    if hasattr(selectors, name)
}
if sys.platform == "linux":
    SELECTORS["epoll"] = selector_module.EpollSelector


@pytest.fixture
def site(tmp_path, monkeypatch, selector, lookahead):
    monkeypatch.setattr(EventLoop, "check", lambda loop: None)
    with running_site(tmp_path, selector(), channel_request_lookahead=lookahead) as site:
        yield site


# -------------------------------------------------------------------------------------------------------- the scenarios


def one_after_the_other(site):
    with connect(site) as client:
        for number in range(20):
            assert client.get(f"/app/{number}").body == f"/{number}".encode()


def pipelined(site):
    with connect(site) as client:
        client.pipeline(*(f"/app/{number}" for number in range(20)))
        assert [client.answer().body for _ in range(20)] == [f"/{number}".encode() for number in range(20)]


def several_connections(site):
    clients = [connect(site) for _ in range(8)]
    for number in range(5):
        for client in clients:
            client.request(f"/app/{number}")
        assert {client.answer().body for client in clients} == {f"/{number}".encode()}
    for client in clients:
        client.close()


def a_request_in_pieces(site):
    with connect(site) as client:
        for piece in ("POST /app/x HT", "TP/1.1\r\nHost: a\r\nContent-Length: 6\r\n", "\r\nabc", "def"):
            client.send(piece)
            time.sleep(0.001)  # so that the server can read it
        assert client.answer().body == b"abcdef"


def half_of_the_next_request(site):
    with connect(site) as client:
        for number in range(3):
            client.send(f"GET /app/{number} HTTP/1.1\r\nHost: a\r\n\r\nGET /app/next")
            assert client.answer().body == f"/{number}".encode()
            client.send(" HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.answer().body == b"/next"


def expect_continue(site):
    with connect(site) as client:
        client.send("POST /app/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert client.head()[0] == 100
        client.send("abc")
        assert client.answer().body == b"abc"


def a_slow_reader(site):
    with connect(site) as slow, connect(site) as other:
        slow.request("/app/large")
        assert other.get("/app/x").body == b"/x"
        assert len(slow.answer().body) == LARGE
        assert slow.get("/app/x").body == b"/x"


def the_end_of_a_connection(site):
    with connect(site) as client:
        client.request("/app/x", "Connection: close")
        assert client.answer().body == b"/x"
        assert client.is_closed()


def a_half_close(site):
    with connect(site) as client:
        client.pipeline("/app/1", "/app/2")
        client.socket.shutdown(socket.SHUT_WR)
        assert [client.answer().body, client.answer().body] == [b"/1", b"/2"]
        assert client.is_closed()


def a_refused_request(site):
    with connect(site) as client:
        client.send("nonsense\r\n\r\n")
        assert client.answer().status == 400
        client.socket.shutdown(socket.SHUT_WR)
        assert client.is_closed()


def a_request_behind_a_held_one(site):
    with connect(site) as client:
        client.request("/app/hold")
        wait_until(lambda: site.held)
        client.request("/app/next")
        site.release.set()
        assert [client.answer().body, client.answer().body] == [b"/hold", b"/next"]


def a_drain(site):
    with connect(site) as client:
        client.request("/app/hold")
        wait_until(lambda: site.held)
        site.server.stop()
        wait_until(lambda: site.server._listeners[0].draining)
        site.release.set()
        response = client.answer()
        assert (response.body, response.headers["Connection"]) == (b"/hold", "close")
        assert client.is_closed()


SCENARIOS = [
    *(
        one_after_the_other,
        pipelined,
        several_connections,
        a_request_in_pieces,
        half_of_the_next_request,
        expect_continue,
        a_slow_reader,
    ),
    *(the_end_of_a_connection, a_half_close, a_refused_request, a_request_behind_a_held_one, a_drain),
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
@pytest.mark.parametrize("lookahead", [0, 1])
@pytest.mark.parametrize("selector", SELECTORS.values(), ids=SELECTORS)
def test_no_event_is_lost(site, scenario):
    scenario(site)


@pytest.mark.parametrize("lookahead", [1])
@pytest.mark.parametrize("selector", SELECTORS.values(), ids=SELECTORS)
def test_the_loop_rests_while_the_request_of_a_half_closed_client_runs(site, monkeypatch):
    with connect(site) as client:
        client.request("/app/hold")
        wait_until(lambda: site.held)
        client.socket.shutdown(socket.SHUT_WR)
        channel = next(one for one in site.server._map.values() if hasattr(one, "lingers_until"))
        wait_until(lambda: channel._is_half_closed)
        waits = []
        selector = site.server._loop._selector
        wait = selector.wait
        monkeypatch.setattr(selector, "wait", lambda timeout: waits.append(timeout) or wait(timeout), raising=False)
        site.server._wake()
        wait_until(lambda: waits)
        time.sleep(0.05)
        assert len(waits) < 5
        site.release.set()
        assert client.answer().body == b"/hold"
        assert client.is_closed()


@pytest.mark.parametrize("lookahead", [1])
@pytest.mark.parametrize("selector", SELECTORS.values(), ids=SELECTORS)
def test_an_app_sees_that_its_client_has_reset_the_connection(site):
    client = connect(site)
    client.request("/app/until-reset")
    wait_until(lambda: site.held)
    client.reset()
    assert site.is_cut.wait(10)


@pytest.mark.parametrize("selector", SELECTORS.values(), ids=SELECTORS)
def test_a_connection_beyond_the_limit_is_accepted_once_another_ends(tmp_path, selector):
    with (
        running_site(tmp_path, selector(), connection_limit=2) as site,
        connect(site) as first,
        connect(site) as second,
    ):
        assert (first.get("/app/x").status, second.get("/app/x").status) == (200, 200)
        with connect(site) as third:
            third.request("/app/third")
            first.close()
            assert third.answer().body == b"/third"


@pytest.mark.parametrize("name", [name for name in SELECTORS if name.lower().startswith(("epoll", "kqueue"))])
def test_the_loop_survives_the_loss_of_its_selector(tmp_path, name):
    with running_site(tmp_path, lost := SELECTORS[name]()) as site, connect(site) as client:
        assert client.get("/app/x").status == 200
        (getattr(lost, "_epoll", None) or lost._selector).close()
        assert client.get("/app/x").status == 200


class SlowSocket:
    """A socket whose `recv` leaves time for another thread to close it."""

    def __init__(self, sock):
        self.sock = sock
        self.is_receiving, self.is_closed = threading.Event(), threading.Event()
        self.was_closed_meanwhile = False

    def recv(self, size):
        self.is_receiving.set()
        self.was_closed_meanwhile |= self.is_closed.wait(0.1)
        return self.sock.recv(size)

    def close(self):
        self.is_closed.set()
        self.sock.close()

    def __getattr__(self, name):
        return getattr(self.sock, name)


def test_the_loop_closes_no_connection_while_a_worker_thread_reads_it(tmp_path):
    """Else the next connection could get the descriptor, and the thread would read the data of another client."""
    with running_site(tmp_path) as site, connect(site) as client:
        assert client.get("/app/x").status == 200
        channel = next(one for one in site.server._map.values() if hasattr(one, "lingers_until"))
        sock = channel.socket = SlowSocket(channel.socket)
        reader = threading.Thread(target=channel._read)
        reader.start()
        assert sock.is_receiving.wait(10)
        site.server.call_soon_threadsafe(channel.handle_close)
        reader.join()
        assert sock.is_closed.wait(10)
        assert not sock.was_closed_meanwhile


class GoneForContinue:
    """A socket that the client resets just before 100 (Continue) is sent."""

    def __init__(self, sock):
        self.sock = sock

    def send(self, data):
        if data.startswith(b"HTTP/1.1 100"):
            raise BrokenPipeError(errno.EPIPE, "gone")
        return self.sock.send(data)

    def __getattr__(self, name):
        return getattr(self.sock, name)


@pytest.mark.parametrize("behind", ["", "GET /app/x HTTP/1.1\r\nHost: a\r\n\r\n"])
def test_only_the_loop_closes_a_connection(tmp_path, monkeypatch, behind):
    """Else a connection could leave the map of the loop while the loop iterates over it."""
    closers = []
    handle_close = Channel.handle_close
    monkeypatch.setattr(
        Channel, "handle_close", lambda self: (closers.append(threading.current_thread().name), handle_close(self))
    )
    with running_site(tmp_path) as site, connect(site) as client:
        client.request("/app/hold")
        wait_until(lambda: site.held)
        channel = next(one for one in site.server._map.values() if hasattr(one, "lingers_until"))
        channel.socket = GoneForContinue(channel.socket)
        client.send(behind + "POST /app/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        site.release.set()
        assert client.answer().status == 200
        wait_until(lambda: closers)
    assert not [name for name in closers if name.startswith("mountpoint-")]
