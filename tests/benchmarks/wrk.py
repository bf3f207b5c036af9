"""Load a server with wrk, and read wrk's output and the CPU clock of the server's processes. Linux only."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HEADERS = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: sv-SE,sv;q=0.8,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br",
    "Referer: https://www.viltstigen.se/",
    "Cookie: session=eyJ1c2VyIjoxfQ.Z1",
)
UPLOAD = 'wrk.method = "POST"\nwrk.body = string.rep("x", 10000)\n'
_MIN_REQUESTS = 20  # in a turn; fewer come if other programs keep the processors from both wrk and the server
_TRIES = 5
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


class WrkError(Exception):
    """The server did not answer every request with a status of 2xx or 3xx, or wrk did not run as expected."""


@dataclass(frozen=True)
class Row:
    """A load: *connections* that send requests without a pause, and *idle* ones that send none."""

    key: str
    name: str
    goal: float  # the CPU time of a request, as a ratio to bare waitress
    connections: int
    idle: int = 0
    path: str = "/app/"
    closes: bool = False  # whether each request has a connection of its own
    uploads: bool = False
    logs: bool = False  # whether the servers write an access log


@dataclass(frozen=True)
class Turn:
    """The figures of one turn. Times are in seconds."""

    cpu: float  # of one request
    rate: float  # requests a second
    p99: float


@dataclass(frozen=True)
class Report:
    """The figures that wrk prints."""

    requests: int
    rate: float  # requests a second
    p99: float  # seconds


def require() -> None:
    """End the program if wrk cannot run here."""
    if sys.platform != "linux":
        sys.exit("this benchmark reads the CPU clock of another process, which only Linux has")
    if shutil.which("wrk") is None:
        sys.exit("wrk makes the load, and is not installed; with Debian: apt install wrk")


def command(row: Row, seconds: int, url: str, script: Path) -> list[str]:
    """Return the command line that loads *url* for *seconds*. *script* is a file with `UPLOAD`."""
    arguments = ["wrk", "-t1", f"-c{row.connections}", f"-d{seconds}", "--latency", "--timeout", "20s"]
    for header in (*HEADERS, *(["Connection: close"] if row.closes else [])):
        arguments += ["-H", header]
    if row.uploads:
        arguments += ["-s", str(script)]
    return [*arguments, url]


def parse(output: str) -> Report:
    """Return the figures in the *output* of wrk. A request that failed raises `WrkError`."""
    if "Non-2xx" in output or re.search(r"(connect|read|write) [1-9]", output):
        raise WrkError(f"wrk reports errors:\n{output}")
    p99 = re.fullmatch(r"([\d.]+)(us|ms|s|m)", _found(r"\s99%\s+(\S+)", output))
    if p99 is None:
        raise WrkError(f"wrk's 99th percentile has another unit than {', '.join(_UNITS)}:\n{output}")
    return Report(
        int(_found(r"(\d+) requests in", output)),
        float(_found(r"Requests/sec:\s+([\d.]+)", output)),
        float(p99[1]) * _UNITS[p99[2]],
    )


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise WrkError(f"wrk's output has no {pattern!r}:\n{text}")
    return match[1]


def idle_connection(port: int) -> socket.socket:
    """Return a connection that has served one request and stays open, as a browser's does."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=20)
    sock.sendall(b"GET /app/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
    response = b""
    while not response.endswith(b"Hello, world!\n"):
        received = sock.recv(4096)
        if not received or b" 200 " not in received[:16] + response[:16]:
            raise WrkError(f"the server did not keep an idle connection after {response + received!r}")
        response += received
    return sock


class Target:
    """A running server, and the idle connections to it."""

    def __init__(self, process_id: int, port: int, idle: int) -> None:
        self._process_id = process_id
        self._port = port
        self._idle = [idle_connection(port) for _ in range(idle)]

    def close(self) -> None:
        for sock in self._idle:
            sock.close()

    def load(self, row: Row, seconds: int, script: Path) -> Turn:
        """Load the server for *seconds*."""
        arguments = command(row, seconds, f"http://127.0.0.1:{self._port}{row.path}", script)
        for _ in range(_TRIES):
            before = self._cpu_seconds()
            output = _run(arguments)
            cpu = self._cpu_seconds() - before
            report = parse(output)
            if report.requests >= _MIN_REQUESTS:
                return Turn(cpu / report.requests, report.rate, report.p99)
        raise WrkError(f"the server answered fewer than {_MIN_REQUESTS} requests:\n{output}")

    def _cpu_seconds(self) -> float:
        """Return the CPU time of the process and of its children."""
        children = Path(f"/proc/{self._process_id}/task/{self._process_id}/children").read_text().split()
        # The CPU clock of a process, as clock_getcpuclockid(3) computes it.
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in (self._process_id, *map(int, children)))


def _run(arguments: Sequence[str]) -> str:
    ended = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise WrkError(f"{' '.join(arguments)} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}")
    return ended.stdout
