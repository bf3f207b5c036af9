"""A generator of hostile conversations, and what must hold of each: for test_fuzz.py, and for long runs by hand.

    python tests/serving/fuzzing.py --inputs 100000 --seed 1

What a conversation means is said by h11, another implementation of HTTP/1.1, which reads it as a server would.
"""

from __future__ import annotations

import argparse
import random
import re
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import h11

from support.client import app_file
from support.running import MountpointServe, children
from support.waiting import TIMEOUT

MOMENT = 0.05  # seconds for what need not
HOST = b"Host: example.com\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"
MARKER = b"GET /marker HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
#: The table that is served: small limits, so that they are met.
TABLE = f"""
[server]
threads = 4
max_request_header_size = 8192
max_request_body_size = 100000

[mounts."/"]
app = "{app_file("fuzz")}:app"
dot_segments = "pass"
"""


class Got(NamedTuple):
    """A request, as an app gets it: its method, its target, and the length and checksum of its body."""

    method: str
    target: str
    length: int
    checksum: int


# ------------------------------------------------------------------------------------------------------ the generator


class Conversation(NamedTuple):
    """What a client sends, the marker at its end included."""

    shape: str
    data: bytes


def chunked(rng: random.Random, body: bytes) -> bytes:
    """Return *body* in chunks, with extensions and a trailer at times."""
    parts = []
    while body:
        size = rng.randint(1, len(body))
        extension = rng.choice([b"", b"", b";a", b";a=b", b';a="b c"'])
        parts.append(b"%x%b\r\n%b\r\n" % (size, extension, body[:size]))
        body = body[size:]
    return b"".join(parts) + b"0\r\n" + rng.choice([b"", b"", b"X-Trailer: 1\r\n"]) + b"\r\n"


def good(rng: random.Random) -> bytes:
    """Return a request to which nothing can be objected."""
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
    """Return *data* with a few changes, of bytes or of tokens."""
    for _ in range(rng.choice([1, 1, 1, 2, 3, 6])):
        # Mostly within a header, and there mostly at the beginning of a line or a word.
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
#: Lines of a header that say, to one reader or another, how long the body is. None lets what follows be a request.
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
#: Sizes of a chunk that one reader takes for SIZE, another for less.
SIZES = [b"0x%x", b"+%x", b"-%x", b" %x", b"%x ", b"%x\t", b"%x\0", b"%x\r", b"%x;\n", b"%x;a\r", b"1%x", b"f" * 17]
SIZES += [b"f" * 16 + b"%x", b"%x_", b"%x\n", b"\xb2", b"%x,", b"%x\xa0", b"%x;a=\x00"]


def ambiguous(rng: random.Random) -> bytes:
    """Return a request of which not everybody finds the end at the same place; `SMUGGLED` may not be taken for one."""
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
    versions = (b"1.0", b"1.2", b"1.9", b"0.9", b"2.0", b"3.1")  # of which only the last digit of 1.1 knows chunks
    start = start.replace(b"HTTP/" + version, b"HTTP/" + rng.choice(versions))
    return start + b"Transfer-Encoding: chunked\r\n\r\n" + rng.choice([b"", b"0\r\n\r\n"]) + SMUGGLED


def big(rng: random.Random) -> bytes:
    """Return a request that is about as big as it may be, or bigger."""
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
    """Return what was never meant for HTTP/1.1."""
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
    """Return the next one that *rng* leads to."""
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


# -------------------------------------------------------------------------------------------------- what it must mean


class Meaning(NamedTuple):
    """What h11 reads in a conversation: its requests, and whether it knows no more.

    It does not, of what comes after an error, or after a request with which it would close the connection.
    """

    requests: list[Got]
    ends_early: bool


