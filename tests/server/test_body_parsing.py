"""The body of a request as it arrives in pieces of any size."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountpoint.server.body import LONGEST_LINE, SPARE_FRAMING, ChunkedBody, SizedBody
from mountpoint.server.head import RequestError

SIZES = st.lists(st.integers(1, 40), max_size=60)


def feed_all(body, data, sizes=()):
    """Feed *data* in pieces of *sizes*, then the rest; return how many bytes the body took."""
    taken = start = 0
    for size in (*sizes, len(data)):
        piece = data[start : start + size]
        start += size
        if body.complete or not piece:
            break
        taken += body.feed(piece)
    return taken


def chunked(data, sizes=(), longest_trailer=1000):
    written = []
    body = ChunkedBody(longest_trailer, written.append)
    taken = feed_all(body, data, sizes)
    return b"".join(written), body, taken


def refusal(data, **options):
    with pytest.raises(RequestError) as raised:
        chunked(data, **options)
    assert raised.value.status == 400
    return str(raised.value)


@given(st.binary(min_size=1, max_size=100), st.binary(max_size=20), SIZES)
def test_a_sized_body_takes_its_bytes_and_no_more(data, rest, sizes):
    written = []
    body = SizedBody(len(data), written.append)
    assert feed_all(body, data + rest, sizes) == len(data)
    assert (b"".join(written), body.complete, body.length) == (data, True, len(data))


@given(st.lists(st.binary(min_size=1, max_size=30), max_size=20), st.binary(max_size=20), SIZES)
def test_a_chunked_body_is_its_data_however_it_arrives(chunks, rest, sizes):
    data = b"".join(b"%x;a=b\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nX: y\r\n\r\n"
    written, body, taken = chunked(data + rest, sizes)
    assert (written, body.complete, taken, body.length) == (b"".join(chunks), True, len(data), len(written))


@pytest.mark.parametrize(
    "line",
    [b"5", b"005", b"5;a", b"5; a=b", b"5 ;a = b", b'5;a="b;\\"\xe9"', b"5;a;b=c;d", b"5\t;\ta"],
)
def test_the_size_of_a_chunk_may_have_extensions(line):
    assert chunked(line + b"\r\nhello\r\n0\r\n\r\n")[0] == b"hello"


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n",
        b"z\r\n",
        b"0x5\r\n",
        b"+5\r\n",
        b"-5\r\n",
        b" 5\r\n",
        b"5 \r\n",
        b"5_0\r\n",
        b"5;\r\n",
        b"5;a=\r\n",
        b'5;a="b\r\n',
        b"5;a=b c\r\n",
        b"5;a\n;b\r\n",
        b"5\n\r\nhello\r\n",
        b"5\nhello\r\n",
        b"5;a\n\r\n",
        b"5\r\r\n",
        b"11111111111111111\r\n",
        b"5\r\nhello!",
        b"5\r\nhello!\r\n",
        b"5\r\nhello\n",
        b"5\r\nhello\r\n\r\n0\r\n\r\n",
        b"0\r\n\n",
        b"0\n\r\n",
        b"0\r\nX\r\n\r\n",
        b"0\r\nX: a\nY: b\r\n\r\n",
        b"0\r\nX : a\r\n\r\n",
        b"0\r\n X: a\r\n\r\n",
        b"0\r\nX: \x00\r\n\r\n",
        b"0\r\nGET / HTTP/1.1\r\n\r\n",
    ],
)
def test_a_body_outside_the_grammar_is_refused(data):
    refusal(data + b"\r\n" * 3)
    refusal(data + b"\r\n" * 3, sizes=[1] * len(data))


def test_the_bytes_behind_the_end_belong_to_the_next_request():
    written, body, taken = chunked(b"1\r\na\r\n0\r\n\r\nGET / HTTP/1.1\r\n")
    assert (written, body.complete, taken) == (b"a", True, 11)


def test_framing_is_bounded_by_the_data():
    most = SPARE_FRAMING // 4  # each chunk of one byte has five bytes of framing, and its byte allows one more
    assert len(chunked(b"1\r\nx\r\n" * (most - 1))[0]) == most - 1
    assert refusal(b"1\r\nx\r\n" * (most + 2)) == "The body has more framing than data."
    assert len(chunked(b"6\r\nabcdef\r\n" * 10 * most)[0]) == 60 * most


def test_a_line_and_a_trailer_have_an_end():
    assert "too long" in refusal(b"5;" + b"a" * LONGEST_LINE)
    assert "too long" in refusal(b"5;" + b"a" * LONGEST_LINE, sizes=[100] * 50)
    assert "too long" in refusal(b"0\r\n" + b"X: y\r\n" * 200)
    assert chunked(b"0\r\n" + b"X: y\r\n" * 160 + b"\r\n")[1].complete


@given(st.binary(max_size=60), SIZES)
def test_the_outcome_does_not_depend_on_the_pieces(data, sizes):
    def outcome(sizes):
        try:
            written, body, taken = chunked(data, sizes)
        except RequestError as error:
            return str(error)
        return written, body.complete, taken

    assert outcome(sizes) == outcome([])
