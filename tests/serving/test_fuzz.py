"""Hostile bytes on raw sockets: the responses are valid HTTP, and the app gets the requests that a strict parser reads.

A short run of support.fuzzing with fixed seeds, and tests of its judge.
"""

import sys

import h11
import pytest
from support.client import Client
from support.conversations import MARKER, SMUGGLED, Conversation
from support.fuzzing import (
    TABLE,
    Got,
    Reply,
    assert_as_before,
    held,
    judge,
    meaning,
    replies,
    run,
)
from support.running import serving

if sys.platform == "win32":
    pytest.skip("it counts descriptors and threads in /proc", allow_module_level=True)

INPUTS = 300
MARKED = Got("GET", "/marker", 0, 0)
GOOD = b"GET /good HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Got: GET /marker 0 0\r\nConnection: close\r\n\r\nok"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server for the tests that leave it unchanged."""
    with serving(TABLE, tmp_path_factory.mktemp("fuzz")) as server:
        yield server


@pytest.mark.parametrize("seed", [1, 2])
def test_no_conversation_breaks_the_server(serve, seed):
    server = serve(TABLE, "--no-access-log")
    assert server.request("/good").status == 200
    before = held(server)
    finds = run(server.port, range(INPUTS), seed)
    assert not finds, "\n".join(f"{find.number}: {find.fault}\n{find.conversation.data!r}" for find in finds)
    assert_as_before(server, before)


POST = b"POST /post HTTP/1.%d\r\nHost: a\r\nConnection: keep-alive\r\n"
CHUNKED = POST % 1 + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "statuses"),
    [
        # waitress sends 100 and merges the next request into this one.
        (GOOD[:-2] + b"Expect: 100-continue\r\n\r\n" + MARKER, [200, 200]),
        (POST % 1 + b"Expect: 100-continue\r\nContent-Length: 0\r\n\r\n" + MARKER, [200, 200]),
        (POST % 1 + b"Expect: 100-continue\r\nContent-Length: 200000\r\n\r\n" + MARKER, [413]),
        (POST % 1 + b"Expect: 100-continue\r\nContent-Length: x\r\n\r\n" + MARKER, [400]),
        # Other parsers find another end of the body.
        (POST % 0 + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + MARKER, [400]),
        (POST % 1 + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + MARKER, [400]),
        (CHUNKED + b"0\r\n\n" + MARKER, [400]),
        # waitress would copy these for each byte that arrives.
        (CHUNKED + b"1;" + b"a" * 9000, [400]),
        (CHUNKED + b"0\r\nX: " + b"a" * 9000, [400]),
        (CHUNKED + b"1\r\nx\r\n0\r\nX: y\r\n\r\n" + MARKER, [200, 200]),
        # waitress sends both close and keep-alive.
        (POST % 0 + b"Content-Length: x\r\n\r\n" + MARKER, [400]),
    ],
)
def test_requests_that_once_confused_the_server_are_rejected(server, data, statuses):
    with Client(server.url) as client:
        client.send(data)
        received = client.read_to_end()
    assert b" 100 " not in received
    found = replies(received, is_whole=True)
    assert [reply.status for reply in found] == statuses
    assert [reply.closes for reply in found] == [False] * (len(statuses) - 1) + [True]
    assert received.count(b"\r\nConnection: ") == 1


# -------------------------------------------------------------------------------------------------- the judge is judged


def test_the_judge_reads_the_requests_of_a_conversation():
    assert meaning(GOOD + MARKER).requests == [Got("GET", "/good", 0, 0), MARKED]
    assert meaning(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 45\r\n\r\n" + SMUGGLED + MARKER).requests[1:] == [
        MARKED
    ]
    assert meaning(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n").ends_early


@pytest.mark.parametrize(
    ("found", "ended", "fault"),
    [
        ([Reply(200, Got("GET", "/good", 0, 0), False), Reply(200, MARKED, True)], True, ""),
        ([Reply(200, Got("GET", "/good", 0, 0), False), Reply(400, None, True)], True, ""),
        ([Reply(400, None, True)], True, ""),
        ([Reply(505, None, True)], True, ""),
        ([Reply(500, None, True)], True, "the server failed"),
        ([Reply(200, Got("GET", "/other", 0, 0), False), Reply(200, MARKED, True)], True, "the app got"),
        ([Reply(400, None, True), Reply(200, MARKED, True)], True, "the server continued"),
        (
            [Reply(200, Got("GET", "/good", 0, 0), False), Reply(200, MARKED, False), Reply(200, MARKED, True)],
            True,
            "more responses",
        ),
        ([Reply(200, Got("GET", "/good", 0, 0), False)], True, "the server closed without"),
        ([Reply(200, Got("GET", "/good", 0, 0), False)], False, "the server neither answered"),
        ([Reply(200, Got("GET", "/smuggled", 0, 0), True)], True, "a smuggled request"),
    ],
)
def test_the_judge_names_each_kind_of_fault(found, ended, fault):
    verdict = judge(Conversation("ambiguous", GOOD + MARKER), found, ended=ended)
    assert fault in verdict
    assert bool(verdict) == bool(fault)


def test_the_reader_accepts_only_whole_responses():
    assert replies(b"HTTP/1.1 100 Continue\r\n\r\n" + OK, is_whole=True) == [Reply(200, MARKED, True)]
    assert replies(OK[:-1], is_whole=False) == [Reply(200, MARKED, True)]
    for data in (OK[:-1], OK + b"x", OK.replace(b" 200", b""), b"\r\n" + OK, OK[:20]):
        with pytest.raises(h11.RemoteProtocolError):
            replies(data, is_whole=True)
