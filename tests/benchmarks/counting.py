"""The price of the counters: CPU of a request, memory of a mount, and the time of a snapshot.

    python tests/benchmarks/counting.py            # about a minute
    python tests/benchmarks/counting.py --quick
    python tests/benchmarks/counting.py --write    # write the table into the manual

- Request: one thread sends a request over a socket, lets the server's connection read, parse, route and serve it, and
  reads the response. Other programs can only make a run slower, so the least CPU time of many short runs counts. The
  runs without counters, with them, and with counters and request ids take turns. The batches that the thread adds up
  are in the time.
- Part: only the part of the counters, in the same way: a finished request is made, or made and counted.
- Memory: the bytes that Python has allocated for the counters of 1,000 mounts, by `tracemalloc`.
- Snapshot: the CPU time for 300 mounts that have all had requests in each second and minute.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import socket
import sys
import tempfile
import time
import tracemalloc
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from measure import fastest, no_garbage_collection, progress, verdict, warn_if_busy
from tables import Table, replace_tables

from mountpoint.config.reader import MountConfig, load_config
from mountpoint.loading.loaded_mount import LoadedMount
from mountpoint.loading.routing import build_router, build_table
from mountpoint.server.finished import FinishedRequest
from mountpoint.server.loop import Server
from mountpoint.server.sockets import bind
from mountpoint.status.counters import Counters
from mountpoint.status.snapshot import ServerFacts, make_snapshot
from mountpoint.wsgi.record import RequestRecord

MANUAL_PAGE = Path(__file__).parents[2] / "mountpoint" / "docs" / "performance.md"
BATCH = 64  # requests that are added up together, so each run has the same share of that
GOAL = 3.0  # µs, for counters and request ids
REQUEST = b"GET /app/ HTTP/1.1\r\nHost: localhost\r\nUser-Agent: tester/1.0\r\nAccept: */*\r\n\r\n"


def app(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "14")])
    return [b"Hello, world!\n"]


class Connection:
    """A connection to a server whose loop and threads do not run: this thread does the work of all of them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        (folder / "mounts.toml").write_text('[mounts]\n"/app" = "hello:app"\n"/other" = "hello:app"\n')
        config = load_config(folder / "mounts.toml", {"listen": "127.0.0.1:0"})
        table = build_table([LoadedMount(mount, app=app) for mount in config.mounts])
        self._routers = {
            has_ids: build_router(replace(config, server=replace(config.server, request_id=has_ids)), table)
            for has_ids in (False, True)
        }
        self._router = self._routers[False]
        self._counters = Counters()
        self._counters.configure(config.mounts)
        [bound] = bind(config.server.listen, ipv4=True, ipv6=False, permissions=0o600, inherited={})
        stack.callback(bound.close)
        server = Server(self._router, {}, config.server, [bound])
        stack.callback(server.queues.stop)
        [self._listener] = server._listeners
        self._listener.router = lambda: self._router
        self._listener.add_task = lambda channel: channel.route(self._router)
        self._client = stack.enter_context(socket.create_connection(bound.socket.getsockname()))
        while (channel := next((one for one in server._channels()), None)) is None:
            self._listener.handle_accept()
        self._channel = channel
        stack.callback(channel.handle_close)

    def run(self, *, counts: bool, has_ids: bool, number: int = BATCH) -> float:
        """Return the CPU seconds for a request, the mean of *number*."""
        self._listener.observer = self._counters if counts else None
        self._router = self._routers[has_ids]
        client, channel = self._client, self._channel
        start = time.thread_time()
        for _ in range(number):
            client.sendall(REQUEST)
            channel.handle_read_event()
            channel.service()
            client.recv(65_536)
        return (time.thread_time() - start) / number


def request_seconds(rounds: int) -> dict[str, float]:
    """Return the CPU seconds for a request, by the work that is done beside serving it."""
    variants = {
        "a request without counters": {"counts": False, "has_ids": False},
        "a request with counters": {"counts": True, "has_ids": False},
        "a request with counters and an id": {"counts": True, "has_ids": True},
    }
    logging.getLogger("mountpoint.access").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack, no_garbage_collection():
        connection = Connection(Path(name), stack)
        return fastest(
            {name: partial(connection.run, **options) for name, options in variants.items()}, rounds, patience=60
        )


# ------------------------------------------------------------------------------------------------------- in one process


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

    def run(observe: Any, number: int = 10 * BATCH) -> float:
        start = time.thread_time()
        for _ in range(number):
            now = time.monotonic()
            sent.started_at, sent.received_at = now - 0.001, now - 0.0012
            observe(sent)
        return (time.thread_time() - start) / number

    def make(sent: Any) -> FinishedRequest:
        return FinishedRequest(sent, "192.0.2.7", 200, 14, False)

    def make_and_count(sent: Any) -> None:
        counters.request_finished(make(sent))

    runs = {"nothing": lambda sent: None, "made": make, "made and counted": make_and_count}
    with no_garbage_collection():
        best = fastest({name: partial(run, observe) for name, observe in runs.items()}, rounds, patience=20)
    return {name: seconds - best["nothing"] for name, seconds in best.items() if name != "nothing"}


def fill(counters: Counters, clock: list[float], keys: list[str]) -> None:
    """Let each mount have a request in each minute of an hour, and in each second of the last minute."""
    sent = [FinishedRequest(request(key), None, 200, 14, False) for key in keys]
    for moment in [*range(0, 3600, 60), *range(3600, 3660)]:
        clock[0] = float(moment)
        for one in sent:
            one.ended_at = clock[0]
            one._request.started_at = one._request.received_at = clock[0] - 0.02
            counters.request_finished(one)
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
    requests = request_seconds(rounds)
    progress("parts")
    without = next(iter(requests.values()))
    rows = [
        [name, f"{seconds * 1e6:.1f} µs" + (f", {(seconds - without) * 1e6:.1f} µs more" if seconds != without else "")]
        for name, seconds in requests.items()
    ]
    rows += [[f"only this part: {name}", f"{seconds * 1e6:.2f} µs"] for name, seconds in call_seconds(rounds).items()]
    progress("memory and snapshots")
    full = "with requests in each second and minute"
    rows += [
        ["load average during the run", f"{os.getloadavg()[0]:.1f}"],
        ["memory of a mount without requests, of 1,000", f"{memory_bytes(1_000, filled=False):,.0f} bytes"],
        [f"memory of a mount {full}, of 1,000", f"{memory_bytes(1_000, filled=True):,.0f} bytes"],
        [f"a snapshot of 300 mounts {full}", f"{snapshot_seconds(300, 10) * 1e3:.1f} ms"],
    ]
    more = (list(requests.values())[-1] - without) * 1e6
    print(f"counters and an id, {more:.1f} µs; {verdict(more, GOAL, digits=1)}\n")
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