def meaning(data: bytes) -> Meaning:
    """Return what h11 reads in *data*."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    requests: list[Got] = []
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                head, body = event, b""
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                target = head.target.decode("latin-1")
                requests.append(Got(head.method.decode(), target, len(body), zlib.crc32(body)))
                connection.send(h11.Response(status_code=404, headers=[("Content-Length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is not h11.DONE:
                    return Meaning(requests, requests[-1].target != "/marker")
                connection.start_next_cycle()
            else:  # it wants more than there is
                return Meaning(requests, True)
    except h11.RemoteProtocolError:
        return Meaning(requests, True)


class Reply(NamedTuple):
    """A response: its status, what the app said that it got, None if no app was asked, and whether it is the last."""

    status: int
    got: Got | None
    closes: bool


def replies(data: bytes, *, is_whole: bool) -> list[Reply]:
    """Return the responses in *data*, interim ones left out. Raises h11.RemoteProtocolError if it is anything else.

    Without *is_whole* the last may be cut off, as it is where the connection is reset.
    """
    found = []
    while data:
        head, _, rest = data.partition(b"\r\n\r\n")
        # What no app answers does not say that it was a HEAD: that is seen by the next response, where a body would be.
        is_head = b"\r\nX-Got: HEAD " in head or (b"\r\nX-Got: " not in head and rest[:7] == b"HTTP/1.")
        is_head = is_head and not head.startswith(b"HTTP/1.1 100 ")
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
        connection.send(h11.Request(method="HEAD" if is_head else "GET", target="/", headers=[("Host", "a")]))
        connection.send(h11.EndOfMessage())
        connection.receive_data(data)
        while isinstance(event := connection.next_event(), h11.InformationalResponse):
            pass
        if event is h11.NEED_DATA and not is_whole:
            return found
        if not isinstance(event, h11.Response):
            raise h11.RemoteProtocolError(f"expected a response, found {data!r}")
        headers = dict(event.headers)
        while isinstance(after := connection.next_event(), h11.Data):
            pass
        rest = connection.trailing_data[0]
        # What we refused may have been a HEAD: it has no body, and is the last.
        bodiless = after is h11.NEED_DATA and event.status_code >= 400 and headers.get(b"connection") == b"close"
        if not isinstance(after, h11.EndOfMessage) and not (bodiless or not is_whole):
            raise h11.RemoteProtocolError(f"a response that ends within its body: {data!r}")
        got = None
        if b"x-got" in headers:
            method, target, length, checksum = headers[b"x-got"].decode().split(" ")
            got = Got(method, target, int(length), int(checksum))
        found.append(Reply(event.status_code, got, headers.get(b"connection") == b"close"))
        if bodiless or not isinstance(after, h11.EndOfMessage):
            return found
        data = rest
    return found


def judge(one: Conversation, found: Sequence[Reply], *, ended: bool) -> str:
    """Return what is wrong with what came of a conversation, empty if nothing is."""
    expected = meaning(one.data)
    known = [request._replace(target=quote(request.target, encoding="latin-1")) for request in expected.requests]
    if any(reply.status >= 500 and reply.status != 501 for reply in found):
        return f"it failed: {found}"
    if any(reply.closes for reply in found[:-1]):
        return f"it went on after its last response: {found}"
    if one.shape == "ambiguous" and any(reply.got and reply.got.target == "/smuggled" for reply in found):
        return f"a smuggled request reached the app: {found}"
    for reply, request in zip(found, known, strict=False):  # what no app got has no path, say
        if reply.got and reply.got != request:
            return f"the app got {reply.got}, expected {request}: {found}"
    if expected.ends_early:
        return ""
    if len(found) > len(known):
        return f"it answered more than was sent: {found}, expected {known}"
    if not ended:
        return f"it neither answered all nor closed: {found}, expected {known}"
    if len(found) < len(known) and not (found and found[-1].closes):
        return f"it closed without an answer: {found}, expected {known}"
    return ""


# -------------------------------------------------------------------------------------------------------- the talking


def pieces(rng: random.Random, data: bytes) -> Iterator[bytes]:
    """Cut *data* in a few places, any of them."""
    cuts = sorted(rng.sample(range(len(data)), min(rng.choice([0, 0, 1, 1, 3]), len(data) - 1)))
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        yield data[start:end]


def talk(port: int, one: Conversation, rng: random.Random) -> str:
    """Have *one*; return what was wrong with it, empty if nothing was."""
    gone = rng.random()
    must_end = not meaning(one.data).ends_early
    received, ended, is_whole = b"", False, True
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in pieces(rng, one.data):
                if gone < 0.05 and rng.random() < 0.5:
                    if gone < 0.025:
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return ""
                connection.sendall(piece)
                time.sleep(rng.choice([0, 0, 0.001]))
        except OSError:  # it closed before it had read all, as it may where it refuses
            is_whole = False
        connection.settimeout(TIMEOUT if must_end and is_whole else MOMENT)
        try:
            while data := connection.recv(65536):
                received += data
            ended = True
        except TimeoutError:
            is_whole = False
        except OSError:  # a reset, of a connection that was closed with something unread
            ended, is_whole = True, False
    try:
        found = replies(received, is_whole=is_whole)
    except h11.RemoteProtocolError as error:
        return f"the responses cannot be read: {error}: {received!r}"
    if (
        ended and not is_whole and not (found and found[-1].closes)
    ):  # a reset may have taken the end of what was answered
        found.append(Reply(400, None, closes=True))
    return judge(one, found, ended=ended)


class Find(NamedTuple):
    """Something that is wrong, and the number of the input that shows it, which `conversation_of` makes again."""

    number: int
    what: str
    conversation: Conversation


def conversation_of(seed: int, number: int) -> tuple[Conversation, random.Random]:
    """Return the input *number* of the run with *seed*, and the generator as it leaves it."""
    rng = random.Random(f"{seed}-{number}")
    return conversation(rng), rng


def run(port: int, numbers: range, seed: int, *, clients: int = 8, say: Callable[[str], object] = print) -> list[Find]:
    """Have the conversations of *numbers* and *seed* with the server at *port*; return what was found."""
    remaining, finds, shapes = iter(numbers), list[Find](), Counter[str]()
    lock = threading.Lock()

    def client() -> None:
        while len(finds) < 20:
            with lock:
                number = next(remaining, None)
            if number is None:
                return
            one, rng = conversation_of(seed, number)
            try:
                what = talk(port, one, rng)
            except Exception as error:  # nobody answers, say
                what = repr(error)
            with lock:
                shapes[one.shape] += 1
                if what:
                    finds.append(Find(number, what, one))
                if number % 10_000 == 0:
                    say(f"{number}: {len(finds)} finds")

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    say(f"{sum(shapes.values())} inputs, {dict(shapes)}, {len(finds)} finds")
    return finds


# ------------------------------------------------------------------------------------------------ what is left of it


def held(server: MountpointServe) -> tuple[int, ...]:
    """Return how many descriptors and threads *server* has."""
    return tuple(len(list(Path(f"/proc/{server.pid}/{what}").iterdir())) for what in ("fd", "task"))


def at_most(now: tuple[int, ...], before: tuple[int, ...]) -> bool:
    # The connection of the request before the run may have been open still when it was counted.
    return all(one <= other for one, other in zip(now, before, strict=True))


def wait_until_nothing_runs(server: MountpointServe) -> None:
    """Ask with SIGUSR1 until it says so: a response is read before its thread has done with it."""
    told = 0
    while " INFO 0 requests in flight" not in server.log():
        server.send(signal.SIGUSR1)
        told += 1
        server.wait_for("requests in flight", count=told)


def assert_as_before(server: MountpointServe, before: tuple[int, ...]) -> None:
    """Assert that *server* answers, runs nothing, holds what it held, and has raised nothing."""
    assert server.request("/good").status == 200
    deadline = time.monotonic() + TIMEOUT
    while not at_most(held(server), before) and time.monotonic() < deadline:
        time.sleep(0.05)  # until it has seen that the last client is gone
    assert at_most(held(server), before)
    wait_until_nothing_runs(server)
    assert server.stop() == 0
    _, raised, where = server.log().partition("Traceback")
    assert not raised, where[:3000]
    assert "uncaptured" not in server.log()  # what waitress says where it catches all


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--inputs", type=int, default=100_000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--first", type=int, default=0, help="the number of the first input")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as folder, children(MountpointServe) as start:
        table = Path(folder) / "mounts.toml"
        table.write_text(TABLE)
        command = [sys.executable, "-m", "mountpoint", "serve", table, "--listen", "127.0.0.1:0", "--no-access-log"]
        server = start(command)
        server.wait_for(re.compile(r"^serving on \S+\n", re.MULTILINE))
        server.request("/good")
        before = held(server)
        began = time.monotonic()
        finds = run(server.port, range(asked.first, asked.first + asked.inputs), asked.seed)
        print(f"{time.monotonic() - began:.0f} s")
        for find in finds:
            print(f"\n{find.number} ({find.conversation.shape}): {find.what}\n{find.conversation.data[:3000]!r}")
        assert_as_before(server, before)
    return bool(finds)


if __name__ == "__main__":
    sys.exit(main())
