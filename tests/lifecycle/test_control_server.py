"""The server behind a control socket, in the process of the test: requests, limits, hostile clients."""

import json
import logging
import os
import socket
import sys

import pytest
from support.waiting import TIMEOUT, wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no unix sockets")

if sys.platform != "win32":  # these modules refuse Windows
    from mountpoint.lifecycle import control_server
    from mountpoint.lifecycle.control_messages import MAX_REQUEST
    from mountpoint.lifecycle.control_server import ControlServer
    from mountpoint.lifecycle.control_socket import ControlSocket


def make_server(path, handlers, greeting=dict):
    return ControlServer(path, handlers, greeting, may_claim=lambda: True, may_replace=lambda pid: False)


class Commands:
    """Handlers for a server: `echo` ends at once, `wait` is ended by the test."""

    def __init__(self):
        self.waiting = []
        self.handlers = {
            "echo": lambda request, reply: reply.end(**request),
            "wait": lambda request, reply: self.waiting.append(reply),
            "fail": lambda request, reply: 1 // 0,
            "large": lambda request, reply: reply.end("x" * request["size"]),
        }


@pytest.fixture
def commands():
    return Commands()


@pytest.fixture
def quick(monkeypatch):
    """Shorten the times that the server allows. Comes before `client` in the arguments of a test."""
    monkeypatch.setattr(control_server, "REQUEST_SECONDS", 0.05)
    monkeypatch.setattr(control_server, "_CLAIM_SECONDS", 0.01)


@pytest.fixture
def server(socket_path, commands):
    server = make_server(socket_path, commands.handlers, lambda: {"pid": os.getpid()})
    server.start()
    yield server
    server.close("the test ends")


@pytest.fixture
def client(server, socket_path):
    """Return ``client(data)``, which connects, sends *data* and returns the stream of the responses."""
    clients = []

    def client(data=b""):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(TIMEOUT)
        clients.append(sock)
        sock.connect(str(socket_path))
        if data:  # the server may have closed the connection already
            sock.sendall(data)
        clients.append(stream := sock.makefile("rb"))
        return stream

    yield client
    for one in clients:
        one.close()


def outcome(stream):
    """Return the last message in *stream*, without the greeting."""
    greeting, *rest = map(json.loads, stream)
    assert greeting == {"pid": os.getpid()}
    return rest[-1]


def test_a_command_gets_its_outcome_and_the_connection_is_closed(client):
    assert outcome(client(b'{"command": "echo", "x": [1]}\n')) == {"ok": True, "command": "echo", "x": [1]}


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\xff",
        b"[]",
        b"1",
        b"{}",
        b'{"command": 1}',
        b'{"command": []}',
        b"[" * 60_000,
        b'{"command": "%s"}' % (60_000 * b"x"),
    ],
)
def test_a_line_that_is_not_a_request_gets_an_error(client, line):
    expected = 'expected a line such as {"command": "identify"}'
    assert outcome(client(line + b"\n")) == {"ok": False, "message": expected}


def test_a_misspelt_command_gets_the_nearest_one(client):
    assert outcome(client(b'{"command": "ehco"}\n'))["message"].endswith('"ehco"; did you mean "echo"?')


def test_a_request_without_an_end_is_cut_off(client):
    assert outcome(client(b"x" * (MAX_REQUEST + 1)))["message"] == f"expected a request of at most {MAX_REQUEST} bytes"


def test_a_handler_that_raises_is_logged_and_the_server_goes_on(client, caplog):
    assert "ZeroDivisionError" in outcome(client(b'{"command": "fail"}\n'))["message"]
    assert "unhandled exception in the command 'fail'; continuing" in caplog.messages
    assert outcome(client(b'{"command": "echo"}\n'))["ok"]


def test_a_command_that_waits_delays_no_other(client, commands):
    waits = client(b'{"command": "wait"}\n')
    wait_until(lambda: commands.waiting)
    assert outcome(client(b'{"command": "echo"}\n'))["ok"]
    commands.waiting[0].line("almost")
    commands.waiting[0].end("done")
    commands.waiting[0].end("again")
    assert [json.loads(line) for line in waits][1:] == [{"line": "almost"}, {"ok": True, "message": "done"}]


def test_silent_clients_make_room_for_others(client):
    silent = [client() for _ in range(control_server.MAX_CLIENTS)]
    assert outcome(client(b'{"command": "echo"}\n'))["ok"]
    assert silent[0].readline()
    assert silent[0].readline() == b""


def test_a_client_that_sends_no_request_is_dropped_after_its_time(quick, client):
    stream = client(b'{"comm')
    assert len(stream.readlines()) == 1


def test_more_commands_than_the_limit_are_rejected(client, commands):
    waits = [client(b'{"command": "wait"}\n') for _ in range(control_server.MAX_CLIENTS)]
    wait_until(lambda: len(commands.waiting) == len(waits))
    assert outcome(client())["message"] == f"busy: {control_server.MAX_CLIENTS} other commands have not ended"
    for reply in commands.waiting:
        reply.end()
    assert all(outcome(stream)["ok"] for stream in waits)
    assert outcome(client(b'{"command": "echo"}\n'))["ok"]


def test_a_client_that_does_not_read_is_dropped_after_its_time(quick, client, server):
    client(b'{"command": "large", "size": 10000000}\n')
    wait_until(lambda: not server._clients)


def test_a_large_outcome_arrives_whole(client):
    assert outcome(client(b'{"command": "large", "size": 10000000}\n'))["message"] == "x" * 10_000_000


def test_a_client_that_leaves_is_forgotten(server, client, commands, socket_path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(socket_path))
        sock.sendall(b'{"command": "wait"}\n')
        wait_until(lambda: commands.waiting)
    wait_until(lambda: not server._clients)
    commands.waiting[0].end("too late")
    assert outcome(client(b'{"command": "echo"}\n'))["ok"]


def test_the_end_of_the_server_ends_the_commands_that_wait(server, client, commands, socket_path):
    stream = client(b'{"command": "wait"}\n')
    wait_until(lambda: commands.waiting)
    server.close("the server ends", again=True)
    assert outcome(stream) == {"ok": False, "message": "the server ends", "again": True}
    assert not socket_path.exists()


def test_another_user_is_refused(server, client, monkeypatch):
    monkeypatch.setattr(control_server, "peer", lambda sock: (1, os.geteuid() + 1))
    [line] = client()
    assert "of root, found user" in json.loads(line)["message"]


def test_a_socket_whose_file_was_removed_is_made_again(quick, server, client, socket_path):
    socket_path.unlink()
    wait_until(socket_path.exists)
    assert outcome(client(b'{"command": "echo"}\n'))["ok"]


def test_a_server_takes_the_socket_once_its_holder_has_ended(quick, socket_path, caplog, commands):
    caplog.set_level(logging.INFO, "mountpoint")
    holder = ControlSocket(socket_path)
    holder.claim(lambda pid: False)
    server = make_server(holder.path, commands.handlers)
    server.start()
    try:
        assert [message for message in caplog.messages if "holds the control socket" in message] == caplog.messages
        assert len(caplog.messages) == 1
        holder.release()
        wait_until(lambda: f"commands reach this process now, at {holder.path}" in caplog.messages)
    finally:
        server.close("the test ends")


def test_a_path_that_cannot_be_used_is_logged_once(quick, socket_path, caplog, commands):
    server = make_server(socket_path / "missing" / "s", commands.handlers)
    server.start()
    server.claim()
    server.close("the test ends")
    [message] = caplog.messages
    assert "no control socket at" in message
