"""The server reads frames from a worker that is broken or hostile: each wrong one is an error, and none is trusted."""

import json
import random
import socket
import struct
import threading

import pytest

from mountpoint.workers import frames
from mountpoint.workers.connection import AppFailed, BrokenWorker, Connection, WorkerLost

OK = json.dumps(("200 OK", [("A", "b")], False, None, None)).encode()

WHOLE = json.dumps(("200 OK", [("A", "b")], frames.WHOLE, None, None)).encode()


def frame(kind, payload=b"", length=None):
    return struct.pack("!cI", kind, len(payload) if length is None else length) + payload


@pytest.fixture
def talk():
    """Return ``talk(data)``, which returns a connection to a worker that sends *data* and ends."""
    open_sockets = []

    def talk(data, timeout=0.0):
        ours, theirs = socket.socketpair()
        open_sockets.extend((ours, theirs))

        def send():
            theirs.recv(100_000)
            try:
                theirs.sendall(data)
                theirs.shutdown(socket.SHUT_WR)
            except OSError:
                pass

        threading.Thread(target=send, daemon=True).start()
        return Connection(1, ours, 1, timeout)

    yield talk
    for one in open_sockets:
        one.close()


def response(connection):
    head = connection.begin(b"request", lambda size: b"")
    body = connection.whole_body() if head.is_whole else connection.short_body()
    if body is None:
        body = list(iter(connection.next_piece, None))
        connection.finish()
    return head, b"".join(body)


def test_a_response_is_read(talk):
    head, body = response(talk(frame(b"H", OK) + frame(b"D", b"one") + frame(b"D", b"two") + frame(b"E") + frame(b"O")))
    assert head == ("200 OK", [("A", "b")], False, False)
    assert body == b"onetwo"


@pytest.mark.parametrize(
    "data",
    [
        frame(b"D", b"x"),  # data before the head
        frame(b"E"),
        frame(b"H", OK) + frame(b"H", OK),
        frame(b"H", OK) + frame(b"Z"),
        frame(b"H", OK) + frame(b"R", b"x"),
        frame(b"\x00"),
        frame(b"H", length=2**32 - 1),
        frame(b"H", OK) + frame(b"D", length=frames.MAX_PIECE + 1),
        frame(b"H", OK) + frame(b"E", b"x"),
        frame(b"H", OK) + frame(b"E") + frame(b"O", b"x"),
        frame(b"H", OK) + frame(b"O"),
        frame(b"H", WHOLE) + frame(b"E"),
        frame(b"H", WHOLE) + frame(b"D", b"x") + frame(b"D", b"x") + frame(b"E") + frame(b"O"),
        frame(b"X", length=2**31),
        frame(b"W", b"123"),
        frame(b"W", struct.pack("!I", 0)),
        frame(b"W", struct.pack("!I", 2**31)),
        frame(b"H", b"not JSON"),
        frame(b"H", b"\xff\xfe"),
        frame(b"H", b"[" * 100_000),
        frame(b"H", b"{}"),
        frame(b"H", b"[1, 2]"),
        frame(b"H", b"[200, [], false, null, null]"),
        frame(b"H", b'["200 OK", [["a"]], false, null, null]'),
        frame(b"H", b'["200 OK", [["a", 1]], false, null, null]'),
        frame(b"H", b'["200 OK", 5, false, null, null]'),
        frame(b"H", b'["200 OK", [], false, "5", null]'),
        frame(b"H", b'["200 OK", [], false, null, 1.5]'),
        frame(b"H", b'["200 OK", [], false, null, true]'),
        frame(b"H", b'["200 OK", [], false, null, -1]'),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=range(31),
)
def test_a_wrong_frame_is_an_error(talk, data):
    with pytest.raises(BrokenWorker):
        response(talk(data))


@pytest.mark.parametrize("cut", range(1, len(frame(b"H", OK) + frame(b"D", b"body") + frame(b"E") + frame(b"O")), 3))
def test_a_response_without_its_end_is_an_error(talk, cut):
    whole = frame(b"H", OK) + frame(b"D", b"body") + frame(b"E") + frame(b"O")
    with pytest.raises(WorkerLost):
        response(talk(whole[:-cut]))


def test_the_error_of_the_app_has_its_traceback(talk):
    with pytest.raises(AppFailed, match="Traceback"):
        response(talk(frame(b"X", b"Traceback \xff")))
    with pytest.raises(AppFailed, match="later"):
        response(talk(frame(b"H", OK) + frame(b"D", b"x") + frame(b"X", b"later")))


def test_random_bytes_raise_nothing_else(talk):
    source = random.Random(7)
    kinds = [b"H", b"D", b"E", b"O", b"X", b"W", b"Q"]
    for _ in range(300):
        parts = [
            frame(source.choice(kinds), source.choice([OK, WHOLE, source.randbytes(source.randrange(9))]))
            for _ in range(source.randrange(1, 5))
        ]
        data = bytearray(b"".join(parts))
        if source.random() < 0.5:
            data[source.randrange(len(data))] = source.randrange(256)
        try:
            response(talk(bytes(data)))
        except (WorkerLost, AppFailed):
            continue


def test_a_request_that_the_worker_did_not_read_may_be_repeated():
    from mountpoint.workers.connection import RequestNotTaken

    ours, theirs = socket.socketpair()
    with ours:
        connection = Connection(1, ours, 1, 0)
        threading.Timer(0.05, theirs.close).start()  # with the request unread
        with pytest.raises(RequestNotTaken):
            connection.begin(b"request", lambda size: b"")
