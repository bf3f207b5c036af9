"""Measure the memory of an idle connection in ``mountpoint serve`` and in bare waitress. Linux only.

    python tests/benchmarks/connections.py         # about 15 seconds

Each of 1,000 clients sends one request, reads the response, and leaves its connection open. The growth of the server's
resident memory, divided by 1,000, is the memory of a connection. The memory of the kernel for the socket is not in it.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from children import free_port, running
from load_servers import BARE, OURS, Server, write_files
from measure import text_table
from wrk import idle_connection

SERVERS = (OURS, BARE)
WARM_UP = 100  # requests before the first measurement, so that caches and arenas of the allocator exist


def resident_kilobytes(process_id: int) -> int:
    status = Path(f"/proc/{process_id}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0])


def bytes_for_each(server: Server, folder: Path, count: int) -> float:
    """Return the bytes of each of *count* idle connections."""
    port = free_port()
    with ExitStack() as stack:
        process, _ = stack.enter_context(running(server.command(port, False), folder, port, "/app/"))
        for _ in range(WARM_UP):
            idle_connection(port).close()
        before = resident_kilobytes(process.pid)
        for _ in range(count):
            stack.enter_context(idle_connection(port))
        return (resident_kilobytes(process.pid) - before) * 1024 / count


def measure(count: int, runs: int, servers: Sequence[Server] = SERVERS) -> dict[str, float]:
    """Return the bytes of an idle connection for each server, the median of *runs*."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder)
        return {
            server.name: statistics.median(bytes_for_each(server, folder, count) for _ in range(runs))
            for server in servers
        }


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the memory of an idle connection.")
    parser.add_argument("--count", type=int, default=1_000, help="number of connections (1,000)")
    parser.add_argument("--runs", type=int, default=3, help="number of runs, the median counts (3)")
    options = parser.parse_args()
    if sys.platform != "linux":
        sys.exit("this benchmark reads /proc, which only Linux has")
    occupied = measure(options.count, options.runs)
    print(f"Python {sys.version.split()[0]}, {options.count:,} idle connections, median of {options.runs} runs\n")
    print(
        text_table(["an idle connection", "memory"], [[name, f"{size:,.0f} bytes"] for name, size in occupied.items()])
    )


if __name__ == "__main__":
    main()
