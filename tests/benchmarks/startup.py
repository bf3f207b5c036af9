"""Time the start of ``mountpoint serve``, and the commands that serve nothing.

    python tests/benchmarks/startup.py              # about a minute
    python tests/benchmarks/startup.py --quick

The benchmark times ``mountpoint serve`` from the start of its process until it accepts a connection, against
``waitress-serve`` with the same apps: two apps that import nothing, which shows the cost of our own imports, and then
two Flask apps. It times ``mountpoint --help`` and ``mountpoint resolve`` as a whole, against ``python -c pass``.
Contenders take turns, and the median of each counts. The exit code is 1 if ``--help`` or ``resolve`` imports werkzeug
or waitress.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from children import free_port, running, script
from measure import duration, text_table, warn_if_busy

PLAIN = """\
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello"]
"""
FLASK = """\
from flask import Flask

app = Flask(__name__)
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


def seconds_until_it_listens(command: list[str], folder: Path, port: int) -> float:
    with running(command, folder, port) as (_, taken):
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


def compare(title: str, runs: Mapping[str, Callable[[], float]], rounds: int, goal: float) -> None:
    """Print the medians of *runs*, and the difference of each to the first."""
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


def main() -> int:
    parser = argparse.ArgumentParser(description="Time the start of mountpoint.")
    parser.add_argument("--quick", action="store_true", help="5 rounds, noisier")
    parser.add_argument("--rounds", type=int, help="number of rounds (30)")
    options = parser.parse_args()
    rounds = options.rounds or (5 if options.quick else 30)
    # An installed package has bytecode. Without it, Python would compile mountpoint at each start, but not waitress.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    warn_if_busy()
    print(f"Python {sys.version.split()[0]}")
    with tempfile.TemporaryDirectory() as name:
        for kind, source in (("plain", PLAIN), ("Flask", FLASK)):
            if kind == "Flask" and importlib.util.find_spec("flask") is None:
                print("\nFlask is not installed, so its apps are skipped")
                continue
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
                return seconds_until_it_listens(
                    [script("waitress-serve"), "--threads=8", f"--listen=127.0.0.1:{port}", "both:app"], folder, port
                )

            def mountpoint_serve(folder: Path = folder) -> float:
                port = free_port()
                return seconds_until_it_listens(
                    [script("mountpoint"), "serve", "--listen", f"127.0.0.1:{port}"], folder, port
                )

            runs = {"waitress-serve": waitress_serve, "mountpoint serve": mountpoint_serve}
            compare(f"Until it listens, two {kind} apps", runs, rounds, SERVE_GOAL)

        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "mountpoint --help": [script("mountpoint"), "--help"],
            "mountpoint resolve": [script("mountpoint"), "resolve", "mounts.toml", "/first/x"],
        }
        folder = Path(name, "plain")
        runs = {name: lambda command=command: seconds_of(command, folder) for name, command in commands.items()}
        compare("Commands that serve nothing", runs, rounds, COMMAND_GOAL)

        print()
        failed = False
        for command_name, command in list(commands.items())[1:]:
            found = imported(command[1:], folder)
            failed = failed or bool(found)
            print(f"{command_name} imports {' and '.join(found) if found else 'neither werkzeug nor waitress'}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
