"""The suites of gunicorn, h11 and waitress, read from their source archives as cases for `serve`.

A case of gunicorn or h11 is the bytes of a connection and the requests in it. waitress's functional tests run as they
are, except that they find a server that runs already. The code of h11 and waitress runs in child processes.
"""

from __future__ import annotations

import json
import re
import runpy
import socket
import subprocess
import sys
import unittest
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from support.client import Client
from support.fuzzing import Meaning, meaning


class Wanted(NamedTuple):
    """A request as the app has to get it. `headers` are its fields, by name and value."""

    method: str
    target: str
    headers: Sequence[tuple[str, str]]
    body: bytes


class Case(NamedTuple):
    """A connection's bytes, and the requests in it. None says that the server has to reject it."""

    name: str
    data: bytes
    wanted: Sequence[Wanted] | None


def with_host(data: bytes) -> bytes:
    """Return *data* with a Host in each HTTP/1.1 request that has none, which RFC 9112 section 3.2 demands."""
    parts, position = [], 0
    while line := _REQUEST_LINE.search(data, position):
        end = data.find(b"\r\n\r\n", line.end() - 2)
        head = data[line.end() - 2 : end if end >= 0 else None].lower()
        has_host = re.search(rb"\nhost[ \t]*:", head) or not line[0].endswith(b"1\r\n")
        parts.append(data[position : line.end()] + (b"" if has_host else b"Host: peer\r\n"))
        position = line.end()
        if length := re.search(rb"\ncontent-length: *([0-9]+)$", head, re.MULTILINE):  # its body stays as it is
            body_end = position + len(head) + 2 + int(length[1])
            parts.append(data[position:body_end])
            position = body_end
    return b"".join([*parts, data[position:]])


_REQUEST_LINE = re.compile(rb"[!-~]+ [^\r\n]+ HTTP/1\.[01]\r\n")


# ------------------------------------------------------------------------------------------------------------ gunicorn


def gunicorn_cases(folder: Path) -> Iterator[Case]:
    """Yield a case for each ``.http`` file, with the expectation of the ``.py`` file beside it if it is valid."""
    for file in sorted((folder / "tests" / "requests").glob("*/*.http")):
        name = f"{file.parent.name}/{file.stem}"
        data = _unescaped(file.read_bytes().replace(b"\n", b""))
        yield Case(name, data, _gunicorn_requests(file.with_suffix(".py")) if name.startswith("valid/") else None)


def _unescaped(data: bytes) -> bytes:
    r"""Return *data* without the escapes that gunicorn's files use: \r \n \t \0 \xHH."""
    return re.sub(rb"\\(?:[rnt0]|x[0-9a-fA-F]{2})", lambda found: _unescape(found[0].decode()), data)


