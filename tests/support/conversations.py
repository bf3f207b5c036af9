"""Hostile conversations for the fuzzer, generated from a seed.

Each shape has its own function. Every conversation ends with `MARKER`, whose response shows that the server kept step.
"""

from __future__ import annotations

import random
from typing import NamedTuple

HOST = b"Host: example.com\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"
MARKER = b"GET /marker HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"


class Conversation(NamedTuple):
    """The bytes that a client sends, with the marker at their end."""

    shape: str
    data: bytes


def chunked(rng: random.Random, body: bytes) -> bytes:
    """Return *body* in chunks, sometimes with extensions and a trailer."""
    parts = []
    while body:
        size = rng.randint(1, len(body))
        extension = rng.choice([b"", b"", b";a", b";a=b", b';a="b c"', b"; a = b"])
        parts.append(b"%x%b\r\n%b\r\n" % (size, extension, body[:size]))
        body = body[size:]
    return b"".join(parts) + b"0\r\n" + rng.choice([b"", b"", b"X-Trailer: 1\r\n"]) + b"\r\n"


def good(rng: random.Random) -> bytes:
    """Return a valid request."""
    target = rng.choice([b"/%d" % rng.randint(0, 99), b"/a%2Fb//c?d=%00", b"http://example.com/x", b"/" + b"a" * 300])
    lines = rng.sample([b"X-A: 1\r\n", b"x-b:  two words \r\n", b"X-C:\r\n", b"Accept: */*, a;q=0\r\n"], 2)
    method = rng.choice([b"GET", b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"POST", b"POST", b"PUT"])
    body = b""
    if method in (b"POST", b"PUT"):
        body = rng.choice([b"", b"x", SMUGGLED, bytes(rng.randbytes(rng.randint(1, 3000)))])
        if rng.random() < 0.5:
            lines.append(b"Content-Length: %d\r\n" % len(body))
        else:
            lines.append(b"Transfer-Encoding: chunked\r\n")
            body = chunked(rng, body)
    if rng.random() < 0.1:
        lines.append(rng.choice([b"Expect: 100-continue\r\n", b"Connection: keep-alive\r\n", b"Upgrade: h2c\r\n"]))
    rng.shuffle(lines)
    return method + b" " + target + b" HTTP/1.1\r\n" + HOST + b"".join(lines) + b"\r\n" + body


