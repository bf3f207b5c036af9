"""Count the requests that are lost when the table or the code changes, and the growth of memory. Linux only.

    python tests/benchmarks/changes.py              # about a minute
    python tests/benchmarks/changes.py --quick

Clients send requests without a pause, half of them over keep-alive connections and half with a connection for each
request. ``mountpoint serve`` gets SIGHUP many times, each time with another table: a mount is added, removed, broken or
repaired, or changes its app, its environment or its settings. Then it gets SIGUSR2, each time with other code. The
benchmark counts the requests that do not get 200 with the body of their mount, the connections that are refused, and
the processes that respond.

Memory is that of the server, as the kernel counts it in /proc/PID/smaps_rollup, before the first reload and after the
last, without load. A warm-up of reloads under the same load comes before: a process takes some MiB more during its
first hundreds of reloads, in steps of the allocator, and then stops growing. That growth is printed too.

If the server closes a keep-alive connection between two requests, the client connects again and sends its request once
more, as RFC 9112 section 9.3.1 allows. The number of these retries is printed: they are not lost requests, and should
be rare.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from children import script
from measure import text_table, verdict, warn_if_busy

PATIENCE = 60  # seconds until the benchmark gives up
WARM_UP = 600  # reloads
GROWTH = 1.05  # goal for the ratio of memory, after to before

APP = """
import os

VERSION = {version}

def make(name):
    set_up = os.environ.get("SHOP", "-")
    body = f"{{name}} {{VERSION}} {{os.getpid()}} {{set_up}}".encode()
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [body]
    return app
