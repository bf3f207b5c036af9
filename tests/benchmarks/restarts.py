"""Restarts of a mount with processes of its own: requests lost under load, and resources left over after many restarts.

    python tests/benchmarks/restarts.py                 # 50 restarts under 40 clients that keep their connections
    python tests/benchmarks/restarts.py --count 1000 --clients 0    # what is left afterwards

Prints the number of requests, of those that were lost, and the seconds of a restart. Then it prints the descriptors,
threads, children, zombies and temporary files of the server after the first restart and after the last one.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.client import Client, app_file
from support.running import MountpointServe, serving
from support.waiting import wait_until

from mountpoint.lifecycle.control_client import ask

TABLE = f'[mounts."/own"]\napp = "{app_file("own_app")}:app"\nprocess = "own"\n'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=50, help="restarts")
    parser.add_argument("--clients", type=int, default=40, help="connections that are kept, in up to 4 threads")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, serving(TABLE, Path(name), "--no-access-log") as server:
        measure(server, Path(name), options.count, options.clients)


def measure(server: MountpointServe, folder: Path, count: int, clients: int) -> None:
    server.wait_for("is ready")
    stop, statuses, lost, times = threading.Event(), [], [], []

    def load(connections: int) -> None:
        while not stop.is_set():
            kept = [Client(server.url) for _ in range(connections)]
            try:
                while not stop.is_set():
                    for client in kept:
                        client.request("/own/")
                    for client in kept:
                        statuses.append(client.answer().status)
            except (OSError, EOFError, ValueError) as error:
                lost.append(error)
            finally:
                for client in kept:
                    client.close()

    threads = [threading.Thread(target=load, args=[clients // 4]) for _ in range(4 if clients else 0)]
    for thread in threads:
        thread.start()
    before = ""
    for number in range(count):
        started_at = time.monotonic()
        outcome = ask(folder / "mounts.toml", {"command": "restart", "mount": "/own"}, timeout=120)
        assert outcome["ok"], outcome
        times.append(time.monotonic() - started_at)
        if number == 0:
            before = left(server, folder, 1)
    after = left(server, folder, count)
    stop.set()
    for thread in threads:
        thread.join()
    bad = len(lost) + sum(status != 200 for status in statuses)
    print(f"{count} restarts, {clients} clients: {len(statuses)} requests, {bad} lost")
    print(f"a restart: median {statistics.median(times):.2f} s, longest {max(times):.2f} s")
    print(f"left after the first restart: {before}")
    print(f"left after the last restart:  {after}")


def left(server: MountpointServe, folder: Path, restarts: int) -> str:
    """Return what the server has open once the former workers of all *restarts* have ended."""
    proc = Path(f"/proc/{server.pid}")

    def children() -> list[str]:
        return [pid for file in proc.glob("task/*/children") for pid in file.read_text().split()]

    wait_until(lambda: len(re.findall("it is no longer needed", server.log())) == restarts, 0.1)
    wait_until(lambda: len(children()) == 1, 0.1)
    states = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in children()]
    counts = {
        "descriptors": len(list((proc / "fd").iterdir())),
        "threads": len(list((proc / "task").iterdir())),
        "children": len(states),
        "zombies": states.count("Z"),
        "files": sum(1 for _ in folder.rglob("*")),
    }
    return ", ".join(f"{number} {name}" for name, number in counts.items())


if __name__ == "__main__":
    main()
