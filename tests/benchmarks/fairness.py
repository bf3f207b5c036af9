"""Measure the effect of a slow and busy app on its sibling.

    python tests/benchmarks/fairness.py              # about two minutes
    python tests/benchmarks/fairness.py --quick
    python tests/benchmarks/fairness.py --many       # 29 of 30 mounts are flooded; some seconds

A client requests a fast app over one keep-alive connection, then over four, each time as soon as the response has
arrived. There are 32 other connections. On one server they are idle. On the other, each requests an app that waits for
a second, again and again. The servers take turns, so that other programs disturb both equally. Throughput and p99 are
those of a turn, and the ratio is that of a pair of turns. Its mean over the pairs comes with a 95 % confidence
interval. The same follows with an app that computes for a second, and, as the control, with stock waitress, the same
number of threads and the same apps.

With ``--many`` each of 29 apps, which wait for 50 ms, gets requests over two connections, again and again. A client
requests the thirtieth app one request at a time, and the table shows how long it waits: for an app that answers at
once, and for one that waits for 50 ms itself.
"""

from __future__ import annotations

import argparse
import os
import selectors
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from children import free_port, running, script
from measure import duration, ratio_interval, text_table, warn_if_busy
from tables import Table

THREADS = 8
FLOOD = 32  # connections
FIRST_ANSWER = 60  # seconds within which the flood gets its first response; eight apps that compute share one processor
GOALS = {1: 0.85, 4: 0.70}  # least ratio of throughput, flooded to idle, by the number of connections to the fast app
P99_GOAL = 3.0  # greatest ratio of p99, flooded to idle
APPS = """\
import time

def fast(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello, world!\\n"]

def slow(environ, start_response):
    time.sleep(1)
    return fast(environ, start_response)

def short(environ, start_response):
    time.sleep(0.05)
    return fast(environ, start_response)

def computing(environ, start_response):
    end = time.thread_time() + 1
    while time.thread_time() < end:
        sum(range(1_000))
    return fast(environ, start_response)
"""
MOUNTS = """\
[mounts]
"/fast" = "apps:fast"
"/slow" = "apps:slow"
"/computing" = "apps:computing"
"""


def serve_stock(port: int) -> None:
    """Serve the apps in the working folder with waitress alone."""
    import waitress

    from mountpoint import Dispatcher

    sys.path.insert(0, "")
    import apps  # type: ignore[import-not-found]

    table = {"/fast": apps.fast, "/slow": apps.slow, "/computing": apps.computing}
    waitress.serve(
        Dispatcher(table),
        host="127.0.0.1",
        port=port,
        threads=THREADS,
        connection_limit=1000,
        asyncore_use_poll=True,
        _quiet=True,
    )


