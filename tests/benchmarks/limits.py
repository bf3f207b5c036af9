"""Time the limits, and count the permits that are not released.

    python tests/benchmarks/limits.py              # about three minutes
    python tests/benchmarks/limits.py --quick

- A call: the app is called and its response is read and closed, bare and behind a ConcurrencyLimit, in turns. The least
  time counts.
- A file: waitress sends 400 MB through wsgi.file_wrapper, bare and behind the limit, in pairs. The control is a
  middleware that wraps the file in an iterable, as most do. The ratio is that of a pair, and its mean over the pairs
  comes with a 95 % confidence interval.
- Permits: each server that is installed gets 10,000 requests of all kinds. In a tenth of them the client disconnects.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import sys
import tempfile
import time
import timeit
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from children import free_port, running
from measure import duration, fastest, no_garbage_collection, ratio_interval, text_table, verdict, warn_if_busy

from mountpoint import Dispatcher
from mountpoint.wsgi.limits import ConcurrencyLimit, MaxBody

sys.path.append(str(Path(__file__).parents[1]))

GOAL = 1.1
SIZE = 400_000_000
ENVIRON = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "CONTENT_LENGTH": "100"}

App = Callable[..., Iterable[bytes]]


def one_item(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello, world!\n"]


def generator(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    for _ in range(100):
        yield b"x"


def call(app: App) -> None:
    response: Any = app(ENVIRON, _start_response)
    for _ in response:
        pass
    if hasattr(response, "close"):
        response.close()


def _start_response(*_: object) -> None:
    pass


def calls(rounds: int) -> None:
    def run(app: App) -> Callable[[], float]:
        number = 2_000 if app is not generator else 500
        return lambda: timeit.timeit(lambda: call(app), number=number) / number

    full = ConcurrencyLimit(one_item, 1)
    held = full(ENVIRON, _start_response)
    apps: dict[str, App] = {
        "a list of one item": one_item,
        "  behind a ConcurrencyLimit": ConcurrencyLimit(one_item, 8),
        "  behind a MaxBody": MaxBody(one_item, 1_000_000),
        "a generator of 100 items": generator,
        "  behind a ConcurrencyLimit (generator)": ConcurrencyLimit(generator, 8),
        "a request that is rejected": full,
    }
    with no_garbage_collection():
        best = fastest({name: run(app) for name, app in apps.items()}, rounds, patience=20)
    print(text_table(["a call", "least time"], [[name, duration(seconds)] for name, seconds in best.items()]))
    del held


# ------------------------------------------------------------------------------------------------ a large file


class Wrapping:
    """A middleware that wraps the response, so that the server cannot see that it is a file."""

    def __init__(self, app: App) -> None:
        self.app = app

    def __call__(self, environ: Any, start_response: Any) -> Iterator[bytes]:
        response: Any = self.app(environ, start_response)
        try:
            yield from response
        finally:
            response.close()


def file_app(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(SIZE))])
    response: Iterable[bytes] = environ["wsgi.file_wrapper"](Path("large").open("rb"))  # noqa: SIM115
    return response


def serve(port: int) -> None:
    import waitress

    ways = {"/bare": file_app, "/limited": ConcurrencyLimit(file_app, 2), "/wrapped": Wrapping(file_app)}
    waitress.serve(Dispatcher(ways), host="127.0.0.1", port=port, threads=4, _quiet=True)


def download(port: int, path: str) -> float:
    """Return the seconds until the whole file has arrived."""
    buffer, received = bytearray(1 << 20), 0
    start = time.perf_counter()
    with closing(socket.create_connection(("127.0.0.1", port))) as sock:
        sock.sendall(f"GET {path}/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        while size := sock.recv_into(buffer):
            received += size
    assert received > SIZE, received
    return time.perf_counter() - start


def files(pairs: int) -> None:
    port, times = free_port(), []
    with tempfile.TemporaryDirectory() as folder:
        with (Path(folder) / "large").open("wb") as file:
            file.truncate(SIZE)
        command = [sys.executable, str(Path(__file__).resolve()), "--serve", str(port)]
        with running(command, folder, port):
            ways = ["/bare", "/limited", "/wrapped"]
            for way in ways:
                download(port, way)  # to warm up
            for pair in range(pairs):
                order = ways if pair % 2 else [*ways[1::-1], ways[2]]
                taken = {way: download(port, way) for way in order}
                times.append([taken[way] for way in ways])
    rows = []
    for column, way in enumerate(ways):
        each = [taken[column] for taken in times]
        mean, low, high = ratio_interval([taken[column] / taken[0] for taken in times])
        ratio = f"{mean:.3f} ({low:.3f} to {high:.3f})" if column else ""
        rows.append([way[1:], duration(statistics.median(each)), duration(min(each)), ratio])
    print(text_table([f"{SIZE / 1e6:.0f} MB, {pairs} pairs", "median", "least", "ratio to bare"], rows))
    print(verdict(ratio_interval([taken[1] / taken[0] for taken in times])[0], GOAL))


# ------------------------------------------------------------------------------------------------ permits


def permits(requests: int) -> None:
    from support import limited

    rows = []
    for name in limited.SERVERS:
        if not limited.is_installed(name):
            rows.append([name, "not installed", "", "", "", "", ""])
            continue
        port = free_port()
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / limited.FILE).write_bytes(b"x" * limited.LARGE)
            command = [str(part) for part in limited.command(name, port)]
            with running(command, folder, port):
                url = f"http://127.0.0.1:{port}"
                start = time.perf_counter()
                ended = limited.use(url, requests, seed=1)
                taken = time.perf_counter() - start
                kinds = [f"{ended[kind]:,}" for kind in ("served", "refused", "failed", "left")]
                rows.append([name, duration(taken), *kinds, str(limited.permits_out(url))])
    header = [f"{requests:,} requests", "took", "served", "refused", "failed", "left", "permits not released"]
    print(text_table(header, rows))


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the limits, and count the permits that are not released.")
    parser.add_argument("--quick", action="store_true", help="fewer pairs and 1,000 requests")
    parser.add_argument("--pairs", type=int, help="number of pairs of downloads (20)")
    parser.add_argument("--requests", type=int, help="number of requests to each server (10,000)")
    parser.add_argument("--serve", type=int, metavar="PORT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    warn_if_busy()
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} CPUs\n")
    calls(10 if options.quick else 50)
    print()
    files(options.pairs or (6 if options.quick else 20))
    print()
    permits(options.requests or (1_000 if options.quick else 10_000))


if __name__ == "__main__":
    main()