INSERTED = [
    *(b"\0", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b"\r\r\n", b" ", b"\t", b"\x0b", b"\x85", b"\xa0", b"\xff"),
    *(b":", b",", b";", b"%", b"#", b"?", b"//", b"\\", b"_", b'"', b"0", b"-1", b"9" * 30, b"9" * 5000, b"a" * 9000),
    *(b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2.0", b"HTTP/1.2", b" HTTP/1.1\r\n", b"http://[::1/x", b"*", b"../", b"[::1"),
    *(b"Transfer-Encoding: chunked\r\n", b"Content-Length: 3\r\n", b"Expect: 100-continue\r\n", b"Host: b\r\n"),
    *(
        b"Connection: close\r\n",
        b"Connection: keep-alive\r\n",
        b"Upgrade: websocket\r\n",
        b" folded\r\n",
        b"\tfold\r\n",
    ),
]


def mutated(rng: random.Random, data: bytes) -> bytes:
    """Return *data* with a few changes to bytes or tokens."""
    for _ in range(rng.choice([1, 1, 1, 2, 3, 6])):
        # Most changes hit a header, at the start of a line or a word.
        places = [place for place, byte in enumerate(data[:600]) if byte in b"\n :;,"] or [0]
        at = rng.choice(places) + rng.randint(0, 1) if rng.random() < 0.7 else rng.randint(0, len(data))
        to = min(len(data), at + rng.choice([1, 1, 2, 8, 40]))
        data = rng.choice(
            [
                lambda data, at, to: data[:at] + rng.choice(INSERTED) + data[at:],
                lambda data, at, to: data[:at] + rng.choice(INSERTED) + data[to:],
                lambda data, at, to: data[:at] + data[to:],
                lambda data, at, to: data[:to] + data[at:],
                lambda data, at, to: data[:at] + rng.randbytes(to - at) + data[to:],
                lambda data, at, to: data[:at] + data[at:to].swapcase() + data[to:],
                lambda data, at, to: data.replace(b"\r\n", rng.choice([b"\n", b"\r", b"\r\n "]), rng.randint(1, 3)),
                lambda data, at, to: data.replace(b"HTTP/1.1", b"HTTP/1.0", 1),
            ]
        )(data, at, to)
    return data


SIZE = len(SMUGGLED)
#: Header lines from which different parsers read different body lengths. No length makes the body a request.
FRAMINGS = [
    *(b"Content-Length: %b\r\n" % value for value in (b"+%d", b"-%d", b"%d_", b"0x%d", b"%d,%d", b"%d;", b"%d\0")),
    *(b"Content-Length: %b\r\n" % value for value in (b"%d 1", b"\x0b%d", b"\xa0%d", b"%d.0", b"%de0", b"", b"\xb2")),
    *(b"Content-Length%b: %%d\r\n" % blank for blank in (b" ", b"\t", b"\0", b"\r", b"\x0b")),
    b"Content-Length: %d\r\nContent-Length: 0\r\n",
    b"Content-Length: 0\r\ncontent-length: %d\r\n",
    b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n",
    b"Content-Length: %d\r\nTransfer-Encoding: identity\r\n",
    b"Content-Length:\r\n %d\r\n",
    *(b"Transfer-Encoding: %b\r\n" % v for v in (b"xchunked", b"chunked, identity", b"gzip", b"\x0bchunked", b"a b")),
    *(b"Transfer-Encoding: %b\r\n" % v for v in (b"chunked\0", b"'chunked'", b"chunked;a", b"identity, chunked")),
    *(b"Transfer-Encoding%b: chunked\r\n" % blank for blank in (b" ", b"\t", b"\0", b"\r")),
    b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
    b"X: y\rTransfer-Encoding: chunked\r\n",
    b"X: y\nTransfer-Encoding: chunked\r\n",
]
#: Chunk sizes that one parser reads as SIZE, and another as less.
SIZES = [b"0x%x", b"+%x", b"-%x", b" %x", b"%x ", b"%x\t", b"%x\0", b"%x\r", b"%x;\n", b"%x;a\r", b"1%x", b"f" * 17]
SIZES += [b"f" * 16 + b"%x", b"%x_", b"%x\n", b"\xb2", b"%x,", b"%x\xa0", b"%x;a=\x00"]


def ambiguous(rng: random.Random) -> bytes:
    """Return a request whose end parsers find in different places. `SMUGGLED` in it must not reach the app."""
    version = rng.choice([b"1.1", b"1.1", b"1.0"])
    start = b"POST /ambiguous HTTP/" + version + b"\r\n" + HOST + b"Connection: keep-alive\r\n"
    kind = rng.randint(0, 2)
    if kind == 0:
        framing = rng.choice(FRAMINGS)
        return start + framing.replace(b"%d", b"%d" % SIZE) + b"\r\n" + rng.choice([b"", b"0\r\n\r\n"]) + SMUGGLED
    if kind == 1:
        size = rng.choice(SIZES).replace(b"%x", b"%x" % SIZE)
        body = size + b"\r\n" + SMUGGLED + b"\r\n0\r\n\r\n"
        return start.replace(b"1.0", b"1.1") + b"Transfer-Encoding: chunked\r\n\r\n" + body
    versions = (b"1.0", b"0.9", b"2.0", b"3.1")  # chunks came with 1.1
    start = start.replace(b"HTTP/" + version, b"HTTP/" + rng.choice(versions))
    return start + b"Transfer-Encoding: chunked\r\n\r\n" + rng.choice([b"", b"0\r\n\r\n"]) + SMUGGLED


def big(rng: random.Random) -> bytes:
    """Return a request near or above a limit of size."""
    count = rng.choice([4000, 8000, 8150, 8192, 9000, 60_000])
    return rng.choice(
        [
            b"GET /" + b"a" * count + b" HTTP/1.1\r\n" + HOST + b"\r\n",
            b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\n" * (count // 6) + b"\r\n",
            b"G" * count + b" / HTTP/1.1\r\n" + HOST + b"\r\n",
            b"GET / HTTP/1.1\r\n" + HOST + b"X:" + b" " * count + b"y\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\n" + b" y\r\n" * (count // 4) + b"\r\n",
            b"\r\n" * count + good(rng),
            b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: %b\r\n\r\n" % (b"9" * rng.choice([5, 20, 4000, 5000])),
            b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 120000\r\n\r\n" + b"x" * 120_000,
            b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"a" * 120_000,
            b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 20_000,
            b"POST / HTTP/1.1\r\n"
            + HOST
            + b"Transfer-Encoding: chunked\r\n\r\n"
            + b"1\r\nx\r\n" * count
            + b"0\r\n\r\n",
        ]
    )


def garbage(rng: random.Random) -> bytes:
    """Return bytes of another protocol, or random ones."""
    return rng.choice(
        [
            rng.randbytes(rng.randint(1, 500)),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.randbytes(200),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + rng.randbytes(30),
            b"\0" * rng.randint(1, 9000),
            b"GET /\r\n\r\n",
            b"GET\r\n\r\n",
            b"\r\n\r\n\r\n \r\n\r\n",
            b"CONNECT example.com:80 HTTP/1.1\r\n" + HOST + b"\r\n",
        ]
    )


def conversation(rng: random.Random) -> Conversation:
    """Return the next conversation from *rng*."""
    shape = rng.choice(["good", "mutated", "mutated", "mutated", "ambiguous", "ambiguous", "big", "garbage"])
    before = b"".join(good(rng) for _ in range(rng.choice([0, 0, 1, 2])))
    after = b"".join(good(rng) for _ in range(rng.choice([0, 0, 1])))
    odd = {
        "good": lambda: good(rng),
        "mutated": lambda: mutated(rng, good(rng)),
        "ambiguous": lambda: ambiguous(rng),
        "big": lambda: big(rng),
        "garbage": lambda: garbage(rng),
    }[shape]()
    return Conversation(shape, before + odd + after + MARKER)
