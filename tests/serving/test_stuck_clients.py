"""Stuck clients: some read nothing of a response, and some never finish a header.

No test sleeps until a timeout has passed: it waits until the server closes a connection that started later.
"""

import re
import select
import socket
import sys
from pathlib import Path

import pytest
from support.client import APPS, app_file

LARGE = 64 << 20  # bytes, as in the app
MIDDLE = 24 << 20
APP_FILE = app_file("stuck_app")
APP = f"""
[mounts]
"/app" = "{APP_FILE}:app"
"""


def table(**server):
    settings = {"threads": 8, "channel_timeout": 1, "cleanup_interval": 1, "header_timeout": 1, **server}
    return "\n".join(["[server]", *(f"{key} = {value}" for key, value in settings.items()), APP])


def stuck(connect, server, path="/app/large/endless"):
    """Return a client that requests a large response and reads nothing of it."""
    return connect(server, path, buffer=4096)


def is_silent(client) -> bool:
    return not select.select([client.socket], [], [], 0)[0]


def drip(client, text="X: y", until=lambda client: not is_silent(client)):
    """Send *text* repeatedly, a byte every 0.1 s, *until* the server sends something."""
    while not until(client):
        for byte in text:
            try:
                client.send(byte)
            except ConnectionError:
                return
            if select.select([client.socket], [], [], 0.1)[0]:
                break


# -------------------------------------------------------------------------------------------- clients that read nothing


@pytest.mark.parametrize("how", ["endless", "sized"])
def test_clients_that_read_nothing_are_closed_and_free_their_threads(serve, connect, how):
    server = serve(table())
    for _ in range(8):
        stuck(connect, server, f"/app/large/{how}")
    server.wait_for("begun", count=8)  # so that every thread is busy
    sibling = connect(server, "/app/")
    server.wait_for("the client has read nothing for 1 s", count=8)
    server.wait_for("generator closed", count=8)
    assert sibling.answer().body == b"ok"
    assert server.stop() == 0
    assert server.log().count(f'"GET /app/large/{how} HTTP/1.1" 200 ') == 8
    assert "Traceback" not in server.log()


def test_control_waitress_alone_keeps_clients_that_read_nothing(start, connect, tmp_path):
    code = (
        "import sys, waitress; sys.path.insert(0, sys.argv[1]); from stuck_app import app_at_prefix\n"
        "server = waitress.create_server(app_at_prefix, listen='127.0.0.1:0', threads=8, channel_timeout=1,\n"
        "    cleanup_interval=1, asyncore_loop_timeout=1)\n"
        "print('port', server.effective_port, file=sys.stderr, flush=True)\n"
        "server.run()\n"
    )
    server = start([sys.executable, "-c", code, APPS], cwd=tmp_path)
    log = server.wait_for(re.compile(r"^port \d+\n", re.MULTILINE))
    server.url = f"http://127.0.0.1:{re.search('^port (.*)', log, re.MULTILINE)[1]}"
    clients = [stuck(connect, server) for _ in range(8)]
    server.wait_for("begun", count=8)
    sibling = connect(server, "/app/")
    for _ in range(2):
        assert connect(server).is_closed()  # after channel_timeout, as it sends nothing
    assert is_silent(sibling)
    assert "generator closed" not in server.log()
    for client in clients:
        client.close()
    assert sibling.answer().body == b"ok"


def test_a_client_that_reads_nothing_of_a_file_is_closed(serve, connect):
    server = serve(table())
    clients = [stuck(connect, server, "/app/file") for _ in range(8)]
    server.wait_for("the client has read nothing for 1 s", count=8)
    for client in clients:
        with pytest.raises(ConnectionError, match="closed"):
            client.answer()
    if sys.platform == "linux":
        assert not [one for one in Path(f"/proc/{server.pid}/fd").iterdir() if one.readlink().name == "file"]
    assert connect(server, "/app/").answer().body == b"ok"


