"""A fuzzer: it sends hostile conversations to a server and judges the responses. For test_fuzz.py and for long runs:

    cd tests; python -m support.fuzzing --inputs 100000 --seed 1

The judge compares the server with h11, an independent implementation of HTTP/1.1, which parses each conversation.
"""

from __future__ import annotations

import argparse
import random
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
from support.conversations import Conversation, conversation
from support.running import MountpointServe, serving
from support.waiting import TIMEOUT

MOMENT = 0.05  # seconds to wait for a response that need not come
#: A table with limits that are small enough to be reached.
TABLE = f"""
[server]
threads = 4
max_request_header_size = 8192
max_request_body_size = 100000

[mounts."/"]
app = "{app_file("fuzz_app")}:app"
dot_segments = "pass"
"""


class Got(NamedTuple):
    """A request as an app gets it: method, target, and length and checksum of the body."""

    method: str
    target: str
    length: int
    checksum: int


# ---------------------------------------------------------------------------------------- the meaning of a conversation


class Meaning(NamedTuple):
    """The requests that h11 reads in a conversation.

    `ends_early` says that h11 reads no further: after an error, or after a request that closes the connection.
    """

    requests: list[Got]
    ends_early: bool


def meaning(data: bytes) -> Meaning:
    """Return the meaning of *data* according to h11."""
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
            else:  # h11 waits for more data
                return Meaning(requests, True)
    except h11.RemoteProtocolError:
        return Meaning(requests, True)


class Reply(NamedTuple):
    """A response: its status, the request that the app got (None without an app), and whether it is the last."""

    status: int
    got: Got | None
    closes: bool


def replies(data: bytes, *, is_whole: bool) -> list[Reply]:
    """Return the final responses in *data*. Raises h11.RemoteProtocolError if *data* is not a sequence of responses.

    Without *is_whole* the last response may be cut off, as by a reset.
    """
    found = []
    while data:
        head, _, rest = data.partition(b"\r\n\r\n")
        # X-Got shows a response to HEAD, and so does the next response where a body would be.
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
        # A rejected request may be HEAD: its response has no body and is the last.
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
    """Return the fault in the responses to a conversation, or an empty string."""
    expected = meaning(one.data)
    known = [request._replace(target=quote(request.target, encoding="latin-1")) for request in expected.requests]
    if any(reply.status >= 500 and reply.status not in (501, 505) for reply in found):
        return f"the server failed: {found}"
    if any(reply.closes for reply in found[:-1]):
        return f"the server continued after its last response: {found}"
    if one.shape == "ambiguous" and any(reply.got and reply.got.target == "/smuggled" for reply in found):
        return f"a smuggled request reached the app: {found}"
    for reply, request in zip(found, known, strict=False):  # a rejected request is not in known, for example
        if reply.got and reply.got != request:
            return f"the app got {reply.got}, expected {request}: {found}"
    if expected.ends_early:
        return ""
    if len(found) > len(known):
        return f"more responses than requests: {found}, expected {known}"
    if not ended:
        return f"the server neither answered all nor closed: {found}, expected {known}"
    if len(found) < len(known) and not (found and found[-1].closes):
        return f"the server closed without a response: {found}, expected {known}"
    return ""


# ------------------------------------------------------------------------------------------------ sending conversations


def pieces(rng: random.Random, data: bytes) -> Iterator[bytes]:
    """Cut *data* at a few random places."""
    cuts = sorted(rng.sample(range(len(data)), min(rng.choice([0, 0, 1, 1, 3]), len(data) - 1)))
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        yield data[start:end]


def talk(port: int, one: Conversation, rng: random.Random) -> str:
    """Send the conversation *one*. Return the fault in the responses, or an empty string."""
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
        except OSError:  # the server may close before it has read a rejected request
            is_whole = False
        connection.settimeout(TIMEOUT if must_end and is_whole else MOMENT)
        try:
            while data := connection.recv(65536):
                received += data
            ended = True
        except TimeoutError:
            is_whole = False
        except OSError:  # a reset: the server closed with unread data
            ended, is_whole = True, False
    try:
        found = replies(received, is_whole=is_whole)
    except h11.RemoteProtocolError as error:
        return f"the responses cannot be parsed: {error}: {received!r}"
    if ended and not is_whole and not (found and found[-1].closes):  # a reset may have cut off the last response
        found.append(Reply(400, None, closes=True))
    return judge(one, found, ended=ended)


class Find(NamedTuple):
    """A fault, and the number of the input that shows it, from which `conversation_of` rebuilds it."""

    number: int
    fault: str
    conversation: Conversation


def conversation_of(seed: int, number: int) -> tuple[Conversation, random.Random]:
    """Return the input *number* of the run with *seed*, and the generator in its state afterwards."""
    rng = random.Random(f"{seed}-{number}")
    return conversation(rng), rng


def run(port: int, numbers: range, seed: int, *, clients: int = 8, say: Callable[[str], object] = print) -> list[Find]:
    """Send the conversations *numbers* of *seed* to the server at *port*. Return the faults that were found."""
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
                fault = talk(port, one, rng)
            except Exception as error:  # the server does not listen, for example
                fault = repr(error)
            with lock:
                shapes[one.shape] += 1
                if fault:
                    finds.append(Find(number, fault, one))
                if number % 10_000 == 0:
                    say(f"{number}: {len(finds)} finds")

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    say(f"{sum(shapes.values())} inputs, {dict(shapes)}, {len(finds)} finds")
    return finds


# ---------------------------------------------------------------------------------------------- the state of the server


def held(server: MountpointServe) -> tuple[int, ...]:
    """Return the number of descriptors and of threads that *server* holds."""
    return tuple(len(list(Path(f"/proc/{server.pid}/{kind}").iterdir())) for kind in ("fd", "task"))


def at_most(now: tuple[int, ...], before: tuple[int, ...]) -> bool:
    # The count before the run may include the connection of the request just before it.
    return all(one <= other for one, other in zip(now, before, strict=True))


def wait_until_nothing_runs(server: MountpointServe) -> None:
    """Send SIGUSR1 until the log says so: a client reads a response before its thread has finished."""
    count = 0
    while " INFO 0 requests in flight" not in server.log():
        server.send(signal.SIGUSR1)
        count += 1
        server.wait_for("requests in flight", count=count)


def assert_as_before(server: MountpointServe, before: tuple[int, ...]) -> None:
    """Assert that *server* responds, runs no request, holds no more than *before*, and logged no traceback."""
    assert server.request("/good").status == 200
    deadline = time.monotonic() + TIMEOUT
    while not at_most(held(server), before) and time.monotonic() < deadline:
        time.sleep(0.05)  # until the server has noticed that the last client left
    assert at_most(held(server), before)
    wait_until_nothing_runs(server)
    assert server.stop() == 0
    _, raised, where = server.log().partition("Traceback")
    assert not raised, where[:3000]
    assert "uncaptured" not in server.log()  # the message of waitress for any exception


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--inputs", type=int, default=100_000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--first", type=int, default=0, help="the number of the first input")
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory() as folder, serving(TABLE, Path(folder), "--no-access-log") as server:
        server.request("/good")
        before = held(server)
        began = time.monotonic()
        finds = run(server.port, range(arguments.first, arguments.first + arguments.inputs), arguments.seed)
        print(f"{time.monotonic() - began:.0f} s")
        for find in finds:
            print(f"\n{find.number} ({find.conversation.shape}): {find.fault}\n{find.conversation.data[:3000]!r}")
        assert_as_before(server, before)
    return bool(finds)


if __name__ == "__main__":
    sys.exit(main())
