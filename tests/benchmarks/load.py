"""Compare the CPU time of a request in ``mountpoint serve`` with bare waitress and the peers, under load. Linux only.

    python tests/benchmarks/load.py                # about six minutes
    python tests/benchmarks/load.py --quick        # about a minute
    python tests/benchmarks/load.py --rows 1 64 --pairs 20 --no-peers

The load comes from wrk (with Debian: apt install wrk). It keeps the server busy, which a client in Python cannot do: an
idle server hides its own cost behind the cost of waking up.

All servers have the same app, one process and as many threads, and write no access log, except in the row that says so.
``mountpoint serve`` mounts the app at /app and at four other paths. The servers take turns. A pair is one turn of bare
waitress and one of another server, next to each other, in alternating order. The ratio is that of a pair. Its median
over the pairs has an interval that holds the true median with at least 95 %. The CPU time is that of the server's
processes, user and system, divided by the requests that wrk has counted. The peers take part in every fourth pair.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import wrk
from children import free_port, running
from load_servers import BARE, GRANIAN, OURS, PEERS, WITHOUT_IDLE, Server, write_files
from measure import duration, progress, verdict, warn_if_busy
from tables import Table
from wrk import Row, Target, Turn, WrkError

ROWS = (
    Row("1", "1 connection", 1.00, 1),
    Row("8", "8 connections", 0.85, 8),
    Row("64", "64 connections", 0.75, 64),
    Row("idle", "4 connections and 1,000 idle ones", 0.90, 4, idle=1_000),
    Row("new", "8 clients, a new connection for each request", 1.00, 8, closes=True),
    Row("big", "8 connections, 100 KB responses", 1.00, 8, path="/app/big"),
    Row("upload", "8 connections, 10 KB uploads", 1.00, 8, uploads=True),
    Row("log", "8 connections, both servers write an access log", 0.85, 8, logs=True),
)
PEER_TITLES = {  # of the tables that compare all servers, by the figure
    "cpu": "CPU time of a request",
    "rate": "Requests a second",
    "p99": "99th percentile of the time to respond",
}
PEER_TURNS = 4  # of so many pairs, the peers take part in one
IDLE_GOAL = 1.15  # the CPU time of a request with idle connections, as a ratio to that without them


@dataclass
class Result:
    """The turns of a row: for each server, by the number of the pair. *failed* has the error of each failed peer."""

    row: Row
    turns: dict[str, dict[int, Turn]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def ratio(self, server: str, base: str = BARE.name) -> tuple[float, float, float]:
        """Return the median ratio of the CPU time to that of *base*, and its interval."""
        other = self.turns[base]
        return median_interval([turn.cpu / other[number].cpu for number, turn in self.turns[server].items()])

    def median(self, server: str, figure: str) -> float | None:
        """Return the median of *figure*, the name of a field of `Turn`, or None if the server took no part."""
        turns = self.turns.get(server)
        return statistics.median(getattr(turn, figure) for turn in turns.values()) if turns else None


@contextmanager
def targets(servers: Sequence[Server], folder: Path, row: Row) -> Iterator[dict[Server, Target]]:
    """Run the servers."""
    with ExitStack() as stack:
        found = {}
        for server in servers:
            port = free_port()
            process, _ = stack.enter_context(running(server.command(port, row.logs), folder, port, row.path))
            found[server] = Target(process.pid, port, 0 if server is WITHOUT_IDLE else row.idle)
            stack.callback(found[server].close)
        yield found


def measure_row(row: Row, servers: Sequence[Server], folder: Path, pairs: int, seconds: int) -> Result:
    """Load the *servers* in turns. *folder* has the files of `write_files` and the script of the upload."""
    result = Result(row, {server.name: {} for server in servers})
    script = folder / "upload.lua"
    script.write_text(wrk.UPLOAD)

    def turn(server: Server, number: int | None) -> None:
        if server.name in result.failed:
            return
        try:
            taken = found[server].load(row, seconds, script)
        except WrkError as error:
            if server in (BARE, OURS, WITHOUT_IDLE):
                sys.exit(f"{server.name}, {row.name}: {error}")
            result.failed[server.name] = str(error)
            del result.turns[server.name]
            return
        if number is not None:
            result.turns[server.name][number] = taken

    with targets(servers, folder, row) as found:
        for server in servers:
            turn(server, None)  # to warm up
        for number in range(pairs):
            taking_part = [one for one in servers if one in (BARE, OURS, WITHOUT_IDLE) or number % PEER_TURNS == 0]
            for server in taking_part if number % 2 else reversed(taking_part):
                turn(server, number)
    return result


def measure(rows: Sequence[Row], peers: Sequence[Server], pairs: int, seconds: int = 1) -> list[Result]:
    """Load bare waitress, ``mountpoint serve`` and the *peers* that are installed, with each of the *rows*."""
    installed = [peer for peer in peers if peer.is_installed]
    results = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder)
        for row in rows:
            progress(f"load: {row.name}")
            servers = [BARE, OURS, *([WITHOUT_IDLE] if row.idle else []), *([] if row.logs else installed)]
            results.append(measure_row(row, servers, folder, pairs, seconds))
    return results


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


# ------------------------------------------------------------------------------------------------------------- tables


def ratio_table(results: Sequence[Result]) -> Table:
    """Return the table that compares ``mountpoint serve`` with bare waitress."""
    header = [
        "Load",
        "CPU ratio",
        "95 % interval",
        "goal",
        "requests/s, waitress",
        "mountpoint",
        "p99, waitress",
        "mountpoint",
    ]
    rows = []
    for result in results:
        figures = [_cell(result, server, figure) for figure in ("rate", "p99") for server in (BARE, OURS)]
        rows.append([result.row.name, *_ratio_cells(result.ratio(OURS.name), result.row.goal), *figures])
        if WITHOUT_IDLE.name in result.turns:
            to_itself = _ratio_cells(result.ratio(OURS.name, WITHOUT_IDLE.name), IDLE_GOAL)
            rows.append(["the same, to `serve` without the idle ones", *to_itself, *[""] * len(figures)])
    return Table(header, rows)


def peer_tables(results: Sequence[Result], peers: Sequence[Server]) -> list[Table]:
    """Return three tables that compare all servers: the CPU time of a request, requests a second, and p99."""
    servers = (BARE, OURS, *peers)
    compared = [result for result in results if not result.row.logs]
    return [
        Table(
            [title, *(server.name for server in servers)],
            [[result.row.name, *(_cell(result, server, figure) for server in servers)] for result in compared],
        )
        for figure, title in PEER_TITLES.items()
    ]


def missing(results: Sequence[Result], peers: Sequence[Server]) -> list[str]:
    """Return a line for each peer that is not installed, and for each that failed under a load."""
    lines = [
        f"{peer.name} is not installed: pip install -e '.[{peer.extra}]'" for peer in peers if not peer.is_installed
    ]
    for result in results:
        lines += [f"{name} failed, {result.row.name}: {error}" for name, error in result.failed.items()]
    return lines


def _ratio_cells(ratio: tuple[float, float, float], goal: float) -> list[str]:
    middle, low, high = ratio
    reached = verdict(middle, goal).removeprefix("goal ").replace("<=", "at most")
    return [f"{middle:.2f}", f"{low:.2f} to {high:.2f}", reached]


def _cell(result: Result, server: Server, figure: str) -> str:
    value = result.median(server.name, figure)
    if value is None:
        return "failed" if server.name in result.failed else "not installed"
    return f"{value:,.0f}" if figure == "rate" else duration(value)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare mountpoint serve with waitress and its peers.")
    parser.add_argument("--quick", action="store_true", help="two pairs, noisier")
    parser.add_argument("--pairs", type=int, help="number of pairs (10)")
    parser.add_argument("--seconds", type=int, default=1, help="length of a turn (1)")
    parser.add_argument("--rows", nargs="+", choices=[row.key for row in ROWS], help="only these rows")
    parser.add_argument("--no-peers", action="store_true", help="only bare waitress and mountpoint serve")
    options = parser.parse_args()
    wrk.require()
    warn_if_busy()
    pairs, seconds = options.pairs or (2 if options.quick else 10), options.seconds
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} CPUs, {pairs} pairs of {seconds} s\n")
    peers = () if options.no_peers else (*PEERS, GRANIAN)
    results = measure([row for row in ROWS if row.key in (options.rows or [row.key])], peers, pairs, seconds)
    for table in (ratio_table(results), *(peer_tables(results, peers) if peers else [])):
        print(f"{table.text()}\n")
    print("\n".join(missing(results, peers)))


if __name__ == "__main__":
    main()
