"""Time the start of ``mountpoint serve``, and the commands that serve nothing.

    python tests/benchmarks/startup.py              # about a minute
    python tests/benchmarks/startup.py --quick

The benchmark times ``mountpoint serve`` from the start of its process until it answers with 200, against
``waitress-serve`` with the same apps: two apps that import nothing, which shows the cost of our own imports, and then
two Flask apps. It times ``mountpoint --help`` and ``mountpoint resolve`` as a whole, against ``python -c pass``.
Contenders take turns, and the median of each counts. The exit code is 1 if ``--help`` or ``resolve`` imports werkzeug
or waitress.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from children import free_port, running, script
from measure import duration, text_table, warn_if_busy
from tables import Table

PLAIN = """\
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello"]
"""
FLASK = """\
from flask import Flask

app = Flask(__name__)

@app.get("/")
def index():
    return "Hello"
"""
MOUNTS = """\
[mounts]
"/first" = "first:app"
"/second" = "second:app"
"""
BOTH = """\
from first import app
from second import app as second
"""
SERVE_GOAL = 0.060  # most seconds more than waitress-serve
COMMAND_GOAL = 0.120  # most seconds more than python -c pass
UNWANTED = ("waitress", "werkzeug")


def medians(runs: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Return the times of each run, taken in turns, without the first round, which fills the file caches."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            taken = run()
            if turn:
                times[name].append(taken)
    return times


def seconds_until_it_serves(command: list[str], folder: Path, port: int, path: str) -> float:
    with running(command, folder, port, path) as (_, taken):
        return taken


def seconds_of(command: list[str], folder: Path) -> float:
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def imported(arguments: list[str], folder: Path) -> list[str]:
    """Return which of `UNWANTED` the command ``mountpoint`` with *arguments* imports."""
    command = [sys.executable, "-X", "importtime", "-m", "mountpoint", *arguments]
    log = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stderr
    names = {line.rpartition("|")[2].strip().partition(".")[0] for line in log.splitlines()}
    assert "mountpoint" in names
    return sorted(names.intersection(UNWANTED))


@dataclass(frozen=True)
class Difference:
    """The median of *name* is *more* seconds above that of *base*, which had its turns in the same rounds."""

    name: str
    base: str
    more: float


def compare(title: str, runs: Mapping[str, Callable[[], float]], rounds: int, goal: float) -> list[Difference]:
    """Print the medians of *runs*, and return the difference of each to the first."""
    times = medians(runs, rounds)
    base = statistics.median(next(iter(times.values())))
    rows = []
    for name, taken in times.items():
        more = statistics.median(taken) - base
        reached = "reached" if more <= goal else "MISSED"
        compared = [f"{more * 1e3:+.0f} ms", f"goal <= +{goal * 1e3:.0f} ms: {reached}"] if rows else ["", ""]
        rows.append([name, duration(statistics.median(taken)), duration(min(taken)), duration(max(taken)), *compared])
    print(f"\n{title}, {rounds} rounds\n")
    print(text_table(["", "median", "least", "most", "more", ""], rows))
    first, *others = times
    return [Difference(name, first, statistics.median(times[name]) - base) for name in others]


def measure(rounds: int) -> list[Difference]:
    """Print all figures, and return the differences."""
    # An installed package has bytecode. Without it, Python would compile mountpoint at each start, but not waitress.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    differences = []
    with tempfile.TemporaryDirectory() as name:
        for kind, source in (("plain", PLAIN), ("Flask", FLASK)):
            folder = Path(name, kind)
            folder.mkdir()
            for module, text in (
                ("first.py", source),
                ("second.py", source),
                ("both.py", BOTH),
                ("mounts.toml", MOUNTS),
            ):
                (folder / module).write_text(text)

            def waitress_serve(folder: Path = folder) -> float:
                port = free_port()
                command = [script("waitress-serve"), "--threads=8", f"--listen=127.0.0.1:{port}", "both:app"]
                return seconds_until_it_serves(command, folder, port, "/")

            def mountpoint_serve(folder: Path = folder) -> float:
                port = free_port()
                command = [script("mountpoint"), "serve", "--listen", f"127.0.0.1:{port}"]
                return seconds_until_it_serves(command, folder, port, "/first/")

            runs = {
                f"waitress-serve, two {kind} apps": waitress_serve,
                f"mountpoint serve, two {kind} apps": mountpoint_serve,
            }
            differences += compare("Until it serves", runs, rounds, SERVE_GOAL)

        folder = Path(name, "plain")
        runs = {name: lambda command=command: seconds_of(command, folder) for name, command in commands().items()}
        differences += compare("Commands that serve nothing", runs, rounds, COMMAND_GOAL)
    return differences


def commands() -> dict[str, list[str]]:
    """Return the commands that serve nothing. The first is the one with which the others are compared."""
    return {
        "python -c pass": [sys.executable, "-c", "pass"],
        "mountpoint --help": [script("mountpoint"), "--help"],
        "mountpoint resolve": [script("mountpoint"), "resolve", "mounts.toml", "/first/x"],
    }


def table(differences: Sequence[Difference]) -> Table:
    """Return the table for the manual."""
    rows = [[one.name, one.base, f"{one.more * 1e3:.0f} ms more"] for one in differences]
    return Table(["Start", "against", "time"], rows)


def main() -> int:
    parser = argparse.ArgumentParser(description="Time the start of mountpoint.")
    parser.add_argument("--quick", action="store_true", help="5 rounds, noisier")
    parser.add_argument("--rounds", type=int, help="number of rounds (30)")
    options = parser.parse_args()
    warn_if_busy()
    print(f"Python {sys.version.split()[0]}")
    measure(options.rounds or (5 if options.quick else 30))
    failed = False
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "mounts.toml").write_text(MOUNTS)
        for command_name, command in list(commands().items())[1:]:
            found = imported(command[1:], Path(name))
            failed = failed or bool(found)
            print(f"{command_name} imports {' and '.join(found) if found else 'neither werkzeug nor waitress'}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
