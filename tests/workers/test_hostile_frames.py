"""The server reads frames from a worker that is broken or hostile: each wrong one is an error, and none is trusted."""

import socket
import struct
import threading
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountpoint.workers import frames
from mountpoint.workers.connection import (
    AppFailed,
    BrokenWorker,
    Connection,
    RequestNotTaken,
    RequestTimedOut,
    WorkerLost,
)

HEAD = b"200 OK\nA\nb"


def frame(kind, payload=b"", length=None):
    return struct.pack("!cI", kind, len(payload) if length is None else length) + payload


def whole(body=b"", head=HEAD, length=None):
    return frame(frames.WHOLE, struct.pack("!I", len(head) if length is None else length) + head + body)


BEGIN = frame(frames.HEAD, HEAD)
END, DONE = frame(frames.END), frame(frames.DONE)
PIECES = BEGIN + frame(frames.DATA, b"one") + frame(frames.DATA, b"two") + END + DONE


def talk(data, read_body=lambda size: b"body"):
    """Return status, headers and body of the response in *data*, after which the worker sends no more."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        return exchange(Connection(1, ours, 1, 0), read_body)


def exchange(connection, read_body=lambda size: b""):
    response = connection.begin(b"request", read_body)
    body = response.body
    if body is None:
        first = [connection.read_whole()] if response.is_single else []
        body = [*first, *iter(connection.next_piece, None)]
        connection.finish()
    return response.status, response.headers, b"".join(body)


@pytest.mark.parametrize(
    "data",
    [
        whole(b"onetwo"),
        PIECES,
        BEGIN + frame(frames.DATA, b"onetwo") + END + DONE,
        frame(frames.SINGLE, HEAD) + frame(frames.DATA, b"onetwo") + END + DONE,
        frame(frames.WANT, struct.pack("!I", 4)) + PIECES,
    ],
    ids=["whole", "pieces", "short", "single", "after its body"],
)
def test_each_form_of_a_response_is_read(data):
    assert talk(data) == ("200 OK", [("A", "b")], b"onetwo")


@pytest.mark.parametrize("data", [whole(), BEGIN + END + DONE, frame(frames.SINGLE, HEAD) + END + DONE])
def test_each_form_of_an_empty_response_is_read(data):
    assert talk(data) == ("200 OK", [("A", "b")], b"")


WRONG = {
    "data before the head": frame(b"D", b"x"),
    "an end before the head": frame(b"E"),
    "a second head": BEGIN + BEGIN,
    "a second response": whole() + whole(),
    "a second response in pieces": PIECES + PIECES,
    "a response after an error": frame(b"X", b"raised") + whole(),
    "a whole response after the head": BEGIN + whole(),
    "an unknown kind": BEGIN + frame(b"Z"),
    "a frame of the server": BEGIN + frame(b"R", b"x"),
    "a kind of no letter": frame(b"\x00"),
    "a huge head": frame(b"H", length=2**32 - 1),
    "a head over the limit": frame(b"H", length=frames.MAX_HEAD + 1),
    "a huge piece": BEGIN + frame(b"D", length=frames.MAX_PIECE + 1),
    "an empty piece": BEGIN + frame(b"D"),
    "an end with text": BEGIN + frame(b"E", b"x"),
    "a last frame with text": BEGIN + END + frame(b"O", b"x"),
    "data after the end": BEGIN + END + frame(b"D", b"x"),
    "a last frame without the end": BEGIN + DONE,
    "two ends": BEGIN + END + END,
    "a huge response": frame(b"A", length=2**31),
    "a response that is too short for a head": frame(b"A", b"123"),
    "a head that is longer than its response": whole(b"x", length=len(HEAD) + 2),
    "a huge head in a response": whole(length=2**32 - 1),
    "a huge error": frame(b"X", length=2**31),
    "a wish without a size": frame(b"W", b"123"),
    "a wish for nothing": frame(b"W", struct.pack("!I", 0)),
    "a huge wish": frame(b"W", struct.pack("!I", 2**31)),
    "a name without a value": frame(b"H", b"200 OK\nA"),
    "rubbish": b"GET / HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG)
def test_a_wrong_frame_is_an_error(data):
    with pytest.raises(BrokenWorker):
        talk(data)


def test_a_worker_that_asks_after_the_end_of_the_body_is_broken():
    with pytest.raises(BrokenWorker, match="after the end of the body"):
        talk(frame(b"W", struct.pack("!I", 5)) * 2 + PIECES, read_body=lambda size: b"")


@pytest.mark.parametrize("data", [PIECES, whole(b"body"), frame(b"X", b"raised")], ids=["pieces", "whole", "error"])
def test_a_response_without_its_end_is_an_error(data):
    for size in range(len(data)):
        with pytest.raises(WorkerLost) as caught:
            talk(data[:size])
        assert not isinstance(caught.value, BrokenWorker)


def test_a_response_that_comes_byte_by_byte_is_read():
    ours, theirs = socket.socketpair()

    def drip():
        for byte in PIECES:
            theirs.send(bytes([byte]))

    thread = threading.Thread(target=drip)
    with ours, theirs:
        thread.start()
        assert exchange(Connection(1, ours, 1, 0)) == ("200 OK", [("A", "b")], b"onetwo")
        thread.join()


def test_a_head_that_arrives_slowly_does_not_prolong_the_request():
    ours, theirs = socket.socketpair()
    connection = Connection(1, ours, 1, 60)
    deadlines = set()

    def drip():
        theirs.recv(100)  # the request, so the deadline is set
        for byte in BEGIN[:-1]:
            theirs.send(bytes([byte]))
            deadlines.add(connection.deadline)
        connection.expire(max(deadlines))

    thread = threading.Thread(target=drip)
    with ours, theirs:
        thread.start()
        with pytest.raises(RequestTimedOut):
            connection.begin(b"request", lambda size: b"")
        thread.join()
    assert len(deadlines) == 1


def test_the_error_of_the_app_has_its_traceback():
    with pytest.raises(AppFailed, match="Traceback"):
        talk(frame(b"X", b"Traceback \xff"))
    with pytest.raises(AppFailed, match="later"):
        talk(BEGIN + frame(b"D", b"x") + frame(b"X", b"later"))
    with pytest.raises(AppFailed, match="in close"):
        talk(BEGIN + frame(b"D", b"x") + END + frame(b"X", b"in close"))


def test_a_request_that_the_worker_did_not_read_may_be_repeated():
    ours, theirs = socket.socketpair()
    with ours:
        connection = Connection(1, ours, 1, 0)
        threading.Timer(0.05, theirs.close).start()  # with the request unread
        with pytest.raises(RequestNotTaken):
            connection.begin(b"request", lambda size: b"")


def test_a_default_timeout_of_an_app_has_no_effect():
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(0.01)
    try:
        ours, theirs = socket.socketpair()
    finally:
        socket.setdefaulttimeout(before)
    with ours, theirs:
        connection = Connection(1, ours, 1, 0)
        threading.Timer(0.1, theirs.sendall, [whole(b"late")]).start()
        assert exchange(connection)[2] == b"late"


# ------------------------------------------------------------------------------------------------------------ any bytes

kinds = st.sampled_from([getattr(frames, name) for name in ("WHOLE", "HEAD", "SINGLE", "DATA", "END", "DONE", "ERROR")])
payloads = st.sampled_from([b"", HEAD, b"200 OK", struct.pack("!I", 5), struct.pack("!I", 10) + HEAD]) | st.binary()
lengths = st.none() | st.integers(0, 2**32 - 1)
any_frame = st.builds(frame, kinds | st.just(frames.WANT) | st.binary(min_size=1, max_size=1), payloads, lengths)
streams = st.lists(any_frame | st.sampled_from([BEGIN, END, DONE, END + DONE, whole(b"x")]) | st.binary(), max_size=8)


@given(streams.map(b"".join))
def test_any_bytes_are_a_response_or_an_error(data):
    try:
        status, headers, body = talk(data, read_body=lambda size: b"x" * size)
    except (WorkerLost, AppFailed):
        return
    assert isinstance(status, str)
    assert all(isinstance(text, str) for pair in headers for text in pair)
    assert len(body) < len(data)


@given(st.data())
def test_one_wrong_byte_yields_a_response_or_an_error(data):
    original = data.draw(st.sampled_from([PIECES, whole(b"body"), BEGIN + frame(frames.DATA, b"short") + END + DONE]))
    changed = bytearray(original)
    changed[data.draw(st.integers(0, len(original) - 1))] = data.draw(st.integers(0, 255))
    with suppress(WorkerLost, AppFailed):
        talk(bytes(changed))
