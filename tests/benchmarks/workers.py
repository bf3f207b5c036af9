"""Compare mounts with a process of their own with the same app in the server's process. Linux only; needs wrk.

    python tests/benchmarks/workers.py              # about two minutes
    python tests/benchmarks/workers.py --quick

One server has the app at /shared and at /own. The two take turns, so that other programs disturb both equally, and the
median of the turns counts. The goals are for a machine with two free cores.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from children import PATIENCE, free_port, running, script
from measure import text_table, warn_if_busy

KINDS = ("shared", "own")
APP = """\
BIG = [b"x" * 100_000]
TEXT = [("Content-Type", "text/plain")]

def app(environ, start_response):
    path = environ["PATH_INFO"]
    start_response("200 OK", TEXT)
    if path == "/big":
        return BIG
    if path == "/upload":
        size = 0
        while data := environ["wsgi.input"].read(65_536):
            size += len(data)
        return [str(size).encode()]
    if path == "/compute":
        return [str(sum(range(300_000))).encode()]
    return [b"Hello, world!\\n"]
"""
HEADERS = (
    "Host: www.example.com\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    "Cookie: session=eyJ1c2VyIjoxfQ.Z1\r\n"
)
UPLOAD = b"x" * 10_000_000
STARTS = 10  # workers that start together


class Client:
    """A keep-alive connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def seconds(self, path: str, body: bytes = b"") -> float:
        """Return how long a request for *path* takes. Its response fits into one packet."""
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        method = "POST" if body else "GET"
        request = f"{method} {path} HTTP/1.1\r\n{HEADERS}{length}\r\n".encode() + body
        start = time.perf_counter()
        self.socket.sendall(request)
        response = self.socket.recv(65_536)
        assert response.startswith(b"HTTP/1.1 200"), response
        return time.perf_counter() - start


def latencies(port: int, path: str, count: int, body: bytes = b"") -> list[float]:
    client = Client(port)
    with closing(client.socket):
        return [client.seconds(path, body) for _ in range(count)]


