"""Uploads: slow ones, many at once, and ones that no app wants. No client may lock out the others.

No test sleeps until a timeout has passed: it waits for the response to a client that began later.
"""

import re
import select

import pytest
from support.client import app_file
from support.waiting import wait_until

APP_FILE = app_file("stuck_app")
MOUNTS = f"""
[mounts]
"/app" = "{APP_FILE}:app"
"/small" = {{ app = "{APP_FILE}:app", max_body = 10 }}
"""
POST = "POST /app/ HTTP/1.1\r\nHost: a\r\n"


def table(**server):
    return "\n".join(["[server]", *(f"{key} = {value}" for key, value in server.items()), MOUNTS])


@pytest.fixture
def upload(connect):
    """Return ``upload(server, body, length=100, path="/app/")``, which begins an upload and sends *body* of it."""

    def upload(server, body="", length=100, path="/app/"):
        client = connect(server)
        client.send(f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}")
        return client

    return upload


def is_silent(client) -> bool:
    return not select.select([client.socket], [], [], 0)[0]


@pytest.fixture
def stored(upload):
    """Return ``stored(server)``: an upload that holds 60,000 of 100,000 bytes, and the refusal of another one."""

    def stored(server):
        for _ in range(1000):
            first, refused = upload(server, "x" * 60_000, length=60_001), None
            while is_silent(first) and (refused is None or refused.status == 200):  # the server has not read it yet
                refused = upload(server, "x" * 50_000, length=50_000).answer()
            if is_silent(first):
                return first, refused
        raise AssertionError("the first of two uploads was refused each time")

    return stored


# -------------------------------------------------------------------------------------------------------- slow bodies


def test_as_many_slow_uploads_as_connection_limit_do_not_lock_others_out(serve, connect, upload):
    server = serve(table(connection_limit=20, body_timeout=1))
    slow = [upload(server, "x") for _ in range(20)]
    other = connect(server, "/app/")
    for number, client in enumerate(slow):
        if number % 2 and is_silent(client):
            client.send("x")
    assert other.answer().body == b"ok"
    for client in slow:
        answer = client.answer()
        assert (answer.status, answer.closes) == (408, True)
        assert client.is_closed()
    assert '"POST /app/ HTTP/1.1" 408 ' in server.log()


@pytest.mark.parametrize(
    ("framing", "piece"),
    [("Content-Length: 10000", "x"), ("Transfer-Encoding: chunked", "1\r\nx\r\n"), ("Transfer-Encoding: chunked", "0")],
)
def test_a_body_that_drips_gets_408(serve, connect, framing, piece):
    server = serve(table(body_timeout=1))
    client = connect(server)
    client.send(f"{POST}{framing}\r\n\r\n")
    while not select.select([client.socket], [], [], 0.1)[0]:
        client.send(piece)
    assert client.answer().status == 408
    assert client.is_closed()


def test_a_body_at_a_fair_rate_takes_as_long_as_it_needs(serve, connect, upload):
    server = serve(table(body_timeout=2, body_min_rate=100))
    client, sent = upload(server, length=1_000_000), 0
    for _ in range(2):
        late = upload(server)
        while not select.select([late.socket], [], [], 0.05)[0]:
            client.send(b"x" * 1000)
            sent += 1000
        assert late.answer().status == 408
    client.send(b"x" * (1_000_000 - sent))
    assert client.answer().body == b"x" * 1_000_000


def test_a_body_behind_a_running_request_does_not_time_out(serve, connect, upload, tmp_path):
    server = serve(table(body_timeout=1))
    client = connect(server, "/app/paused/go")
    client.send(f"{POST}Content-Length: 3\r\n\r\n1")
    server.wait_for("paused")
    for _ in range(2):
        assert upload(server).answer().status == 408
    (tmp_path / "go").touch()
    assert client.answer().body == b"12"
    assert client.answer().status == 408


def test_a_body_timeout_of_0_disables_it(serve, connect, upload):
    server = serve(table(body_timeout=0, header_timeout=1))
    client = upload(server, "x", length=2)
    for _ in range(2):
        late = connect(server)
        late.send("G")
        assert late.answer().status == 408
    client.send("y")
    assert client.answer().body == b"xy"


# --------------------------------------------------------------------------------------------------- connection_limit


def test_at_the_limit_the_longest_idle_connection_makes_room(serve, connect):
    server = serve(table(connection_limit=4))
    idle = [connect(server) for _ in range(4)]
    for client in idle:
        assert client.get("/app/").body == b"ok"
    server.wait_for('"GET /app/ ', count=4)
    first = connect(server, "/app/")
    assert first.answer().body == b"ok"
    assert sum(not is_silent(client) for client in idle) == 1
    others = [connect(server, "/app/") for _ in range(3)]
    assert all(other.answer().body == b"ok" for other in others)
    assert all(client.is_closed() for client in idle)
    assert first.get("/app/").body == b"ok"
    assert server.log().count("connection_limit is reached") == 1


def test_silent_connections_make_room_too(serve, connect):
    server = serve(table(connection_limit=4))
    silent = [connect(server) for _ in range(12)]
    assert connect(server, "/app/").answer().body == b"ok"
    assert sum(client.is_closed() for client in silent[:8]) == 8


