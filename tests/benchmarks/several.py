"""Measure the memory of each app in examples/several, and of Flask apps that share a process. Linux only.

    python tests/benchmarks/several.py             # about a minute; installs the apps in a temporary folder

The memory is the resident set of a process when it has answered one request.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from children import PATIENCE, free_port, script
from measure import warn_if_busy
from tables import Table
from workers import children, resident_mib

EXAMPLE = Path(__file__).parents[2] / "examples" / "several"
MADE = (".venv", "mysite", "manage.py", "db.sqlite3", "staticfiles", "collections")
PAGES = {"/shop": "/shop/admin/login/"}  # of the other mounts, the first page
COPIES = 5  # Flask apps that share a process, or do not
APP = """\
from flask import Flask

app = Flask(__name__)


@app.get("/")
def index():
    return "Hello"
"""


@contextmanager
def serving(folder: Path, mounts: int) -> Iterator[tuple[int, str, list[str]]]:
    """Serve the table in *folder*. Yield PID, URL and lines of the log, once *mounts* processes are ready."""
    port = free_port()
    command = [script("mountpoint"), "serve", "--listen", f"127.0.0.1:{port}", "--no-access-log"]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines: list[str] = []
        ready = 0
        for line in process.stderr:
            lines.append(line)
            ready += " is ready after " in line
            if ready == mounts and any(line.startswith("serving on ") for line in lines):
                break
        else:
            sys.exit("".join(lines))
        try:
            yield process.pid, f"http://127.0.0.1:{port}", lines
        finally:
            process.terminate()
            process.stderr.read()


def request(url: str) -> None:
    """Send one request, whatever the status of its response."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=PATIENCE).read()
            return
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != 503:  # a mount that is not ready yet
                return
        time.sleep(0.01)


def measure_apps(folder: Path) -> Table:
    """Return the memory of each app of the example, and of the server."""
    subprocess.run([sys.executable, "install.py"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    table = (folder / "mounts.toml").read_text(encoding="utf-8")
    mounts = re.findall(r'^\[mounts\."(.+)"\]', table, re.MULTILINE)
    rows = []
    with serving(folder, len(mounts)) as (pid, url, lines):
        for mount in mounts:
            request(url + PAGES.get(mount, f"{mount}/"))
            found = re.search(rf"{mount}: worker (\d+) is ready after [\d.]+ s, (.*)\n", "".join(lines))
            assert found is not None
            rows.append([f"`{mount}`", found[2], f"{resident_mib(int(found[1])):.0f} MiB"])
        rows.append(["the server itself", f"Python {sys.version.split()[0]}", f"{resident_mib(pid):.0f} MiB"])
    return Table(["A process of examples/several", "interpreter", "memory"], rows)


def measure_copies(folder: Path) -> Table:
    """Return the memory of `COPIES` small Flask apps in one process, and with a process for each."""
    for number in range(COPIES):
        (folder / f"app{number}.py").write_text(APP, encoding="utf-8")
    rows = []
    for kind, title in (("shared", "that share the server's process"), ("own", "with a process for each")):
        table = f'[defaults]\nprocess = "{kind}"\n[mounts]\n'
        table += "".join(f'"/{number}" = "app{number}:app"\n' for number in range(COPIES))
        (folder / "mounts.toml").write_text(table, encoding="utf-8")
        totals = []
        for _ in range(3):
            with serving(folder, COPIES if kind == "own" else 0) as (pid, url, _):
                for number in range(COPIES):
                    request(f"{url}/{number}/")
                totals.append(sum(map(resident_mib, [pid, *children(pid)])))
        rows.append([f"{COPIES} small Flask apps {title}", f"{statistics.median(totals):.0f} MiB"])
    return Table(["Memory of all processes", "value"], rows)


def main() -> None:
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    if sys.platform != "linux":
        sys.exit("this benchmark needs Linux")
    warn_if_busy()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "several"
        shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns(*MADE))
        tables = [measure_apps(folder)]
        copies = Path(name) / "copies"
        copies.mkdir()
        tables.append(measure_copies(copies))
    print("\n".join(table.markdown() for table in tables))


if __name__ == "__main__":
    main()