def test_a_slow_reader_that_keeps_reading_is_never_closed(serve, connect):
    # At 100 kB/s, a third of the kernel's buffer, which wakes the loop, takes longer than channel_timeout.
    server = serve(table(channel_timeout=4))
    client = connect(server, "/app/middle", buffer=1 << 18)
    received = 0
    while "/app/large/endless HTTP/1.1' of" not in server.log():  # until a client that connected later is closed
        select.select([], [], [], 0.1)  # the pace of the reader
        received += len(client.socket.recv(10_000))
        if 100_000 <= received < 110_000:
            stuck(connect, server)
    assert received < MIDDLE // 2
    while received < MIDDLE:
        data = client.socket.recv(1 << 20)
        assert data, received
        received += len(data)
    assert "/app/middle HTTP/1.1' of" not in server.log()


def test_a_slow_app_is_not_a_stuck_client(serve, connect, tmp_path):
    server = serve(table())
    client = connect(server, "/app/paused/go")
    server.wait_for("paused")
    for _ in range(2):
        stuck(connect, server)
    server.wait_for("the client has read nothing", count=2)
    (tmp_path / "go").touch()
    assert client.answer().body == b"12"


def test_a_file_on_a_slow_disk_delays_no_other(serve, connect, tmp_path):
    server = serve(table(channel_timeout=60))
    client = connect(server, "/app/far/go", buffer=1 << 18)
    received = 0
    while "far away" not in server.log():  # the app's thread reads the file, or later the loop
        if select.select([client.socket], [], [], 0.01)[0]:
            received += len(client.socket.recv(1 << 18))
    assert connect(server, "/app/").answer().body == b"ok"
    client.close()
    assert connect(server, "/app/").answer().body == b"ok"
    (tmp_path / "go").touch()


def test_a_file_truncated_while_it_is_sent_ends_the_connection(serve, connect, tmp_path):
    server = serve(table(channel_timeout=60))
    client = connect(server, "/app/truncated", buffer=1 << 18)
    server.wait_for('"GET /app/truncated HTTP/1.1" 200 ')  # its thread has finished, and the loop sends the rest
    (tmp_path / "truncated").write_bytes(b"")
    received = 0
    while data := client.socket.recv(1 << 20):  # until the server closes the connection, without a timeout
        received += len(data)
    assert received < LARGE
    assert connect(server, "/app/").answer().body == b"ok"


def test_rejections_behind_a_large_response_do_not_block_the_loop(serve, connect, tmp_path):
    # The loop writes rejections. It also empties the output buffer, so it must not wait for room in the buffer.
    full = f'[mounts."/full"]\napp = "{APP_FILE}:app"\nlimit = 1\nqueue = 0\n'
    server = serve(table(channel_timeout=60, outbuf_high_watermark=1000) + full)
    holding = connect(server, "/full/paused/go")
    server.wait_for("paused")
    client = connect(server, buffer=4096)
    # The client does not read the first response. The others together exceed outbuf_high_watermark.
    client.pipeline("/app/file", *["/full/"] * 50)
    server.wait_for('"GET /app/file ')
    received = 0
    while received < LARGE:
        received += len(client.socket.recv(1 << 20))
        if '"GET /full/' in server.log():
            break
    server.wait_for('"GET /full/ HTTP/1.1" 503 ', count=50)
    (tmp_path / "go").touch()
    assert holding.answer().body == b"12"
    assert connect(server, "/app/").answer().body == b"ok"


# ----------------------------------------------------------------------------------------------- headers that never end


