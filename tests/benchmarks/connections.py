"""Measure the memory of an idle connection in ``mountpoint serve`` and in bare waitress. Linux only.

    python tests/benchmarks/connections.py         # about 15 seconds

Each of 1,000 clients sends one request, reads the response, and leaves its connection open. The growth of the server's
resident memory, divided by 1,000, is the memory of a connection. The memory of the kernel for the socket is not in it.
"""

from __future__ import annotations

import argparse
import re
import socket
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from children import free_port, running
from load_servers import BARE, OURS, Server, wait_until_ready, write_files
from measure import text_table

REQUEST = b"GET /app/ HTTP/1.1\r\nHost: localhost\r\n\r\n"
WARM_UP = 100  # requests before the first measurement, so that caches and arenas of the allocator exist


def resident_kilobytes(process_id: int) -> int:
    status = Path(f"/proc/{process_id}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0])


def open_connection(port: int) -> socket.socket:
    """Return a connection that has served one request."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=20)
    sock.sendall(REQUEST)
    response = b""
    while not response.endswith(b"Hello, world!\n"):
        received = sock.recv(4096)
        if not received:
            sys.exit(f"the server closed the connection after {response!r}")
        response += received
    return sock


def bytes_for_each(server: Server, folder: Path, count: int) -> float:
    """Return the bytes of each of *count* idle connections."""
    port = free_port()
    with ExitStack() as stack:
        process, _ = stack.enter_context(running(server.command(port, False), folder, port))
        wait_until_ready(port)
        for _ in range(WARM_UP):
            open_connection(port).close()
        before = resident_kilobytes(process.pid)
        for _ in range(count):
            stack.enter_context(open_connection(port))
        return (resident_kilobytes(process.pid) - before) * 1024 / count


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the memory of an idle connection.")
    parser.add_argument("--count", type=int, default=1_000, help="number of connections (1,000)")
    parser.add_argument("--runs", type=int, default=3, help="number of runs, the median counts (3)")
    options = parser.parse_args()
    if sys.platform != "linux":
        sys.exit("this benchmark reads /proc, which only Linux has")
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder)
        for server in (BARE, OURS):
            runs = sorted(bytes_for_each(server, folder, options.count) for _ in range(options.runs))
            rows.append([server.name, f"{runs[len(runs) // 2]:,.0f} bytes"])
    print(f"Python {sys.version.split()[0]}, {options.count:,} idle connections, median of {options.runs} runs\n")
    print(text_table(["an idle connection", "memory"], rows))


if __name__ == "__main__":
    main()