def throughput(port: int, path: str, seconds: float) -> float:
    """Return the requests in a second that wrk gets from 8 connections."""
    command = ["wrk", "-t1", "-c8", f"-d{seconds:g}s", f"http://127.0.0.1:{port}{path}"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return float(re.findall(r"Requests/sec:\s*([\d.]+)", output)[0])


def in_turns(measure: Callable[[str], float], turns: int) -> dict[str, float]:
    """Return the median of *measure* for each kind of mount, over *turns* in alternating order."""
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for turn in range(turns):
        for kind in KINDS if turn % 2 else reversed(KINDS):
            found[kind].append(measure(kind))
    return {kind: statistics.median(values) for kind, values in found.items()}


def wait_until_ready(port: int, paths: Sequence[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    for path in paths:
        while time.monotonic() < deadline:
            with closing(socket.create_connection(("127.0.0.1", port))) as sock:
                sock.sendall(f"GET {path}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
                if sock.recv(100).startswith(b"HTTP/1.1 200"):
                    break
            time.sleep(0.01)


def resident_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def bare_mib(folder: Path) -> float:
    """Return the memory of a bare interpreter that has imported the app."""
    code = "import hello, sys; print(flush=True); sys.stdin.read()"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        return resident_mib(process.pid)


def computing(port: int, paths: Sequence[str], seconds: float) -> float:
    """Return the requests in a second that one light client for each of *paths* gets together."""
    end = time.monotonic() + seconds

    def run(path: str) -> int:
        client = Client(port)
        with closing(client.socket):
            count = 0
            while time.monotonic() < end:
                client.seconds(path)
                count += 1
            return count

    with ThreadPoolExecutor(len(paths)) as pool:
        return sum(pool.map(run, paths)) / seconds


def beside_a_hog(port: int, count: int) -> tuple[float, float]:
    """Return the 99th percentile of /own alone, and beside two clients that keep another process computing."""
    alone = statistics.quantiles(latencies(port, "/own/", count), n=100)[98]
    hog = subprocess.Popen(
        ["wrk", "-t1", "-c2", f"-d{PATIENCE}s", f"http://127.0.0.1:{port}/other/compute"], stdout=subprocess.DEVNULL
    )
    try:
        time.sleep(0.5)
        beside = statistics.quantiles(latencies(port, "/own/", count), n=100)[98]
    finally:
        hog.terminate()
        hog.wait()
    return alone, beside


def start_seconds(folder: Path, workers: int) -> float:
    """Return how long a server takes until *workers* processes of one mount are ready."""
    port = free_port()
    (folder / "start.toml").write_text(f'[mounts."/own"]\napp = "hello:app"\nprocess = "own"\nworkers = {workers}\n')
    command = [script("mountpoint"), "serve", "start.toml", "--listen", f"127.0.0.1:{port}"]
    start = time.perf_counter()
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        ready = 0
        for line in process.stderr:
            ready += " is ready after " in line
            if ready == workers:
                break
        seconds = time.perf_counter() - start
        process.terminate()
        process.stderr.read()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare mounts with processes of their own with shared ones.")
    parser.add_argument("--quick", action="store_true", help="fewer turns, noisier")
    options = parser.parse_args()
    if sys.platform != "linux" or not shutil.which("wrk"):
        sys.exit("this benchmark needs Linux and wrk")
    warn_if_busy()
    turns, seconds = (4, 1.0) if options.quick else (12, 2.0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "hello.py").write_text(APP)
        table = "[server]\naccess_log = false\n[defaults]\napp = 'hello:app'\nthreads = 8\n[mounts.'/shared']\n"
        table += "".join(f"[mounts.'/{key}']\nprocess = 'own'\n" for key in ("own", "other"))
        (folder / "mounts.toml").write_text(table)
        port = free_port()
        command = [script("mountpoint"), "serve", "--listen", f"127.0.0.1:{port}"]
        with running(command, folder, port) as (process, _):
            wait_until_ready(port, ["/shared", "/own", "/other"])
            idle = statistics.median(map(resident_mib, children(process.pid)))
            for kind in KINDS:
                latencies(port, f"/{kind}/", 300)
            p50 = in_turns(lambda kind: statistics.median(latencies(port, f"/{kind}/", 300)), turns)
            hello = in_turns(lambda kind: throughput(port, f"/{kind}/", seconds), turns // 2)
            big = in_turns(lambda kind: throughput(port, f"/{kind}/big", seconds), turns // 2)
            upload = in_turns(lambda kind: 1 / statistics.median(latencies(port, f"/{kind}/upload", 3, UPLOAD)), turns)
            one = computing(port, ["/shared/compute", "/shared/compute"], 2 * seconds)
            two = computing(port, ["/own/compute", "/other/compute"], 2 * seconds)
            alone, beside = beside_a_hog(port, 1000)
        bare = bare_mib(folder)
        single, ten = start_seconds(folder, 1), start_seconds(folder, STARTS)

    added = (p50["own"] - p50["shared"]) * 1e3
    rows: list[list[str | bool]] = [["added to a request, p50", f"{added:.3f} ms", "0.15", added <= 0.15]]
    for title, found, goal in (("hello", hello, 0.65), ("100 KB responses", big, 0.65), ("10 MB upload", upload, 0.8)):
        ratio = found["own"] / found["shared"]
        rows.append([f"throughput, {title}", f"{ratio:.2f}", f"{goal}", ratio >= goal])
    rows += [
        ["two computing apps, two cores", f"{two / one:.2f} times", "1.6", two / one >= 1.6],
        ["p99 beside a hog", f"{beside / alone:.2f} times", "2", beside / alone <= 2],
        ["memory of an idle worker", f"{idle - bare:.1f} MiB above bare", "8", idle - bare <= 8],
        ["start of ten workers", f"{ten / single:.2f} times one", "1.3", ten / single <= 1.3],
    ]
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} CPUs, {turns} turns\n")
    print(text_table(["", "found", "goal", ""], [[*map(str, row[:3]), "ok" if row[3] else "missed"] for row in rows]))


if __name__ == "__main__":
    main()