@pytest.mark.parametrize("begin", ["", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: a\r\n", "\r\n\r\n", "POST /a"])
def test_a_header_that_arrives_byte_by_byte_gets_408(serve, connect, begin):
    server = serve(table())
    client = connect(server)
    client.send(begin)
    drip(client)
    answer = client.answer()
    assert answer.status == 408
    assert answer.closes
    assert client.is_closed()
    line = next(line for line in server.wait_for('" 408 ').splitlines() if '" 408 ' in line)
    assert line.startswith("127.0.0.1 - - [")


def test_two_hundred_unfinished_headers_keep_no_client_out(serve, connect):
    server = serve(table())
    clients = [connect(server) for _ in range(200)]
    for client in clients:
        client.send("G")
    for client in clients[:20]:
        assert connect(server, "/app/").answer().body == b"ok"
        client.send("E")
    server.wait_for('" 408 ', count=200)
    assert all(client.answer().status == 408 for client in clients)
    assert connect(server, "/app/").answer().body == b"ok"


def test_timed_out_headers_make_room_below_connection_limit(serve, connect):
    server = serve(table(connection_limit=10))
    clients = [connect(server) for _ in range(10)]
    for client in clients:
        client.send("G")
    others = [connect(server, "/app/") for _ in range(3)]
    assert all(client.answer().status == 408 for client in clients)
    assert all(other.answer().body == b"ok" for other in others)


def test_half_a_header_times_out_only_after_the_running_response(serve, connect, tmp_path):
    server = serve(table())
    client = connect(server, "/app/paused/go")
    client.send("GET /app/ HTTP/1.1\r\nHo")
    server.wait_for("paused")
    for _ in range(2):
        other = connect(server)
        other.send("G")
        assert other.answer().status == 408
    (tmp_path / "go").touch()
    assert client.answer().body == b"12"
    assert client.answer().status == 408
    assert client.is_closed()


def test_half_a_header_after_a_response_gets_408(serve, connect):
    client = connect(serve(table()), "/app/")
    assert not client.answer().closes
    client.send("\r\nGET /app/ HTTP/1.1\r\n")
    assert client.answer().status == 408
    assert client.is_closed()


def test_blank_lines_start_no_header_and_keep_no_connection(serve, connect):
    server = serve(table())
    client = connect(server)
    client.send("\r\n")
    late = connect(server)
    late.send("G")
    assert late.answer().status == 408
    blank = connect(server)
    drip(blank, "\r\n")
    assert blank.is_closed()
    assert server.log().count('" 408 ') == 1


def test_a_silent_connection_is_closed_without_a_response(serve, connect):
    server = serve(table(channel_timeout=2))
    client = connect(server)
    late = connect(server)
    late.send("G")
    assert late.answer().status == 408
    assert is_silent(client)
    assert client.is_closed()


def test_a_body_may_take_longer_than_a_header(serve, connect):
    server = serve(table(channel_timeout=60))
    client = connect(server)
    client.send("POST /app/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
    for byte in "cd":
        late = connect(server)
        late.send("G")
        assert late.answer().status == 408
        client.send(byte)
    client.send("e")
    assert client.answer().body == b"abcde"


def test_a_header_timeout_of_0_disables_it(serve, connect):
    server = serve(table(header_timeout=0))
    client, silent = connect(server), connect(server)
    client.send("GET /app/ HTTP/1.1\r\nHost: a\r\nX: ")
    drip(client, until=lambda _: not is_silent(silent))  # until channel_timeout closes it
    assert silent.is_closed()
    client.send("\r\n\r\n")
    assert client.answer().body == b"ok"


def test_tls_on_a_plain_port_gets_408(serve, connect):
    server = serve(table())
    client = connect(server)
    client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(16, 80)))
    assert client.answer().status == 408
    assert client.is_closed()
    assert "\x16" not in server.wait_for('" 408 ')


def test_a_client_that_left_before_the_408_logs_no_traceback(serve, connect):
    server = serve(table())
    for reset in (False, True):
        client = connect(server)
        client.send("G")
        if reset:
            client.reset()
        else:
            client.socket.shutdown(socket.SHUT_WR)
    late = connect(server)
    late.send("G")
    assert late.answer().status == 408
    assert server.stop() == 0
    assert "Traceback" not in server.log()
