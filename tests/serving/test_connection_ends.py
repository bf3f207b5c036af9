"""The end of a connection: clients that still send after the last response, and clients that half-close."""

import select
import signal
import socket
import sys
import time

import pytest
from support.client import PROBE, Client, app_file
from support.measuring import cpu_share, open_files
from support.waiting import TIMEOUT, wait_until

MIB = 1 << 20
STUCK = app_file("stuck_app")


def table(**server):
    settings = {"threads": 2, **server}
    lines = ["[server]", *(f"{key} = {value}" for key, value in settings.items())]
    return "\n".join([*lines, "[mounts]", f'"/app" = "{PROBE}:app"', f'"/stuck" = "{STUCK}:app"', ""])


#: One request runs, and the others wait. A header that does not end gets its 408 from another thread.
ONE_AT_A_TIME = f"""
[server]
threads = 4
header_timeout = 1
[mounts."/app"]
app = "{PROBE}:app"
limit = 1
"""


def post(client, size, *headers, path="/app/upload"):
    """Send a POST request with *size* zero bytes, all of it before anything is read."""
    client.request(path, f"Content-Length: {size}", *headers, method="POST")
    client.send(bytes(size))


# ----------------------------------------------------------------------------------- a client that sends after the end


@pytest.mark.parametrize("transport", ["tcp", "unix"])
def test_a_client_that_sends_10_mb_gets_its_413(serve, socket_path, transport):
    server = serve(table(max_request_body_size=MIB), *(["--listen", f"unix:{socket_path}"] * (transport == "unix")))
    for _ in range(20):
        with Client(server.url) as client:
            post(client, 10 * MIB)
            answer = client.answer()
            assert (answer.status, answer.closes) == (413, True)
            assert b"max_request_body_size of 1048576" in answer.body
            assert client.is_closed()
    assert server.stop() == 0


