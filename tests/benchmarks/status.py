"""Measure the status page: its CPU time with 300 mounts, and requests while clients ask for it. Linux only.

    python tests/benchmarks/status.py               # about one minute
    python tests/benchmarks/status.py --rounds 2    # to try it
    python tests/benchmarks/status.py --write       # write the figures into the manual

The first table has the CPU time of one document: the snapshot of counters that hold an hour of requests, and its text.
The least of several is taken. The second table has the requests that 8 connections of wrk get from one mount. In every
other turn a thread asks for the page 100 times a second. The listener makes it once a second, and sends it 100 times.
It needs wrk (with Debian: apt install wrk).
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import wrk
from children import free_port, running, script
from measure import duration, ratio_interval, verdict, warn_if_busy
from tables import Table, replace_tables

from mountpoint.config.reader import Config, load_config
from mountpoint.loading.loaded_mount import LoadedMount
from mountpoint.status.counters import Counters
from mountpoint.status.metrics import render_metrics
from mountpoint.status.page import render_page
from mountpoint.status.snapshot import ServerFacts, make_snapshot

PAGE = Path(__file__).parents[2] / "mountpoint" / "docs" / "performance.md"
MOUNTS = 300
GOAL = 0.050  # seconds of CPU for the page
ASKED = 100  # times a second
SECONDS = 2  # of a turn
APP = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "14")])
    return [b"Hello, world!\\n"]
"""
ROW = wrk.Row("status", "8 connections", 0.0, 8)


def table_of(folder: Path, port: int, status_port: int) -> Path:
    """Write an app and a table with `MOUNTS` mounts into *folder*; return the file of the table."""
    (folder / "hello.py").write_text(APP)
    mounts = "\n".join(f'"/app{number or ""}" = "hello:app"' for number in range(MOUNTS))
    file = folder / "mounts.toml"
    file.write_text(
        f'[server]\nlisten = "127.0.0.1:{port}"\naccess_log = false\n'
        f'[status]\nlisten = "127.0.0.1:{status_port}"\n[mounts]\n{mounts}\n'
    )
    return file


@dataclass
class Finished:
    """The request that the counters keep, if it is among the slowest."""

    path: str
    method: str = "GET"
    request_id: str | None = None
    rejection: str | None = None


def counters_of(config: Config) -> Counters:
    """Return counters that have counted requests of each mount in each minute of an hour."""
    now = 0.0
    counters = Counters(lambda: now)
    counters.configure(config.mounts)
    for minute, (place, mount) in itertools.product(range(60), enumerate(config.mounts)):
        now = 60.0 * minute
        for number in range(1 + (place + minute) % 5):
            status = 500 if number == 4 else 200
            measures = (mount.key, status, now, 0.0004, 0.003 * (number + 1), 0, 14)
            counters.request_finished(measures, partial(Finished, f"{mount.key}/page"))
    return counters


def documents() -> dict[str, tuple[float, int]]:
    """Return the CPU seconds and the bytes of each document."""
    with tempfile.TemporaryDirectory() as folder:
        config = load_config(table_of(Path(folder), 8080, 8081))
    counters = counters_of(config)
    mounts = [LoadedMount(mount, app=lambda *_: []) for mount in config.mounts]
    facts = ServerFacts("mounts.toml", ["http://127.0.0.1:8080/"], "serving", 9, 1000, 8, 0.001, [], {}, None)

    def snapshot() -> Any:
        return make_snapshot(counters, facts, mounts)

    makers: dict[str, Callable[[], str]] = {
        "the page": lambda: render_page(snapshot()),
        "JSON": lambda: json.dumps(snapshot(), separators=(",", ":")),
        "metrics": lambda: render_metrics(snapshot()),
    }
    return {name: _least_cpu(make) for name, make in makers.items()}


def _least_cpu(make: Callable[[], str]) -> tuple[float, int]:
    times = []
    for _ in range(20):
        start = time.process_time()
        text = make()
        times.append(time.process_time() - start)
    return min(times), len(text.encode())


@contextmanager
def asking(port: int) -> Iterator[list[int]]:
    """Ask for the page `ASKED` times a second in a thread; yield a list that gets the status of each response."""
    statuses: list[int] = []
    ended = threading.Event()

    def ask() -> None:
        next_at = time.monotonic()
        while not ended.wait(max(next_at - time.monotonic(), 0)):
            next_at += 1 / ASKED
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request("GET", "/")
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
            connection.close()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield statuses
    finally:
        ended.set()
        thread.join()


def load(rounds: int) -> tuple[list[wrk.Turn], list[wrk.Turn], float]:
    """Return the turns without the page, those with it, and how often a second it was asked for."""
    port, status_port = free_port(), free_port()
    without, during, answered = [], [], 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = table_of(folder, port, status_port)
        with running([script("mountpoint"), "serve", str(file)], folder, port, "/app/") as (process, _):
            target = wrk.Target(process.pid, port, 0)
            target.load(ROW, 1, folder)  # to warm up
            for _ in range(rounds):
                without.append(target.load(ROW, SECONDS, folder))
                with asking(status_port) as statuses:
                    during.append(target.load(ROW, SECONDS, folder))
                if set(statuses) != {200}:
                    raise SystemExit(f"the page answered with {set(statuses)}")
                answered += len(statuses)
    return without, during, answered / (rounds * SECONDS)


def document_table(found: dict[str, tuple[float, int]]) -> Table:
    rows = [[name, duration(cpu), f"{size / 1000:,.0f} kB"] for name, (cpu, size) in found.items()]
    return Table([f"Document about {MOUNTS} mounts", "CPU time", "size"], rows)


def load_table(without: list[wrk.Turn], during: list[wrk.Turn], asked: float) -> Table:
    def middle(turns: list[wrk.Turn], name: str) -> float:
        return statistics.median(getattr(turn, name) for turn in turns)

    rate, low, high = ratio_interval([one.rate / other.rate for one, other in zip(during, without, strict=True)])
    rows = [
        ["no client asks for the page", f"{middle(without, 'rate'):,.0f}", duration(middle(without, "p99")), ""],
        [
            f"the page is asked for {asked:.0f} times a second",
            f"{middle(during, 'rate'):,.0f}",
            duration(middle(during, "p99")),
            f"{rate:.2f} ({low:.2f} to {high:.2f})",
        ],
    ]
    return Table(["Requests of a mount while", "requests a second", "p99", "ratio"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the status page.")
    parser.add_argument("--rounds", type=int, default=10, help="pairs of turns (default: 10)")
    parser.add_argument("--write", action="store_true", help="write the figures into the manual")
    options = parser.parse_args()
    wrk.require()
    warn_if_busy()
    found = documents()
    tables = [document_table(found), load_table(*load(options.rounds))]
    print("\n".join(table.markdown() for table in tables))
    print(f"milliseconds of CPU for the page: {verdict(found['the page'][0] * 1000, GOAL * 1000)}")
    if options.write:
        PAGE.write_text(replace_tables(PAGE.read_text(encoding="utf-8"), tables), encoding="utf-8")


if __name__ == "__main__":
    main()
