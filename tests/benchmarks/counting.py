"""The price of the counters: the time for a request, the memory of a mount, and the time of a snapshot.

    python tests/benchmarks/counting.py            # about half a minute
    python tests/benchmarks/counting.py --quick
    python tests/benchmarks/counting.py --write    # write the table into the manual

- Request: a finished request is measured, or measured and counted, again and again in one thread. The least CPU time of
  many runs counts. The batches that the thread adds up are in it. observing.py times whole requests instead.
- Memory: the bytes that Python has allocated for the counters of 1,000 mounts, by `tracemalloc`.
- Snapshot: the CPU time for 300 mounts that have all had requests in each second and minute.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
import tracemalloc
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from measure import fastest, no_garbage_collection, progress, warn_if_busy
from tables import Table, replace_tables

from mountpoint.config.reader import MountConfig
from mountpoint.loading.loaded_mount import LoadedMount
from mountpoint.server.finished import FinishedRequest, Measures, measure
from mountpoint.status.counters import Counters
from mountpoint.status.snapshot import ServerFacts, make_snapshot
from mountpoint.wsgi.record import RequestRecord

MANUAL_PAGE = Path(__file__).parents[2] / "mountpoint" / "docs" / "performance.md"
BATCH = 64  # requests that are added up together, so each run has the same share of that


def mounts(count: int) -> list[MountConfig]:
    app: Any = SimpleNamespace(text="app:app")
    return [MountConfig(f"/app{number}", app, Path("/srv")) for number in range(count)]


def request(mount: str) -> Any:
    """Return the request of a client, with the attributes of a parser that counters read."""
    record = RequestRecord("192.0.2.7")
    record.mount = mount
    return SimpleNamespace(
        record=record,
        command="GET",
        path_info=f"{mount}/",
        request_id=None,
        error=None,
        rejection=None,
        body_length=0,
        received_at=0.0,
        started_at=0.0,
    )


def call_seconds(rounds: int) -> dict[str, float]:
    """Return the CPU seconds for a finished request: to make it, and to make and count it."""
    counters = Counters()
    counters.configure(mounts(10))
    sent = request("/app3")
    detail = FinishedRequest(sent, "192.0.2.7", measure(sent, 200, 14, 0.0), False)

    def run(observe: Any, number: int = 10 * BATCH) -> float:
        start = time.thread_time()
        for _ in range(number):
            now = time.monotonic()
            sent.started_at, sent.received_at = now - 0.001, now - 0.0012
            observe(sent)
        return (time.thread_time() - start) / number

    def measured(sent: Any) -> Measures:
        return measure(sent, 200, 14, time.monotonic())

    def measured_and_counted(sent: Any) -> None:
        counters.request_finished(measured(sent), lambda: detail)

    runs = {"nothing": lambda sent: None, "measured": measured, "measured and counted": measured_and_counted}
    with no_garbage_collection():
        best = fastest({name: partial(run, observe) for name, observe in runs.items()}, rounds, patience=20)
    return {name: seconds - best["nothing"] for name, seconds in best.items() if name != "nothing"}


def fill(counters: Counters, clock: list[float], keys: list[str]) -> None:
    """Let each mount have a request in each minute of an hour, and in each second of the last minute."""
    sent = [request(key) for key in keys]
    for moment in [*range(0, 3600, 60), *range(3600, 3660)]:
        clock[0] = float(moment)
        for one in sent:
            one.started_at = one.received_at = clock[0] - 0.02
            measures = measure(one, 200, 14, clock[0])
            counters.request_finished(measures, partial(FinishedRequest, one, None, measures, False))
    counters.read()


def memory_bytes(count: int, *, filled: bool) -> float:
    """Return the bytes of one mount's counters, of *count*."""
    configs = mounts(count)
    clock = [0.0]
    gc.collect()
    tracemalloc.start()
    try:
        counters = Counters(lambda: clock[0])
        counters.configure(configs)
        if filled:
            fill(counters, clock, [mount.key for mount in configs])
        gc.collect()
        return tracemalloc.get_traced_memory()[0] / count
    finally:
        tracemalloc.stop()


def snapshot_seconds(count: int, rounds: int) -> float:
    """Return the CPU seconds of a snapshot of *count* mounts with full windows: the least of *rounds*."""
    configs = mounts(count)
    clock = [0.0]
    counters = Counters(lambda: clock[0])
    counters.configure(configs)
    fill(counters, clock, [mount.key for mount in configs])
    facts = ServerFacts("mounts.toml", [], "serving", 1, 1000, 8, 0.0, [], {}, None)
    loaded = [LoadedMount(mount, app=lambda environ, start_response: []) for mount in configs]
    taken = []
    for _ in range(rounds):
        start = time.thread_time()
        make_snapshot(counters, facts, loaded)
        taken.append(time.thread_time() - start)
    return min(taken)


def table(rounds: int) -> Table:
    progress("requests")
    rows = [
        [f"a finished request, {name}", f"{seconds * 1e6:.2f} µs"] for name, seconds in call_seconds(rounds).items()
    ]
    progress("memory and snapshots")
    full = "with requests in each second and minute"
    rows += [
        ["load average during the run", f"{os.getloadavg()[0]:.1f}"],
        ["memory of a mount without requests, of 1,000", f"{memory_bytes(1_000, filled=False):,.0f} bytes"],
        [f"memory of a mount {full}, of 1,000", f"{memory_bytes(1_000, filled=True):,.0f} bytes"],
        [f"a snapshot of 300 mounts {full}", f"{snapshot_seconds(300, 10) * 1e3:.1f} ms"],
    ]
    return Table(["Counters", "figure"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description="The price of the counters.")
    parser.add_argument("--quick", action="store_true", help="a trial of ten seconds")
    parser.add_argument("--write", action="store_true", help="write the table into the manual")
    options = parser.parse_args()
    warn_if_busy()
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} CPUs, load average {os.getloadavg()[0]:.1f}")
    found = table(100 if options.quick else 2_000)
    print(found.text())
    if options.write:
        MANUAL_PAGE.write_text(replace_tables(MANUAL_PAGE.read_text(encoding="utf-8"), [found]), encoding="utf-8")
        print(f"written: {MANUAL_PAGE}")


if __name__ == "__main__":
    main()