@pytest.mark.parametrize(
    ("start", "status"),
    [
        ("POST /app/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nbad\r\n", 400),
        ("POST /app/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n200000\r\n", 413),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: " + "x" * 300_000, 431),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        ("POST /app/boom HTTP/1.1\r\nHost: a\r\n\r\n", 500),
        ("GET /app/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200),
    ],
)
def test_a_response_arrives_whole_while_the_client_still_sends(serve, start, status):
    server = serve(table(max_request_body_size=MIB))
    for _ in range(5):
        with Client(server.url) as client:
            client.send(start.encode() + bytes(5 * MIB))
            answer = client.answer()
            assert (answer.status, answer.closes) == (status, True)
            assert client.is_closed()


def test_a_timed_out_header_gets_408_although_the_client_goes_on(serve, connect):
    client = connect(serve(table(header_timeout=1)))
    client.send("POST /")
    select.select([client.socket], [], [], TIMEOUT)
    client.send(bytes(5 * MIB))
    assert client.answer().status == 408


@pytest.mark.skipif(sys.platform == "win32", reason="nginx inherits a socket, which Windows does not support")
def test_a_client_behind_nginx_gets_413(serve, nginx):
    server = serve(table(max_request_body_size=MIB))
    proxy = nginx(
        "server { listen 80; location / {"
        f" client_max_body_size 0; proxy_request_buffering off; proxy_http_version 1.1; proxy_pass {server.url};"
        " proxy_set_header Connection ''; } }"
    )
    answers = [proxy.request("/app/upload", "POST", body=bytes(10 * MIB)) for _ in range(20)]
    assert [answer.status for answer in answers] == [413] * 20


def send_until_cut_off(client, data, pace=0.0):
    while True:
        try:
            client.send(data)
        except ConnectionError:
            return True
        time.sleep(pace)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_lingering_connection_is_closed_and_holds_no_thread(serve, connect):
    server = serve(table(max_request_body_size=10))
    before = open_files(server)
    lingering = [connect(server) for _ in range(5)]
    for client in lingering:
        client.request("/app/upload", "Content-Length: 11", method="POST")
        assert client.answer().status == 413
    with Client(server.url) as client:
        assert client.get("/app/").status == 200  # with 2 threads
    wait_until(lambda: open_files(server) <= before)  # the start may still have had a file open


def test_a_client_that_sends_for_ever_is_cut_off(serve, connect):
    client = connect(serve(table(max_request_body_size=10)))
    client.request("/app/upload", "Content-Length: 1000000000000", method="POST")
    assert client.answer().status == 413
    assert send_until_cut_off(client, bytes(MIB))


def test_lingering_connections_do_not_delay_a_drain_for_long(serve, connect):
    server = serve(table(max_request_body_size=10, drain_timeout=1000))
    client = connect(server)
    client.request("/app/upload", "Content-Length: 1000000000000", method="POST")
    assert client.answer().status == 413
    server.send(signal.SIGTERM)
    assert send_until_cut_off(client, b"x", pace=0.1)  # never idle
    assert server.wait() == 0
    assert "no request was cut off" in server.log()


# ------------------------------------------------------------------------------------------- a client that half-closes


@pytest.mark.parametrize("lookahead", [0, 1, 5])
@pytest.mark.parametrize("transport", ["tcp", "unix"])
def test_a_client_that_half_closes_gets_its_responses(serve, socket_path, tmp_path, lookahead, transport):
    where = ["--listen", f"unix:{socket_path}"] * (transport == "unix")
    server = serve(table(channel_request_lookahead=lookahead), *where)
    for number in range(10):
        with Client(server.url) as client:
            client.pipeline(f"/app/hold/{number}", "/app/a", "/nowhere", "/app/b")
            client.socket.shutdown(socket.SHUT_WR)
            server.wait_for(f"holding {number}")
            (tmp_path / str(number)).touch()
            assert client.answer().body == f"held {number}".encode()
            assert [client.answer().status for _ in range(3)] == [200, 404, 200]
            assert client.is_closed()
    assert server.stop() == 0


def test_the_last_response_to_a_half_closed_client_says_close(serve, connect, tmp_path):
    server = serve(table())
    client = connect(server, "/app/hold/go")
    server.wait_for("holding go")
    client.socket.shutdown(socket.SHUT_WR)
    for _ in range(3):  # turns of the loop, in which it notices the half-close
        assert connect(server).get("/nowhere").status == 404
    (tmp_path / "go").touch()
    assert client.answer().closes


def test_a_request_of_a_half_closed_client_that_resets_does_not_run(serve, connect, tmp_path):
    server = serve(ONE_AT_A_TIME)
    holding = connect(server, "/app/hold/go")
    server.wait_for("holding go")
    gone = connect(server, "/app/hold/never")
    gone.socket.shutdown(socket.SHUT_WR)
    gone.reset()
    assert_dropped(server, connect, holding, tmp_path)


def test_a_waiting_request_whose_client_closed_a_unix_socket_does_not_run(serve, connect, socket_path, tmp_path):
    server = serve(ONE_AT_A_TIME, "--listen", f"unix:{socket_path}")
    holding = connect(server, "/app/hold/go")
    server.wait_for("holding go")
    connect(server, "/app/hold/never").close()
    assert_dropped(server, connect, holding, tmp_path)


def assert_dropped(server, connect, holding, tmp_path):
    """Release the request *holding* after the loop has looked at its connections, and require that no other ran."""
    timed_out = connect(server)
    timed_out.send("G")
    assert timed_out.answer().status == 408  # in the look at all connections, once a second
    (tmp_path / "go").touch()
    assert holding.answer().status == 200
    assert connect(server, "/app/").answer().status == 200
    assert server.stop() == 0
    assert "holding never" not in server.log()


def test_a_large_response_reaches_a_half_closed_client_whole(serve, connect):
    client = connect(serve(table()), "/app/sized/50000000", buffer=4096)
    client.socket.shutdown(socket.SHUT_WR)
    assert len(client.answer().body) == 50_000_000
    assert client.is_closed()


def test_half_a_request_before_a_half_close_is_dropped(serve, connect):
    server = serve(table(drain_timeout=1000))
    for data in ("", "GET /app/ HT", "POST /app/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc", "\r\n"):
        client = connect(server)
        client.send(data)
        client.socket.shutdown(socket.SHUT_WR)
        assert client.read_to_end() == b""
        client = connect(server)
        client.pipeline("/app/")
        client.send(data)
        client.socket.shutdown(socket.SHUT_WR)
        assert client.answer().status == 200
        assert client.is_closed()
    assert server.stop() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_half_closed_client_costs_no_cpu_while_it_waits(serve, connect, tmp_path):
    server = serve(table())
    client = connect(server, "/app/hold/go")
    client.socket.shutdown(socket.SHUT_WR)
    server.wait_for("holding go")
    assert cpu_share(server) < 0.2
    (tmp_path / "go").touch()
    assert client.answer().status == 200