"""

KEPT = '"/app" = {app = "shop:make(\'app\')", slash = "pass"}\n'
TABLES = [
    "",
    '"/new" = "shop:make(\'new\')"\n',
    '"/new" = "shop:make(\'other\')"\n',
    '"/new" = { app = "shop:make(\'other\')", env = { SHOP = "open" }, limit = 3 }\n',
    '"/broken" = "broken:app"\n',
    "[proxy]\nx_for = 1\ntrusted = ['127.0.0.1']\n",
]


class Server:
    """`mountpoint serve` on its own port, and the processes that take over from it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.write_code(0)
        self.write_table(TABLES[0])
        (folder / "broken.py").write_text("raise RuntimeError\n")
        self._log = (folder / "log").open("wb")
        command = [script("mountpoint"), "serve", "--listen", "127.0.0.1:0", "--no-access-log"]
        self._process = subprocess.Popen(command, cwd=folder, stdout=self._log, stderr=self._log)
        self.pid = self._process.pid
        self._await("serving on", 1)
        self.port = int(re.findall(r"serving on http://127\.0\.0\.1:(\d+)/", self.log())[0])

    def log(self) -> str:
        return (self._folder / "log").read_text()

    def write_code(self, version: int) -> None:
        (self._folder / "shop.py").write_text(APP.format(version=version))

    def write_table(self, more: str) -> None:
        file = self._folder / "mounts.toml"
        file.write_text(f"[mounts]\n{KEPT}{more}")
        os.utime(file, (1, 1))  # the server waits before it reads a file that has just changed

    def _await(self, text: str, count: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while self.log().count(text) < count:
            if time.monotonic() > deadline:
                sys.exit(f"the log does not have {count} times: {text}\n{self.log()}")
            time.sleep(0.005)

    def reload(self, number: int) -> None:
        count = self.log().count("reload ended: ") + 1
        self.write_table(TABLES[number % len(TABLES)])
        os.kill(self.pid, signal.SIGHUP)
        self._await("reload ended: ", count)

    def take_over(self, version: int) -> None:
        """Have a new process take over, and wait until the old one has ended."""
        self.write_code(version)
        old = self.pid
        count = self.log().count("this one ends") + 1
        os.kill(old, signal.SIGUSR2)
        self._await("this one ends", count)
        self.pid = int(re.findall(r"process (\d+) serves", self.log())[-1])
        self._await("stopped; no request was cut off", count)
        if old == self._process.pid:
            self._process.wait()

    def memory(self) -> tuple[int, int]:
        """Return the resident and the proportional set size, in KiB."""
        text = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        rss, pss = (int(re.findall(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)[0]) for name in ("Rss", "Pss"))
        return rss, pss

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def close(self) -> None:
        os.kill(self.pid, signal.SIGTERM)
        self._process.wait(PATIENCE)
        self._log.close()


class Load:
    """Clients that send requests without a pause, until `stop`."""

    def __init__(self, port: int, clients: int) -> None:
        self._port = port
        self._is_over = False
        self.counts: Counter[str] = Counter()
        self.versions: Counter[str] = Counter()
        self._lock = threading.Lock()
        kinds: list[Callable[[], object]] = [self._keep_alive, self._connect]
        self._threads = [threading.Thread(target=self._run, args=(kind,)) for kind in kinds * clients]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._is_over = True
        for thread in self._threads:
            thread.join()

    def _run(self, kind: Callable[[], object]) -> None:
        while not self._is_over:
            try:
                kind()
            except ConnectionRefusedError:
                self._count("connections refused")
            except Exception as error:
                self._count(f"requests failed: {error!r}")

    def _count(self, event: str, version: str = "") -> None:
        with self._lock:
            self.counts[event] += 1
            if version:
                self.versions[version] += 1

    def _connect(self) -> None:
        with socket.create_connection(("127.0.0.1", self._port), PATIENCE) as sock:
            self._ask(sock, "Connection: close\r\n")

    def _keep_alive(self) -> None:
        with socket.create_connection(("127.0.0.1", self._port), PATIENCE) as sock:
            answered = 0
            while not self._is_over:
                try:
                    if self._ask(sock):
                        return
                except ConnectionResetError:
                    if not answered:
                        raise
                    self._count("retried: closed between two requests")
                    return
                answered += 1

    def _ask(self, sock: socket.socket, header: str = "") -> bool:
        """Send one request, and return whether its response is the last on the connection.

        Raises ConnectionResetError if no byte arrives, and ValueError if the response is wrong.
        """
        try:
            sock.sendall(f"GET /app HTTP/1.1\r\nHost: localhost\r\n{header}\r\n".encode())
            data = sock.recv(65536)
        except BrokenPipeError:
            data = b""
        if not data:
            raise ConnectionResetError
        while not (found := re.fullmatch(rb"HTTP/1\.1 200 OK\r\n(.*)\r\n\r\napp (\d+) (\d+) -", data, re.DOTALL)):
            more = sock.recv(65536)
            if not more:
                raise ValueError(data)
            data += more
        if len(data) != data.index(b"\r\n\r\n") + 4 + int(re.findall(rb"Content-Length: (\d+)", data)[0]):
            raise ValueError(data)
        self._count("answered", found[3].decode())
        return b"Connection: close" in found[1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Count the requests that are lost while the table and the code change."
    )
    parser.add_argument("--quick", action="store_true", help="few reloads, takeovers and clients")
    parser.add_argument("--reloads", type=int, help="number of reloads (200)")
    parser.add_argument("--takeovers", type=int, help="number of takeovers (20)")
    parser.add_argument("--clients", type=int, help="number of clients of each kind (40)")
    options = parser.parse_args()
    if sys.platform != "linux":
        sys.exit("this benchmark reads /proc/PID/smaps_rollup, which only Linux has")
    warn_if_busy()
    reloads = options.reloads or (40 if options.quick else 200)
    takeovers = options.takeovers or (3 if options.quick else 20)
    clients = options.clients or (8 if options.quick else 40)

    with tempfile.TemporaryDirectory() as name:
        server = Server(Path(name))
        try:
            missed = run(server, reloads, takeovers, clients)
        finally:
            server.close()
    sys.exit(1 if missed else 0)


def run(server: Server, reloads: int, takeovers: int, clients: int) -> bool:
    """Run and print everything; return whether a goal was missed."""
    rows = []
    fresh = server.memory()
    before = after = (0, 0)
    lost = 0
    for change, count in (("reloads", reloads), ("takeovers", takeovers)):
        if change == "reloads":
            warm_up(server, clients)
            before, descriptors = server.memory(), server.descriptors()
        load = Load(server.port, clients)
        began = time.monotonic()
        try:
            for number in range(1, count + 1):
                (server.reload if change == "reloads" else server.take_over)(number)
        finally:
            load.stop()
        taken = time.monotonic() - began
        failed = {kind: times for kind, times in load.counts.items() if kind.startswith("requests failed")}
        refused = load.counts["connections refused"]
        retried = load.counts["retried: closed between two requests"]
        rows.append(
            [f"{count} {change}", f"{taken:.0f} s", f"{load.counts['answered']:,}"]
            + [str(number) for number in (len(load.versions), sum(failed.values()), refused, retried)]
        )
        lost += sum(failed.values()) + refused
        for kind, times in failed.items():
            print(f"{times} times: {kind}")
        if change == "reloads":
            settle(server, descriptors)
            after = server.memory()
    load_of = f"under {clients} + {clients} clients"
    header = [load_of, "took", "answered", "by processes", "failed", "refused", "retried"]
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} CPUs\n")
    print(text_table(header, rows))
    print(f"\nlost: {lost}   {verdict(lost, 0, digits=0)}")
    growth = max(new / old for old, new in zip(before, after, strict=True))
    sizes = ", ".join(
        f"{name} {old / 1024:.1f} MiB before, {new / 1024:.1f} after ({first / 1024:.1f} at the start)"
        for name, first, old, new in zip(("RSS", "PSS"), fresh, before, after, strict=True)
    )
    print(f"memory over {reloads} reloads: {sizes}; ratio {growth:.3f}   {verdict(growth, GROWTH)}")
    return lost > 0 or growth > GROWTH


def warm_up(server: Server, clients: int) -> None:
    """Reload every table many times under load, until memory stays the same."""
    descriptors = server.descriptors()
    load = Load(server.port, clients)
    try:
        for number in range(WARM_UP):
            server.reload(number)
    finally:
        load.stop()
    settle(server, descriptors)


def settle(server: Server, descriptors: int) -> None:
    """Wait until the server has closed the connections of clients that have disconnected."""
    deadline = time.monotonic() + PATIENCE
    while server.descriptors() > descriptors and time.monotonic() < deadline:
        time.sleep(0.05)


if __name__ == "__main__":
    main()
