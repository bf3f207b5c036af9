"""Compare the CPU time of a whole request in ``mountpoint serve`` with bare waitress. Linux only.

    python tests/benchmarks/serving.py              # about two minutes
    python tests/benchmarks/serving.py --quick

Both servers have the same one-line app. ``mountpoint serve`` mounts it at /app and at four other paths, with fair
queues and the log of slow requests. Waitress serves it bare, with the same settings except for the look-ahead, which
keeps waitress's default, and with the same access log, which a subclass of the task writes through the same function.

The benchmark compares the CPU time of the server's process, user and system, for the same number of requests with a
browser's headers over four keep-alive connections. A pair is two new processes that take turns, 200 requests each, so
that other programs disturb both equally. The median of its turns counts for a server. The ratio is that of a pair, and
its mean over the pairs comes with a 95 % confidence interval.
"""

from __future__ import annotations

import argparse
import logging
import os
import socket
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from children import free_port, running, script
from measure import duration, ratio_interval, text_table, verdict, warn_if_busy

GOAL = 1.03
SIBLINGS = 4  # mounts beside /app: with only one mount, the queues would have nothing to share
THREADS = 8
CONNECTIONS = 4
TURN = 200  # requests to one server before the other has its turn
APP = """\
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello, world!\\n"]
"""
REQUEST = (
    b"GET /app/?stn=Lund HTTP/1.1\r\n"
    b"Host: www.viltstigen.se\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    b"Accept-Language: sv-SE,sv;q=0.8,en;q=0.5\r\n"
    b"Accept-Encoding: gzip, deflate, br\r\n"
    b"Referer: https://www.viltstigen.se/\r\n"
    b"Cookie: session=eyJ1c2VyIjoxfQ.Z1\r\n"
    b"\r\n"
)


def serve_bare(port: int) -> None:
    """Serve hello.py in the working folder with waitress and the access log of mountpoint, but nothing else of it."""
    from waitress import serve
    from waitress.channel import HTTPChannel
    from waitress.server import TcpWSGIServer
    from waitress.task import WSGITask

    from mountpoint.loading.logs import configure_logging
    from mountpoint.server.access_log import access_line, access_logger

    class LoggingTask(WSGITask):
        def service(self) -> None:
            super().service()
            if not access_logger.isEnabledFor(logging.INFO):
                return
            headers = self.request.headers
            access_logger.info(
                "%s",
                access_line(
                    remote_addr=self.channel.addr[0],
                    request_line=self.request.first_line.decode("latin-1"),
                    status=self.status[:3],
                    size=self.content_bytes_written,
                    referer=headers.get("REFERER"),
                    user_agent=headers.get("USER_AGENT"),
                    mount=None,
                    started=self.start_time,
                    finished=time.time(),
                ),
            )

    class LoggingChannel(HTTPChannel):
        task_class = LoggingTask

    TcpWSGIServer.channel_class = LoggingChannel
    configure_logging("info")
    sys.path.insert(0, "")
    from hello import app

    serve(
        app,
        host="127.0.0.1",
        port=port,
        threads=THREADS,
        connection_limit=1000,
        asyncore_use_poll=True,
        clear_untrusted_proxy_headers=False,
        _quiet=True,
    )


class Load:
    """A running server and connections to it."""

    def __init__(self, process_id: int, port: int) -> None:
        # The CPU clock of the process, as clock_getcpuclockid(3) computes it.
        self._clock = (~process_id << 3) | 2
        self._sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]

    def close(self) -> None:
        for sock in self._sockets:
            sock.close()

    def cpu_seconds(self, requests: int) -> float:
        """Return the CPU time of the server for *requests* requests, one at a time on each connection."""
        before = time.clock_gettime(self._clock)
        for _ in range(requests // CONNECTIONS):
            for sock in self._sockets:
                sock.sendall(REQUEST)
            for sock in self._sockets:
                _read_response(sock)
        return time.clock_gettime(self._clock) - before


def _read_response(sock: socket.socket) -> None:
    response = b""
    while not response.endswith(b"Hello, world!\n"):
        received = sock.recv(4096)
        if not received:
            sys.exit(f"the server closed the connection after {response!r}")
        response += received
    assert response.startswith(b"HTTP/1.1 200 OK\r\n"), response


def pair(folder: Path, requests: int) -> tuple[float, float]:
    """Return the CPU time of a request in both servers, bare and ours: the median over their turns."""
    with ExitStack() as stack:
        loads = []
        for kind in ("bare", "mountpoint"):
            port = free_port()
            if kind == "bare":
                command = [sys.executable, str(Path(__file__).resolve()), "--bare", str(port)]
            else:
                command = [script("mountpoint"), "serve", "--listen", f"127.0.0.1:{port}", "--threads", str(THREADS)]
            process, _ = stack.enter_context(running(command, folder, port))
            loads.append(Load(process.pid, port))
            stack.callback(loads[-1].close)
        bare, ours = loads
        for load in loads:
            load.cpu_seconds(TURN)  # to warm up
        taken: dict[Load, list[float]] = {bare: [], ours: []}
        for turn in range(requests // TURN):
            for load in (bare, ours) if turn % 2 else (ours, bare):
                taken[load].append(load.cpu_seconds(TURN) / TURN)
        return statistics.median(taken[bare]), statistics.median(taken[ours])


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare mountpoint serve with bare waitress.")
    parser.add_argument("--quick", action="store_true", help="6 pairs of few requests, noisier")
    parser.add_argument("--pairs", type=int, help="number of pairs (20)")
    parser.add_argument("--requests", type=int, help="number of requests to each server of a pair (6,000)")
    parser.add_argument("--bare", type=int, metavar="PORT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        serve_bare(options.bare)
        return
    if sys.platform != "linux":
        sys.exit("this benchmark reads the CPU clock of another process, which only Linux has")
    warn_if_busy()
    pairs = options.pairs or (6 if options.quick else 20)
    requests = options.requests or (2_000 if options.quick else 6_000)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "hello.py").write_text(APP)
        keys = ["/app", *(f"/sibling{number}" for number in range(SIBLINGS))]
        (folder / "mounts.toml").write_text("[mounts]\n" + "".join(f'"{key}" = "hello:app"\n' for key in keys))
        times = [pair(folder, requests) for _ in range(pairs)]

    mean, low, high = ratio_interval([ours / bare for bare, ours in times])
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} CPUs, {pairs} pairs of {requests:,} requests\n")
    rows = []
    for name, column in (("waitress, bare", 0), ("mountpoint serve", 1)):
        each = [taken[column] for taken in times]
        rows.append([name, duration(statistics.median(each)), duration(min(each)), duration(max(each))])
    print(text_table(["CPU time of a request", "median", "least", "most"], rows))
    print(f"\nratio: {mean:.3f}, 95 % interval {low:.3f} to {high:.3f}   {verdict(mean, GOAL)}")


if __name__ == "__main__":
    main()