def test_a_connection_within_a_request_makes_no_room(serve, connect, upload, tmp_path):
    server = serve(table(connection_limit=4, threads=8))
    header, body = connect(server), upload(server, "x", length=2)
    header.send("GET /app/ HTTP/1.1\r\n")
    running = [connect(server, "/app/paused/go") for _ in range(2)]
    server.wait_for("paused", count=2)
    late = connect(server, "/app/")
    server.wait_for("no longer accepting")
    assert is_silent(late)
    header.send("Host: a\r\n\r\n")
    assert header.answer().body == b"ok"
    assert late.answer().body == b"ok"  # the first one is idle now
    assert header.is_closed()
    body.send("y")
    assert body.answer().body == b"xy"
    (tmp_path / "go").touch()
    assert [client.answer().body for client in running] == [b"12", b"12"]


# ------------------------------------------------------------------------------------------------- max_buffered_bodies


def test_a_body_that_does_not_fit_beside_the_others_gets_503(serve, upload, stored):
    server = serve(table(max_buffered_bodies=100_000))
    first, refused = stored(server)
    assert refused.status == 503
    assert (refused.headers["Retry-After"], refused.closes) == ("5", True)
    assert upload(server, "x" * 30_000, length=30_000).answer().status == 200
    first.send("x")
    assert len(first.answer().body) == 60_001
    wait_until(lambda: upload(server, "x" * 100_000, length=100_000).answer().status == 200)


def test_a_chunked_body_is_refused_when_it_no_longer_fits(serve, connect):
    server = serve(table(max_buffered_bodies=100_000))
    client = connect(server)
    client.send(f"{POST}Transfer-Encoding: chunked\r\n\r\n")
    chunk = f"{10_000:x}\r\n" + "x" * 10_000 + "\r\n"
    client.send(chunk * 9)
    assert is_silent(client)
    client.send(chunk * 2)
    assert client.answer().status == 503


@pytest.mark.parametrize("how", ["reset", "close", "408"])
def test_the_room_of_a_broken_upload_is_free_again(serve, upload, stored, how):
    server = serve(table(max_buffered_bodies=100_000, body_timeout=1 if how == "408" else 60))
    first, _ = stored(server)
    if how == "408":
        assert first.answer().status == 408
    else:
        getattr(first, how)()
    wait_until(lambda: upload(server, "x" * 100_000, length=100_000).answer().status == 200)


# --------------------------------------------------------------------------------------------- refused at the header


@pytest.mark.parametrize("path", ["/", "/none", "/apple", "/app/../x"])
@pytest.mark.parametrize("framing", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("expect", ["", "Expect: 100-continue\r\n"])
def test_an_upload_that_no_mount_owns_is_refused_at_the_header(serve, connect, path, framing, expect):
    server = serve(table())
    client = connect(server)
    client.send(f"POST {path} HTTP/1.1\r\nHost: a\r\n{expect}{framing}\r\n\r\n")
    answer = client.answer()
    assert (answer.status, answer.closes) == (400 if ".." in path else 404, True)
    assert client.is_closed()
    assert len(re.findall(rf'"POST {re.escape(path)} HTTP/1.1" 40\d ', server.wait_for('"POST '))) == 1


def test_a_body_over_max_body_is_refused_at_the_header(serve, upload):
    server = serve(table())
    client = upload(server, length=11, path="/small/")
    answer = client.answer()
    assert (answer.status, answer.closes) == (413, True)
    assert '413 46 "-" "-" /small ' in server.wait_for('" 413 ')
    client = upload(server, "x" * 5, length=10, path="/small/")
    client.send("y" * 5)
    assert client.answer().body == b"xxxxxyyyyy"


def test_the_body_of_a_refused_upload_is_not_a_request(serve, connect, upload):
    server = serve(table())
    body = "GET /app/inner HTTP/1.1\r\nHost: a\r\n\r\n"
    client = connect(server)
    client.send(f"POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n{body}")
    assert client.answer().status == 404
    try:
        for _ in range(10):
            client.send(body)
        assert client.is_closed()
    except ConnectionError:
        pass
    assert connect(server, "/app/").answer().body == b"ok"
    assert "inner" not in server.log()


def test_a_refused_upload_behind_another_request_is_answered_in_order(serve, connect, tmp_path):
    server = serve(table())
    client = connect(server, "/app/paused/go")
    client.send("POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n")
    server.wait_for("paused")
    (tmp_path / "go").touch()
    assert client.answer().body == b"12"
    assert client.answer().status == 404
    assert client.is_closed()


def test_a_body_that_comes_with_its_header_keeps_the_connection(serve, connect):
    client = connect(serve(table()))
    client.request("/none", method="POST", body=b"abc")
    answer = client.answer()
    assert (answer.status, answer.closes) == (404, False)
    client.request("/app/", method="POST", body=b"abc")
    assert client.answer().body == b"abc"


def test_an_app_waits_for_its_body_after_100_continue(serve, connect):
    client = connect(serve(table()))
    client.send(f"{POST}Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    assert client.head()[0] == 100
    client.send("abc")
    assert client.answer().body == b"abc"
