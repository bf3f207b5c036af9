"""The clients of the soak: browsers, and clients that flood, disconnect, never read or send garbage.

A visit uses one connection or a few. It raises AssertionError if a response is wrong.
"""

from __future__ import annotations

import hashlib
import json
import select
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random

from children import PATIENCE

sys.path.append(str(Path(__file__).parents[1]))
from support.client import Client

FRAMEWORKS = ("flask", "django", "bottle", "falcon", "pyramid")
SCRIPT = b"console.log('weather');\n"  # the static file of each framework's site
FILE_SIZE = 3_000_000  # bytes, of the file that an app hands over
CHANNEL_TIMEOUT, HEADER_TIMEOUT, BODY_TIMEOUT = 6, 3, 3  # seconds, of the server
HARDSHIPS = ("slow bodies", "hanging mounts", "full $TMPDIR", "few descriptors")
FAILING = HARDSHIPS[2:]  # under which a request may fail
HANGING = 5  # mounts


class Load:
    """Clients, each a thread that makes visits one after the other. `errors` counts the wrong responses.

    `excused` counts those in a hardship under which a request may fail.
    """

    def __init__(self, url: str, seed: int) -> None:
        self.url = url
        self.errors: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()  # by the kind of visit
        self._seed = seed
        self._over = threading.Event()
        self.excused: Counter[str] = Counter()
        self.current = ""  # the hardship
        self._excused_until = 0.0

    @contextmanager
    def hardship(self, name: str) -> Iterator[None]:
        """Let the clients know of a hardship while the body of the ``with`` statement runs."""
        self.current = name
        try:
            yield
        finally:
            self.current = ""
            if name in FAILING:
                self._excused_until = time.monotonic()

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Run the clients during the body of the ``with`` statement, and wait until every visit has ended."""
        self._over.clear()
        threads = [
            threading.Thread(target=self._visit, args=(visit, Random(f"{self._seed} {visit.__name__} {number}")))
            for visit, count in VISITS.items()
            for number in range(count)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()
            self._seed += 1

    def _visit(self, visit: Callable[[Load, Random], None], random: Random) -> None:
        while not self._over.is_set():
            start = time.monotonic()
            try:
                visit(self, random)
            except Exception as error:
                is_excused = self.current in FAILING or start < self._excused_until
                errors = self.excused if is_excused else self.errors
                errors[f"{visit.__name__}: {type(error).__name__}: {error}"[:200]] += 1

    def pause(self, seconds: float) -> bool:
        """Wait for *seconds*; return True, at once, if the load is over."""
        return self._over.wait(seconds)

    def count(self, visit: Callable[..., None]) -> None:
        self.answers[visit.__name__] += 1


def expect(found: object, *expected: object) -> None:
    if found not in expected:
        raise AssertionError(f"expected {' or '.join(map(repr, expected))}, found {found!r}")


PAGES = (
    ("GET", "/", 200, b"ws.js"),
    ("GET", "/page/7", 200, b"page of 7"),
    ("HEAD", "/page/7", 200, b""),
    ("GET", "/go", 302, b""),  # Bottle's is 303
    ("GET", "/stream", 200, b"/page/x\n"),
    ("POST", "/form", 200, b"posted soak"),
    ("GET", "/static/ws.js", 200, SCRIPT),
    ("GET", "/nowhere", 404, b""),
)


def browse(load: Load, random: Random) -> None:
    """Request pages of the five sites, over one connection or over many."""
    with Client(load.url) as client:
        for _ in range(random.choice((1, 1, 50))):
            method, path, status, body = random.choice(PAGES)
            headers, form = (
                (["Content-Type: application/x-www-form-urlencoded"], b"name=soak") if method == "POST" else ([], b"")
            )
            client.request(f"/{random.choice(FRAMEWORKS)}{path}", *headers, method=method, body=form)
            answer = client.answer(bodiless=method == "HEAD")
            found = 302 if answer.status == 303 else answer.status
            expect((path, found, body in answer.body), (path, status, True))
            load.count(browse)
            if answer.closes or load.pause(0):
                return


def fail(load: Load, random: Random) -> None:
    """Request apps that raise, before the response has begun and after."""
    path = random.choice(("boom", "leave", "interrupt", "late-boom", "late-leave"))
    with Client(load.url) as client:
        client.request(f"/probe/{path}")
        status, headers = client.head()
        try:
            body = client.body(headers)
        except ConnectionError:
            body = b"cut"
        expect((status, body == b"cut"), (200, True) if path.startswith("late") else (500, False))
    load.count(fail)
    load.pause(0.05)  # each writes a traceback to the log


def flood(load: Load, random: Random) -> None:
    """Send an app with a limit more requests than it can serve; some are slow enough for the slow log."""
    with Client(load.url) as client:
        answer = client.get(f"/narrow/nap/{random.choice((0.01, 0.05, 0.2, 1.2))}")
    expect(answer.status, 200, 503)
    if answer.status == 503:
        expect("Retry-After" in answer.headers, True)
    load.count(flood)


def head(load: Load, random: Random) -> None:
    """Send HEAD to an app that returns a body anyway; the next bytes on the connection are the next response."""
    with Client(load.url) as client:
        for number in range(5):
            client.request(f"/probe/{number}", method="HEAD")
            answer = client.answer(bodiless=True)
            expect(answer.status, 200)
            if answer.closes:
                return
            answer = client.get(f"/probe/{number}")
            expect(json.loads(answer.body)["PATH_INFO"], f"/{number}")
            load.count(head)
            if answer.closes:
                return


def pipeline(load: Load, random: Random) -> None:
    """Send three requests at once; the responses arrive in order, and end with one that closes the connection."""
    with Client(load.url) as client:
        client.pipeline("/probe/a", "/own/nap/0.02", "/probe/b")
        for expected in (b'"/a"', b"done", b'"/b"'):
            answer = client.answer()
            expect(expected in answer.body, True)
            load.count(pipeline)
            if answer.closes:
                return


def transfer(load: Load, random: Random) -> None:
    """Transfer large bodies: files, known lengths, unknown lengths, uploads."""
    size = random.randrange(FILE_SIZE)
    kind = random.choice(("file", "sized", "streamed", "upload", "too much"))
    with Client(load.url) as client:
        if kind == "upload":
            data = random.randbytes(size)
            client.request("/probe/upload", method="POST", body=data)
            expect(client.answer().body, hashlib.sha256(data).hexdigest().encode())
        elif kind == "too much":
            client.request("/own/", method="POST", body=b"x" * 1001)
            expect(client.answer().status, 413)
        elif kind == "file":
            expect(len(client.get("/own/file").body), FILE_SIZE)
        else:
            expect(len(client.get(f"/probe/{kind}/{size}").body), size)
    load.count(transfer)
    load.pause(0.05)


def leave(load: Load, random: Random) -> None:
    """Disconnect: at once, within a header, within a body, before the response, within the response."""
    kind = random.choice(("at once", "header", "body", "before", "within"))
    client = Client(load.url)
    if kind == "header":
        client.send("GET /probe/ HTTP/1.1\r\nHost: x\r\nX: ")
    elif kind == "body":
        client.request("/probe/upload", "Content-Length: 1000000", method="POST")
        client.send(b"x" * random.randrange(600_000))
    elif kind == "before":
        client.request(random.choice(("/own/nap/0.1", "/narrow/nap/0.1", "/flask/", "/probe/file/1000")))
    elif kind == "within":
        client.request("/probe/endless")
        expect(client.head()[0], 200)
        client.socket.recv(random.randrange(1, 300_000))
    random.choice((client.close, client.reset))()
    load.count(leave)
    load.pause(0.05)


def stall(load: Load, random: Random) -> None:
    """Request an endless stream, and read nothing until the server must have closed the connection."""
    with Client(load.url, buffer=4096) as client:
        client.request("/probe/endless")
        if load.pause(2 * CHANNEL_TIMEOUT + 3):
            return
        received = 0
        try:
            while data := client.socket.recv(65536):  # the bytes in the buffers of the system, then the end
                received += len(data)
                if received > 100_000_000:
                    raise AssertionError("a client that reads nothing was not closed")
        except ConnectionError:
            pass
    load.count(stall)


def drip(load: Load, random: Random) -> None:
    """Send headers byte by byte over many connections; each gets 408."""
    with ExitStack() as stack:
        clients = {client.socket: client for client in (stack.enter_context(Client(load.url)) for _ in range(10))}
        for client in clients.values():
            client.send("GET /flask/ HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        deadline = time.monotonic() + HEADER_TIMEOUT + PATIENCE
        while clients:
            answered, _, _ = select.select(clients, [], [], 0)
            for sock in answered:
                expect(clients.pop(sock).answer().status, 408)
                load.count(drip)
            for client in clients.values():
                client.send("x")
            if load.pause(0.3):
                return
            expect(time.monotonic() < deadline, True)


def upload_slowly(load: Load, random: Random) -> None:
    """Send the first bytes of large bodies over many connections, then hardly any; each gets 408."""
    if load.current != "slow bodies":
        load.pause(0.2)
        return
    with ExitStack() as stack:
        clients = {client.socket: client for client in (stack.enter_context(Client(load.url)) for _ in range(20))}
        for client in clients.values():
            client.send("POST /probe/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
            client.send(random.randbytes(random.randrange(1_000)))
        deadline = time.monotonic() + BODY_TIMEOUT + PATIENCE
        while clients:
            answered, _, _ = select.select(clients, [], [], 0)
            for sock in answered:
                expect(clients.pop(sock).answer().status, 408)
                load.count(upload_slowly)
            for client in clients.values():
                client.send("x")
            if load.pause(0.3):
                return
            expect(time.monotonic() < deadline, True)


def hang(load: Load, random: Random) -> None:
    """Request a mount that hangs for as long as the hardship, at least."""
    if load.current != "hanging mounts":
        load.pause(0.2)
        return
    with Client(load.url) as client:
        expect(client.get(f"/hanging{random.randrange(HANGING)}/nap/8").status, 200, 503)
    load.count(hang)


#: Bytes that are not valid HTTP, by the status of the response.
GARBAGE = (
    (400, "GET http://[::1/x HTTP/1.1\r\nHost: x\r\n\r\n"),
    (413, f"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: {'9' * 5000}\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\n\r\n"),
    (400, "GET /flask/../x HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    (400, "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"),
    (400, "POST /probe/upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n"),
)


def send_garbage(load: Load, random: Random) -> None:
    """Send bytes that are not valid HTTP."""
    status, data = random.choice(GARBAGE)
    with Client(load.url) as client:
        client.send(data)
        expect(client.answer().status, status)
    load.count(send_garbage)
    load.pause(0.02)


def visit_guest(load: Load, random: Random) -> None:
    """Request a mount that the reloads add, break and remove."""
    with Client(load.url) as client:
        for _ in range(20):
            answer = client.get("/guest/page/7")
            expect(answer.status, 200, 404, 503)
            load.count(visit_guest)
            if answer.closes or load.pause(0.02):
                return


#: The number of clients of each kind.
VISITS = {
    browse: 6,
    fail: 1,
    flood: 8,
    head: 1,
    pipeline: 1,
    transfer: 2,
    leave: 2,
    stall: 2,
    drip: 1,
    send_garbage: 1,
    visit_guest: 1,
    upload_slowly: 4,
    hang: 10,
}
