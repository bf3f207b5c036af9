"""The work of the parser grows with the bytes that arrive, however they are cut. Work is counted, not timed.

`Counted` counts the bytes that each method of a buffer touches. A profile function counts calls.
"""

import sys
from types import SimpleNamespace

import pytest
from waitress.adjustments import Adjustments

from mountpoint.server import parser
from mountpoint.server.body import ChunkedBody
from mountpoint.server.head import RequestError
from mountpoint.server.parser import Parser

MOST_WORK = 40  # bytes touched for each byte that arrives


class Counted(bytearray):
    """A buffer that counts the bytes that are read from it or written to it."""

    work = 0

    def __iadd__(self, data):
        self.work += len(data)
        return super().__iadd__(data)

    def __getitem__(self, index):
        self.work += len(range(*index.indices(len(self)))) if isinstance(index, slice) else 1
        return super().__getitem__(index)

    def __bytes__(self):
        self.work += len(self)
        return memoryview(self).tobytes()

    def find(self, sub, start=0):
        self.work += len(self) - start
        return super().find(sub, start)

    def endswith(self, end):
        self.work += len(end)
        return super().endswith(end)


@pytest.fixture
def search(monkeypatch):
    """Count the bytes that the parser's own expression searches."""
    pattern = parser._BARE_LINE_END
    searched = SimpleNamespace(work=0)

    def counting(data, start):
        searched.work += len(data) - start
        return pattern.search(data, start)

    monkeypatch.setattr(parser, "_BARE_LINE_END", SimpleNamespace(search=counting))
    return searched


def calls(feed, pieces):
    """Return how many calls of functions *feed* makes for *pieces*, those in C included."""
    count = 0

    def note(frame, event, arg):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        for piece in pieces:
            feed(piece)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("filler", [b"X: y\r\n", b"\t", b"a", b"a: b\r\n c\r\n"])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_header_that_drips_costs_work_for_its_bytes_only(search, filler, size):
    request = Parser(Adjustments())
    request._head = Counted()
    data = b"GET / HTTP/1.1\r\nHost: a\r\nX:" + filler * (60_000 // len(filler)) + b"x\r\n\r\n"
    for start in range(0, len(data), size):
        request.received(data[start : start + size])
        assert request.has_begun
    assert request.completed
    assert request._head.work + search.work < MOST_WORK * len(data)


def test_blank_lines_cost_work_for_their_bytes_only(search):
    request = Parser(Adjustments())
    request._head = Counted()
    for _ in range(1000):
        request.received(b"\r\n" * 100)
    assert request._head.work + search.work < MOST_WORK * 200_000


def in_chunks(count):
    """Return *count* chunks, within the framing that a body may have."""
    return b"7;a=b\r\nabcdefg\r\n" * count


@pytest.mark.parametrize("size", [1, 100, 8192])
def test_the_calls_for_a_chunked_body_grow_with_its_bytes(size):
    def count(chunks):
        body = ChunkedBody(1000, lambda data: None)
        body._line = Counted()
        data = in_chunks(chunks)
        made = calls(body.feed, [data[start : start + size] for start in range(0, len(data), size)])
        return made, body._line.work

    (once, work), (twice, double_work) = count(1000), count(2000)
    assert twice < 2.1 * once
    assert work <= double_work < 2.1 * work + 10


def test_a_body_of_16_mb_in_chunks_of_a_byte_is_refused_after_16_kib_of_framing():
    body = ChunkedBody(1000, lambda data: None)
    piece = b"1\r\nx\r\n" * 1000

    def feed():
        for _ in range(16_000):
            body.feed(piece)

    with pytest.raises(RequestError, match="more framing than data"):
        feed()
    assert body.length < 10_000
