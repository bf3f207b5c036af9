"""Measure every figure that changes with the code, in under ten minutes. Linux only.

    python tests/benchmarks/all.py                 # on a quiet machine
    python tests/benchmarks/all.py --quick         # about three minutes, to try it
    python tests/benchmarks/all.py --write         # write the figures into the manual and the README, draw the charts

It needs wrk (with Debian: apt install wrk), and the packages of the extras ``test`` and ``benchmark``. It measures
load, dispatch, fairness, forwarding, observing, memory, idle connections and startup, as the scripts of these names do,
and prints their tables, at the end as Markdown. With ``--write`` each table replaces the one of the same title in the
manual.

Reloads, limits, the soak and hostile inputs take longer, and have commands of their own: changes.py, limits.py, soak.py
and complexity.py.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import connections
import dispatch
import fairness
import forwarding
import load
import memory
import observing
import startup
import wrk
from arena import Effort
from children import script
from load_chart import Entry, draw_load
from load_servers import BARE, GRANIAN, OURS, PEERS
from measure import progress, warn_if_busy
from tables import Table, replace_tables

ROOT = Path(__file__).parents[2]
MANUAL_PAGE = ROOT / "mountpoint" / "docs" / "performance.md"
README = ROOT / "README.md"
DISPATCH_CHART = Path(__file__).with_name("dispatch.svg")
LOAD_CHART = Path(__file__).with_name("load.svg")
ALL_PEERS = (*PEERS, GRANIAN)
DRAWN_ROWS = ("1", "64", "idle")


def machine_table(quick: bool) -> Table:
    """Return the table that says where, when and with which programs the figures were taken."""
    wrk_version = subprocess.run(["wrk", "--version"], capture_output=True, text=True, check=False).stdout.split()[1]
    packages = dict.fromkeys(server.version for server in (BARE, *ALL_PEERS) if server.is_installed)
    missing = [server.package for server in ALL_PEERS if not server.is_installed]
    return Table(
        ["The run", "value"],
        [
            ["date", time.strftime("%Y-%m-%d")],
            ["processors", f"{os.cpu_count()}, shared with other programs"],
            ["load average before the run", f"{os.getloadavg()[0]:.1f}"],
            ["Python", sys.version.split()[0]],
            ["client", f"wrk {wrk_version.removeprefix('debian/')}"],
            ["servers", ", ".join(packages)],
            *([["not installed", ", ".join(missing)]] if missing else []),
            *([["length", "a trial, with `--quick`"]] if quick else []),
        ],
    )


def memory_table(mounts: dict[tuple[str, int], int], idle: dict[str, float]) -> Table:
    names = {
        ("table", 1_000): "a mount of a `Dispatcher` that has 1,000",
        ("table", 100_000): "a mount of a `Dispatcher` that has 100,000",
        ("file", 1_000): "a mount of a file that has 1,000, loaded as `serve` loads it",
    }
    rows = [[names[kind, count], f"{size / count:,.0f} bytes"] for (kind, count), size in mounts.items()]
    rows += [[f"an idle connection of 1,000, {server}", f"{size:,.0f} bytes"] for server, size in idle.items()]
    return Table(["Memory of", "size"], rows)


def readme_table(results: Sequence[load.Result], dispatched: Table, fair: Sequence[fairness.Figure]) -> Table:
    ratios = {
        result.row.key: f"{result.ratio(OURS.name)[0]:.2f}" for result in results if result.row.key in ("1", "8", "64")
    }
    like_for_like = next(row[1] for row in dispatched.rows if "werkzeug, with a copy" in row[0])
    ours, bare = (
        next(one.table_row()[2] for one in fair if one.server == server and one.flood == "/slow")
        for server in ("mountpoint", "waitress")
    )
    return Table(
        ["Ratio on two shared cores", "value"],
        [
            [f"CPU time of a request, to bare waitress; connections: {', '.join(ratios)}", ", ".join(ratios.values())],
            ["time of a dispatch, to werkzeug's `DispatcherMiddleware`, if both copy environ", like_for_like],
            [
                "throughput of a fast app while 32 clients flood a slow one, to that without them",
                f"{ours} (in bare waitress {bare})",
            ],
        ],
    )


def load_chart(results: Sequence[load.Result], machine: str) -> str:
    servers = (OURS, BARE, *ALL_PEERS)
    groups = [
        (
            result.row.name,
            [
                Entry(
                    one.name,
                    result.median(one.name, "cpu"),
                    result.median(one.name, "rate"),
                    one is OURS,
                    one is GRANIAN,
                )
                for one in servers
            ],
        )
        for result in results
        if result.row.key in DRAWN_ROWS
    ]
    return draw_load(groups, machine)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure every figure that changes with the code.")
    parser.add_argument("--quick", action="store_true", help="a trial of three minutes; its figures mean little")
    parser.add_argument("--write", action="store_true", help="write the figures into the manual and the README")
    options = parser.parse_args()
    quick = options.quick
    wrk.require()
    script("mountpoint")
    warn_if_busy()
    start = time.monotonic()
    machine = machine_table(quick)

    rows = [row for row in load.ROWS if not quick or row.key in DRAWN_ROWS or row.logs]
    results = load.measure(rows, ALL_PEERS, 1 if quick else 10)
    progress("dispatch")
    effort = Effort(20, 0.01) if quick else Effort(400, 0.05)
    chart = DISPATCH_CHART if options.write else Path(os.devnull)
    dispatched = dispatch.measure(effort, quick=quick, svg=chart, extrapolates=True)
    progress("fairness")
    fair = fairness.measure(*((2, 1, 1, 1.0) if quick else (6, 2, 2, 1.0)))
    progress("forwarding")
    forwarded = forwarding.measure(20 if quick else forwarding.ROUNDS)
    progress("observing")
    observed = observing.measure(2 if quick else observing.PAIRS)
    progress("memory")
    occupied = memory_table(memory.measure(), connections.measure(1_000, 1 if quick else 3))
    progress("startup")
    started = startup.table(startup.measure(2 if quick else 10))

    tables = [
        machine,
        load.ratio_table(results),
        *load.peer_tables(results, ALL_PEERS),
        dispatched,
        fairness.table(fair),
        forwarding.table(forwarded),
        observing.table(observed),
        occupied,
        started,
    ]
    readme = readme_table(results, dispatched, fair)
    print("\n" + "\n".join(table.markdown() for table in (*tables, readme)))
    for line in load.missing(results, ALL_PEERS):
        print(line)
    if options.write:
        where = f"Python {sys.version.split()[0]}, {os.cpu_count()} shared cores; one process and 8 threads each; wrk."
        LOAD_CHART.write_text(load_chart(results, where), encoding="utf-8")
        places = ((MANUAL_PAGE, tables), (README, [readme]))
        pages = {page: replace_tables(page.read_text(encoding="utf-8"), found) for page, found in places}
        for page, text in pages.items():
            page.write_text(text, encoding="utf-8")
            print(f"written: {page}")
    progress(f"done, after {(time.monotonic() - start) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
