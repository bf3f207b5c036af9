"""Hostile bytes on raw sockets: what is answered is HTTP, in step, and the app gets what a strict reader would.

A small run of `fuzzing`, always the same; and that its judge sees what it is to see.
"""

import sys

import h11
import pytest
from fuzzing import (
    MARKER,
    SMUGGLED,
    TABLE,
    Conversation,
    Got,
    Reply,
    assert_as_before,
    held,
    judge,
    meaning,
    replies,
    run,
)

if sys.platform == "win32":
    pytest.skip("it counts descriptors and threads in /proc", allow_module_level=True)

INPUTS = 300
MARKED = Got("GET", "/marker", 0, 0)
GOOD = b"GET /good HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Got: GET /marker 0 0\r\nConnection: close\r\n\r\nok"


@pytest.mark.parametrize("seed", [1, 2])
def test_no_conversation_gets_the_server_out_of_step(serve, seed):
    server = serve(TABLE, "--no-access-log")
    assert server.request("/good").status == 200
    before = held(server)
    finds = run(server.port, range(INPUTS), seed)
    assert not finds, "\n".join(f"{find.number}: {find.what}\n{find.conversation.data!r}" for find in finds)
    assert_as_before(server, before)


# -------------------------------------------------------------------------------------------------- the judge is judged


def test_the_judge_knows_what_was_sent():
    assert meaning(GOOD + MARKER).requests == [Got("GET", "/good", 0, 0), MARKED]
    assert meaning(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 45\r\n\r\n" + SMUGGLED + MARKER).requests[1:] == [
        MARKED
    ]
    assert meaning(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n").ends_early


@pytest.mark.parametrize(
    ("found", "ended", "what"),
    [
        ([Reply(200, Got("GET", "/good", 0, 0), False), Reply(200, MARKED, True)], True, ""),
        ([Reply(200, Got("GET", "/good", 0, 0), False), Reply(400, None, True)], True, ""),
        ([Reply(400, None, True)], True, ""),
        ([Reply(500, None, True)], True, "it failed"),
        ([Reply(200, Got("GET", "/other", 0, 0), False), Reply(200, MARKED, True)], True, "the app got"),
        ([Reply(400, None, True), Reply(200, MARKED, True)], True, "it went on"),
        (
            [Reply(200, Got("GET", "/good", 0, 0), False), Reply(200, MARKED, False), Reply(200, MARKED, True)],
            True,
            "more",
        ),
        ([Reply(200, Got("GET", "/good", 0, 0), False)], True, "it closed without an answer"),
        ([Reply(200, Got("GET", "/good", 0, 0), False)], False, "it neither answered all nor closed"),
        ([Reply(200, Got("GET", "/smuggled", 0, 0), True)], True, "a smuggled request"),
    ],
)
def test_the_judge_sees_what_is_wrong(found, ended, what):
    verdict = judge(Conversation("ambiguous", GOOD + MARKER), found, ended=ended)
    assert what in verdict
    assert bool(verdict) == bool(what)


def test_the_reader_of_responses_takes_nothing_else():
    assert replies(b"HTTP/1.1 100 Continue\r\n\r\n" + OK, is_whole=True) == [Reply(200, MARKED, True)]
    assert replies(OK[:-1], is_whole=False) == [Reply(200, MARKED, True)]
    for data in (OK[:-1], OK + b"x", OK.replace(b" 200", b""), b"\r\n" + OK, OK[:20]):
        with pytest.raises(h11.RemoteProtocolError):
            replies(data, is_whole=True)
