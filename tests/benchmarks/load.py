"""Compare the CPU time of a request in ``mountpoint serve`` with bare waitress, under load. Linux only.

    python tests/benchmarks/load.py                # about five minutes
    python tests/benchmarks/load.py --quick
    python tests/benchmarks/load.py --rows 1 64 --pairs 20

The load comes from wrk (with Debian: apt install wrk). It keeps the server busy, which a client in Python cannot do: an
idle server hides its own cost behind the cost of waking up.

Both servers have the same app and as many threads, and neither writes an access log unless ``--access-log`` asks for
the same lines of both. ``mountpoint serve`` mounts the app at /app and at four other paths. The servers take turns. A
pair is one turn of each, in alternating order. The ratio is that of a pair; the table has its median over the pairs,
with an interval that holds the true median with at least 95 %. The CPU time is that of the server's processes, user and
system, divided by the requests that wrk has counted.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from children import free_port, running
from load_servers import BARE, OURS, Server, wait_until_ready, write_files
from measure import duration, text_table, verdict, warn_if_busy

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


ROWS = (
    Row("1", "1 connection", 1.00, 1),
    Row("8", "8 connections", 0.85, 8),
    Row("64", "64 connections", 0.75, 64),
    Row("idle", "4 connections and 1,000 idle ones", 0.90, 4, idle=1_000),
    Row("new", "8 clients, a new connection for each request", 1.00, 8, closes=True),
    Row("big", "8 connections, 100 KB responses", 1.00, 8, path="/app/big"),
    Row("upload", "8 connections, 10 KB uploads", 1.00, 8, uploads=True),
)


@dataclass(frozen=True)
class Turn:
    """The figures of one turn. Times are in seconds."""

    cpu: float  # of one request
    rate: float  # requests a second
    p99: float


class Target:
    """A running server, and the idle connections to it."""

    def __init__(self, process_id: int, port: int, idle: int) -> None:
        self._process_id = process_id
        self._port = port
        self._idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(idle)]

    def close(self) -> None:
        for sock in self._idle:
            sock.close()

    def load(self, row: Row, seconds: int, script: Path) -> Turn:
        """Load the server for *seconds*."""
        command = ["wrk", "-t1", f"-c{row.connections}", f"-d{seconds}", "--latency", "--timeout", "20s"]
        for header in (*HEADERS, *(["Connection: close"] if row.closes else [])):
            command += ["-H", header]
        if row.uploads:
            command += ["-s", str(script)]
        for _ in range(_TRIES):
            before = self._cpu_seconds()
            output = subprocess.run(
                [*command, f"http://127.0.0.1:{self._port}{row.path}"], capture_output=True, text=True, check=True
            ).stdout
            cpu = self._cpu_seconds() - before
            requests = int(_found(r"(\d+) requests in", output))
            if requests >= _MIN_REQUESTS:
                break
        if requests < _MIN_REQUESTS or "Non-2xx" in output or re.search(r"(connect|read|write) [1-9]", output):
            sys.exit(f"wrk reports errors:\n{output}")
        p99 = _found(r"\s99%\s+(\S+)", output)
        value, unit = re.fullmatch(r"([\d.]+)(\D+)", p99).groups()  # type: ignore[union-attr]
        return Turn(cpu / requests, float(_found(r"Requests/sec:\s+([\d.]+)", output)), float(value) * _UNITS[unit])

    def _cpu_seconds(self) -> float:
        """Return the CPU time of the process and of its children."""
        children = Path(f"/proc/{self._process_id}/task/{self._process_id}/children").read_text().split()
        # The CPU clock of a process, as clock_getcpuclockid(3) computes it.
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in (self._process_id, *map(int, children)))


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        sys.exit(f"wrk's output has no {pattern!r}:\n{text}")
    return match[1]


@contextmanager
def targets(servers: Sequence[Server], folder: Path, row: Row, logs: bool) -> Iterator[list[Target]]:
    """Run the servers."""
    with ExitStack() as stack:
        found = []
        for server in servers:
            port = free_port()
            process, _ = stack.enter_context(running(server.command(port, logs), folder, port))
            wait_until_ready(port)
            found.append(Target(process.pid, port, row.idle))
            stack.callback(found[-1].close)
        yield found


def take_turns(found: Sequence[Target], row: Row, pairs: int, seconds: int, script: Path) -> list[list[Turn]]:
    """Return the turns of each target."""
    turns: list[list[Turn]] = [[] for _ in found]
    for target in found:
        target.load(row, 1, script)  # to warm up
    for number in range(pairs):
        order = range(len(found)) if number % 2 else reversed(range(len(found)))
        for index in order:
            turns[index].append(found[index].load(row, seconds, script))
    return turns


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the median of *values*, and two of them that enclose the true median with at least 95 %.

    With fewer than six values, no two of them do: then the interval is the whole range.
    """
    ordered, count = sorted(values), len(values)
    below = 0.0  # the probability that the true median lies below the value at *rank*
    rank = 0
    while rank < count // 2 and below + math.comb(count, rank) / 2**count <= 0.025:
        below += math.comb(count, rank) / 2**count
        rank += 1
    rank = max(rank - 1, 0)
    return statistics.median(ordered), ordered[rank], ordered[count - 1 - rank]


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare mountpoint serve with bare waitress under load.")
    parser.add_argument("--quick", action="store_true", help="three pairs, noisier")
    parser.add_argument("--pairs", type=int, help="number of pairs (10)")
    parser.add_argument("--seconds", type=int, default=1, help="length of a turn (1)")
    parser.add_argument("--rows", nargs="+", choices=[row.key for row in ROWS], help="only these rows")
    parser.add_argument("--access-log", action="store_true", help="both servers write the same access log")
    options = parser.parse_args()
    if sys.platform != "linux":
        sys.exit("this benchmark reads the CPU clock of another process, which only Linux has")
    if shutil.which("wrk") is None:
        sys.exit("wrk makes the load, and is not installed; with Debian: apt install wrk")
    warn_if_busy()
    pairs, seconds = options.pairs or (3 if options.quick else 10), options.seconds
    log = "with an access log" if options.access_log else "without an access log"
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} CPUs, {pairs} pairs of {seconds} s, {log}\n")

    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder)
        script = folder / "upload.lua"
        script.write_text(UPLOAD)
        for row in ROWS:
            if options.rows and row.key not in options.rows:
                continue
            with targets((BARE, OURS), folder, row, options.access_log) as found:
                bare, ours = take_turns(found, row, pairs, seconds, script)
            rows.append(_line(row, bare, ours))
            print(".", end="", flush=True)
    header = ["load", "CPU ratio", "95 % interval", "bare", "ours", "requests/s", "p99", "goal"]
    print("\n\n" + text_table(header, rows))


def _line(row: Row, bare: Sequence[Turn], ours: Sequence[Turn]) -> list[str]:
    middle, low, high = median_interval([one.cpu / other.cpu for one, other in zip(ours, bare, strict=True)])

    def both(name: str) -> tuple[float, float]:
        of_bare, of_ours = ([getattr(turn, name) for turn in turns] for turns in (bare, ours))
        return statistics.median(of_bare), statistics.median(of_ours)

    cpu, rate, p99 = both("cpu"), both("rate"), both("p99")
    return [
        row.name,
        f"{middle:.2f}",
        f"{low:.2f} to {high:.2f}",
        duration(cpu[0]),
        duration(cpu[1]),
        f"{rate[0]:,.0f} -> {rate[1]:,.0f}",
        f"{duration(p99[0])} -> {duration(p99[1])}",
        verdict(middle, row.goal),
    ]


if __name__ == "__main__":
    main()