class Connection:
    """A keep-alive connection that requests *path*."""

    def __init__(self, port: int, path: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self._request = f"GET {path}/ HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        self._received = b""
        self.asked = 0.0

    def ask(self) -> None:
        self.asked = time.perf_counter()
        self.socket.sendall(self._request)

    def answered(self) -> int | None:
        """Read the bytes that have arrived; return the status if the response is complete."""
        received = self.socket.recv(4096)
        if not received:
            sys.exit(f"the server closed the connection after {self._received!r}")
        self._received += received
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return None
        headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if len(body) < int(headers[b"content-length"]):
            return None
        self._received = b""
        return int(head[9:12])


class Turn(NamedTuple):
    """The result of one turn: responses a second, their 99th percentile in seconds, and how many were rejected."""

    throughput: float
    p99: float
    refused: int


class Bench:
    """A server, and its connections that are not measured: one that requests each path in *flood*, or idle ones."""

    def __init__(self, stack: ExitStack, folder: Path, kind: str, flood: Sequence[str]) -> None:
        self.port = free_port()
        if kind == "waitress":
            command = [sys.executable, str(Path(__file__).resolve()), "--stock", str(self.port)]
        else:
            command = [script("mountpoint"), "serve", "--listen", f"127.0.0.1:{self.port}", "--no-access-log"]
            command += ["--threads", str(THREADS)]
        stack.enter_context(running(command, folder, self.port, "/fast/"))
        self.others = [Connection(self.port, path) for path in flood or ["/fast"] * FLOOD]
        self.flood_answers = 0
        self._ended = threading.Event()
        if flood:
            thread = threading.Thread(target=self._flood)
            thread.start()
            stack.callback(thread.join)
        stack.callback(self._ended.set)
        for connection in self.others:
            stack.callback(connection.socket.close)

    def _flood(self) -> None:
        def again(connection: Connection, status: int) -> None:
            self.flood_answers += status == 200
            connection.ask()

        for connection in self.others:
            connection.ask()
        pump(self.others, again, self._ended.is_set)

    def turn(self, connections: int, seconds: float) -> Turn:
        """Request the fast app for *seconds*, over this number of *connections*."""
        taken, refused = [], 0
        asking = [Connection(self.port, "/fast") for _ in range(connections)]
        end = time.perf_counter() + seconds
        waiting = len(asking)

        def again(connection: Connection, status: int) -> None:
            nonlocal waiting, refused
            now = time.perf_counter()
            taken.append(now - connection.asked)
            refused += status != 200
            if now < end:
                connection.ask()
            else:
                waiting -= 1

        start = time.perf_counter()
        for connection in asking:
            connection.ask()
        pump(asking, again, lambda: not waiting)
        took = time.perf_counter() - start
        for connection in asking:
            connection.socket.close()
        return Turn(len(taken) / took, sorted(taken)[int(0.99 * (len(taken) - 1))], refused)


def pump(connections: list[Connection], again: Callable[[Connection, int], None], is_over: Callable[[], bool]) -> None:
    """Call *again* with each connection whose response is complete, until *is_over* returns true."""
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
        while not is_over():
            for key, _ in selector.select(0.1):
                if (status := key.data.answered()) is not None:
                    again(key.data, status)


class Figure(NamedTuple):
    """A row of the table: a server, the app that floods it, and the pairs of turns, idle and flooded."""

    server: str
    flood: str
    connections: int
    pairs: list[tuple[Turn, Turn]]

    def ratio(self, column: int) -> tuple[float, float, float]:
        return ratio_interval([flooded[column] / idle[column] for idle, flooded in self.pairs])

    def row(self) -> list[str]:
        idle, flooded = zip(*self.pairs, strict=True)
        cells = [f"{self.server}, flooded at {self.flood}", str(self.connections)]
        for column, form in ((0, "{:,.0f}/s".format), (1, duration)):
            for turns in (idle, flooded):
                cells.append(form(statistics.median(turn[column] for turn in turns)))
            cells.append(self._ratio(column))
        return [*cells, str(sum(turn.refused for turn in (*idle, *flooded)))]

    def _ratio(self, column: int) -> str:
        mean, low, high = self.ratio(column)
        if len(self.pairs) < 5:  # too few for an interval
            return f"{mean:.2g}" if mean < 10 else f"{mean:,.0f}"
        return f"{mean:.2f} ({low:.2f} to {high:.2f})"

    def table_row(self) -> list[str]:
        """Return the row of the table for the manual: ratios, and p99 in time where no ratio says anything."""
        app = {"/slow": "waits for a second", "/computing": "computes for a second"}[self.flood]
        return [
            f"{self.server}, beside an app that {app}",
            str(self.connections),
            f"{self.ratio(0)[0]:.2f}",
            duration(statistics.median(flooded.p99 for _, flooded in self.pairs)),
            f"{self.ratio(1)[0]:,.1f}",
            str(sum(flooded.refused for _, flooded in self.pairs)),
        ]

    def verdict(self) -> str:
        throughput, p99 = self.ratio(0)[0], self.ratio(1)[0]
        goal = GOALS[self.connections]
        reached = throughput >= goal and p99 <= P99_GOAL and not sum(flooded.refused for _, flooded in self.pairs)
        return (
            f"{self.connections} connection(s): throughput {throughput:.2f}, goal >= {goal:.2f}; "
            f"p99 {p99:.2f}, goal <= {P99_GOAL:.1f}; none refused: {'reached' if reached else 'MISSED'}"
        )


def compare(folder: Path, kind: str, flood: str, pairs: int, seconds: float) -> list[Figure]:
    """Return a row for each number of connections."""
    with ExitStack() as stack:
        idle = Bench(stack, folder, kind, [])
        flooded = Bench(stack, folder, kind, [flood] * FLOOD)
        figures = []
        for connections in GOALS:
            if kind == "mountpoint":
                for bench in (idle, flooded):
                    bench.turn(connections, seconds)  # to warm up
            turns = []
            for number in range(pairs):
                order = (idle, flooded) if number % 2 else (flooded, idle)
                taken = {bench: bench.turn(connections, seconds) for bench in order}
                turns.append((taken[idle], taken[flooded]))
            figures.append(Figure(kind, flood, connections, turns))
        deadline = time.monotonic() + FIRST_ANSWER
        while not flooded.flood_answers and time.monotonic() < deadline:
            time.sleep(0.1)
        if not flooded.flood_answers:
            sys.exit("the flood got no response, so the measurement is void")
    return figures


def measure(pairs: int, computing_pairs: int, control_pairs: int, seconds: float) -> list[Figure]:
    """Return the rows of ``mountpoint serve`` beside an app that waits, then one that computes, and of the control."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "apps.py").write_text(APPS)
        (folder / "mounts.toml").write_text(MOUNTS)
        return [
            *compare(folder, "mountpoint", "/slow", pairs, seconds),
            *compare(folder, "mountpoint", "/computing", computing_pairs, seconds),
            # A turn lasts until its last response, which waits for all requests of the flood that are in front of it.
            *compare(folder, "waitress", "/slow", control_pairs, seconds),
        ]


def table(figures: Sequence[Figure]) -> Table:
    """Return the table for the manual."""
    header = ["Fast app in", "connections", "throughput, ratio", "p99", "p99, ratio", "rejected"]
    return Table(header, [figure.table_row() for figure in figures])


def many(requests: int) -> None:
    """Flood 29 of 30 mounts, and print how long a request of the thirtieth takes."""
    rows = []
    for app in ("fast", "short"):
        with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
            folder = Path(name)
            (folder / "apps.py").write_text(APPS)
            flooded = "".join(f'"/m{number}" = "apps:short"\n' for number in range(29))
            (folder / "mounts.toml").write_text(f'[mounts]\n{flooded}"/fast" = "apps:{app}"\n')
            bench = Bench(stack, folder, "mountpoint", [f"/m{number % 29}" for number in range(58)])
            time.sleep(1)  # until every queue has waiting requests
            taken: list[float] = []
            connection = Connection(bench.port, "/fast")

            def again(one: Connection, status: int, taken: list[float] = taken) -> None:
                taken.append(time.perf_counter() - one.asked)
                one.ask()

            connection.ask()
            pump([connection], again, lambda taken=taken: len(taken) >= requests)  # type: ignore[misc]
            connection.socket.close()
            taken.sort()
            rows.append([app, *(duration(taken[int(share * (requests - 1))]) for share in (0.5, 0.95, 1))])
    print(text_table(["29 of 30 mounts flooded; the other is", "median", "p95", "longest"], rows))


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the effect of a slow and busy app on its sibling.")
    parser.add_argument("--quick", action="store_true", help="5 pairs of short turns, noisier")
    parser.add_argument("--many", action="store_true", help="only flood 29 of 30 mounts")
    parser.add_argument("--pairs", type=int, help="number of pairs of turns (20)")
    parser.add_argument("--seconds", type=float, help="seconds of a turn (1)")
    parser.add_argument("--stock", type=int, metavar="PORT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stock:
        serve_stock(options.stock)
        return
    warn_if_busy()
    if options.many:
        many(20 if options.quick else 100)
        return
    pairs = options.pairs or (5 if options.quick else 20)
    seconds = options.seconds or (0.5 if options.quick else 1.0)
    figures = measure(pairs, max(pairs // 4, 2), 2 if options.quick else 3, seconds)

    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} CPUs, {THREADS} threads, {FLOOD} other connections;")
    print(f"{pairs} pairs of turns of {seconds:g} s\n")
    header = ["", "over", "idle", "flooded", "ratio", "p99: idle", "flooded", "ratio", "refused"]
    print(text_table(header, [figure.row() for figure in figures]))
    print()
    for figure in figures[: len(GOALS)]:
        print(figure.verdict())


if __name__ == "__main__":
    main()