def _unescape(text: str) -> bytes:
    if text[1] == "x":
        return bytes.fromhex(text[2:])
    return {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0"}[text[1]]


def _gunicorn_requests(file: Path) -> list[Wanted]:
    found = runpy.run_path(str(file), {"uri": str})["request"]
    requests = found if isinstance(found, list) else [found]
    # One file has a string for an empty body.
    return [Wanted(one["method"], one["uri"], one["headers"], one["body"] or b"") for one in requests]


# ----------------------------------------------------------------------------------------------------------------- h11


def h11_cases(folder: Path) -> Iterator[Case]:
    """Yield a case for each input of h11's own tests of its readers, which are called with a recorder."""
    for number, case in enumerate(_ask(folder, _record_h11_readers)):
        wanted = case["wanted"]
        requests = None if wanted is None else [Wanted(*one[:3], one[3].encode("latin-1")) for one in wanted]
        yield Case(f"{case['test']} {number}", case["data"].encode("latin-1"), requests)


def h11_connections(folder: Path) -> Iterator[tuple[str, bytes, Meaning]]:
    """Yield the bytes that each server in h11's tests of its connection receives, with their meaning."""
    for number, (test, text) in enumerate(_ask(folder, _record_h11_connections)):
        data = text.encode("latin-1")
        yield f"{test} {number}", data, meaning(data)


def _record_h11_readers() -> list[dict[str, Any]]:
    from h11 import Data, Request
    from h11._readers import READERS, ChunkedReader  # type: ignore[attr-defined]
    from h11._state import CLIENT, IDLE
    from h11._util import LocalProtocolError
    from h11.tests import test_io

    cases: list[dict[str, Any]] = []

    def record(data: bytes, wanted: object) -> None:
        cases.append({"test": test, "data": bytes(data).decode("latin-1"), "wanted": wanted})

    def read_head(reader: object, data: bytes, expected: Any) -> None:
        if reader is READERS[CLIENT, IDLE]:
            wanted = None
            if isinstance(expected, Request):
                headers = [(name.decode(), value.decode()) for name, value in expected.headers]
                wanted = [(expected.method.decode(), expected.target.decode(), headers, "")]
            record(data, wanted)
        if expected is None:
            raise LocalProtocolError("recorded")

    def read_body(make: Callable[[], object], data: bytes, expected: list[Any], do_eof: bool = False) -> None:
        if isinstance(make(), ChunkedReader):
            body = b"".join(event.data for event in expected if isinstance(event, Data)).decode("latin-1")
            head = b"POST /chunked HTTP/1.1\r\nHost: h11\r\nTransfer-Encoding: chunked\r\n\r\n"
            record(head + data, None if LocalProtocolError in expected else [("POST", "/chunked", [], body)])

    test_io.tr, test_io.t_body_reader = read_head, read_body
    for test, run in sorted(vars(test_io).items()):
        if test.startswith("test_"):
            run()
    return cases


def _record_h11_connections() -> list[tuple[str, str]]:
    from h11 import SERVER, Connection
    from h11.tests import test_connection

    received: list[tuple[str, bytearray]] = []
    receive = Connection.receive_data

    def record(connection: Any, data: bytes) -> None:
        if connection.our_role is SERVER:
            if not hasattr(connection, "recorded"):
                connection.recorded = bytearray()
                received.append((test, connection.recorded))
            connection.recorded += data
        receive(connection, data)

    Connection.receive_data = record
    for test, run in sorted(vars(test_connection).items()):
        if test.startswith("test_"):
            mark, *_ = getattr(run, "pytestmark", [None])
            for arguments in [()] if mark is None else [(one,) for one in mark.args[1]]:
                run(*arguments)
    return [(test, data.decode("latin-1")) for test, data in received if data]


# ------------------------------------------------------------------------------------------------------------ waitress


def waitress_results(folder: Path, port: int, classes: Sequence[str]) -> dict[str, str]:
    """Return the outcome of each functional test in *classes* against the server at *port*: empty, or the failure."""
    return _ask(folder, _run_waitress, str(port), *classes)


def _run_waitress(port: str, *classes: str) -> dict[str, str]:
    from tests import test_functional

    address = ("127.0.0.1", int(port))

    class Socket(socket.socket):
        def send(self, data: bytes) -> int:
            self.settimeout(10)
            self.sendall(with_host(data))
            return len(data)

    def start(self: Any, app: Any, **settings: object) -> None:
        with Client(f"http://127.0.0.1:{port}") as client:
            answer = client.get(f"/choose?{app.__module__}:{app.__name__}")
        assert answer.status == 204, answer
        self.bound_to, self.sock = address, Socket()

    test_functional.SubprocessTests.start_subprocess = start
    test_functional.SubprocessTests.stop_subprocess = lambda self: self.sock.close()
    test_functional.SubprocessTests.create_socket = lambda self: Socket()
    outcomes = {}
    for name in classes:
        for test in unittest.defaultTestLoader.loadTestsFromTestCase(getattr(test_functional, name)):
            result = unittest.TestResult()
            test(result)
            outcome = "".join(text for _, text in result.failures + result.errors)
            outcomes[f"{name}.{test._testMethodName}"] = outcome.strip().rpartition("\n")[2]
    return outcomes


# ------------------------------------------------------------------------------------------------------ child processes


def _ask(folder: Path, function: Callable[..., Any], *arguments: str) -> Any:
    """Call *function* in a child process whose import path starts with *folder*. Return its result."""
    command = [sys.executable, "-c", _CHILD, str(folder), str(Path(__file__).parents[1]), function.__name__, *arguments]
    child = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if child.returncode:
        raise AssertionError(child.stderr)
    return json.loads(child.stdout)


_CHILD = """
import json, sys
_, first, last, name, *arguments = sys.argv
sys.path[:1] = [first]
sys.path.append(last)
from support import peer_suites
sys.stdout, out = sys.stderr, sys.stdout  # h11's tests print
json.dump(getattr(peer_suites, name)(*arguments), out)
out.flush()  # Python flushes only sys.stdout when it ends
"""


# ------------------------------------------------------------------------------------------------- running the cases


def exchange(url: str, data: bytes) -> tuple[bytes, bool]:
    """Send *data*, end the sending side, and return the bytes of the server until it closes.

    The second value is False if the server has reset the connection, so that a response may be cut off.
    """
    with Client(url) as client:
        with suppress(OSError):  # the server may close while it still gets bytes
            client.send(data)
            client.socket.shutdown(socket.SHUT_WR)
        received = bytearray()
        try:
            while piece := client.socket.recv(65536):
                received += piece
        except ConnectionError:
            return bytes(received), False
    return bytes(received), True


def statuses(data: bytes) -> list[int]:
    """Return the statuses of the responses in *data*, in which no body contains a line that looks like one."""
    return [int(status) for status in re.findall(rb"(?m)^HTTP/1\.[01] ([2-5][0-9][0-9]) ", data)]


def got_requests(url: str) -> list[dict[str, Any]]:
    """Return the requests that the app has got since the last call."""
    with Client(url) as client:
        return json.loads(client.get("/recorded").body)


def difference(case: Case, got: Sequence[dict[str, Any]], status: Sequence[int]) -> str:
    """Return how the requests *got* and the *status* of each response differ from *case*; empty if they do not."""
    if case.wanted is None:
        return f"the app got {got}" if got else "" if not status or status[0] >= 400 else f"the response is {status}"
    if len(got) != len(case.wanted):
        return f"the app got {len(got)} requests instead of {len(case.wanted)}, statuses {status}"
    for one, wanted in zip(got, case.wanted, strict=True):
        found = (one["method"], one["target"], one["body"].encode("latin-1"))
        if found != (wanted.method, wanted.target, wanted.body):
            return f"the app got {found}, expected {(wanted.method, wanted.target, wanted.body)}"
        if missing := _missing(wanted.headers, one["headers"]):
            return f"the app got the headers {one['headers']}, expected {missing}"
    return ""


def _missing(wanted: Sequence[tuple[str, str]], environ: dict[str, str]) -> dict[str, str]:
    """Return the headers of *wanted*, as WSGI joins them, that are not so in *environ*."""
    joined: dict[str, list[str]] = {}
    for name, value in wanted:
        if name.upper() != "TRANSFER-ENCODING":  # the server takes the coding off
            key = name.upper().replace("-", "_")
            joined.setdefault(key if key.startswith("CONTENT_") else f"HTTP_{key}", []).append(value)
    expected = {name: ", ".join(values) for name, values in joined.items()}
    return {name: value for name, value in expected.items() if environ.get(name) != value}
