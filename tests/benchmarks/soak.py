"""Run mixed load on five frameworks with hostile clients, reloads and takeovers, and watch for leaks. Linux only.

    python tests/benchmarks/soak.py                 # ten minutes
    python tests/benchmarks/soak.py --minutes 2 --takeovers 5

After a warm-up the load pauses, and the benchmark counts the resources of the server at rest: descriptors, threads,
memory, and the memory blocks that Python has in use. It counts them again after the soak. During the soak it takes a
sample each second and fits a line through the samples: the rise is the difference between the ends of that line. Every
response is checked, including those that have to fail. The exit code is 1 if a response was wrong, or if a resource has
grown.

Hardships come in turn: clients whose upload hardly moves, mounts that hang, a full $TMPDIR, and too few descriptors.
Limits of the process stand in for the last two: RLIMIT_FSIZE and RLIMIT_NOFILE. Under these two a request may fail, and
such failures are counted apart. The benchmark measures the slowest response of a healthy mount in each hardship, and
how long the first response takes after it.

If memory grows but the blocks do not, the allocator has grown: glibc has an arena for each thread, and arenas fragment.
MALLOC_ARENA_MAX=1 and MALLOC_MMAP_THRESHOLD_=65536 in the environment show the difference. With PYTHONTRACEMALLOC=1,
which is slow, the benchmark prints the lines of code that hold more memory at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from children import PATIENCE, free_port
from measure import text_table, warn_if_busy
from soak_clients import (
    BODY_TIMEOUT,
    CHANNEL_TIMEOUT,
    FILE_SIZE,
    FRAMEWORKS,
    HANGING,
    HARDSHIPS,
    HEADER_TIMEOUT,
    SCRIPT,
    Client,
    Load,
    expect,
)

TESTS = Path(__file__).resolve().parents[1]
PROBE = TESTS / "support" / "apps" / "probe.py"
SITES = TESTS / "support" / "apps"  # the folder of framework_sites.py, which has a small site for each framework
RELOAD_EVERY = 3.0  # seconds
HARDSHIP, RESPITE = 8.0, 6.0  # seconds of each hardship, and of the time before it
FULL = 100_000  # bytes: the largest file, while $TMPDIR is full
WARM_UP = 90.0  # seconds, at least: glibc's allocator makes its arenas, one for each thread, in this time
GOAL_MEMORY = 0.05  # greatest growth of resident memory: arenas fragment while threads hand over buffers
GOAL_BLOCKS = 0.02  # greatest growth of Python's blocks: caches of libraries still fill a little
TOLERATED = 0.15  # greatest rise, as a part of the mean: the number of descriptors varies with that of clients

# For cases that probe.py does not have: waiting, limits, an app that the table can break, and Python's blocks.
APP = f"""
import gc, json, sys, time, tracemalloc

first = None

def app(environ, start_response):
    action, _, argument = environ["PATH_INFO"][1:].partition("/")
    body = b"done"
    if action == "file":
        start_response("200 OK", [("Content-Length", "{FILE_SIZE}")])
        return environ["wsgi.file_wrapper"](open("file", "rb"))
    if action == "nap":
        time.sleep(float(argument))
    elif action == "alive":
        body = json.dumps(alive()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]

def alive():
    global first
    gc.collect()
    lines = []
    if tracemalloc.is_tracing():
        now = tracemalloc.take_snapshot()
        first = first or now
        lines = [str(line) for line in now.compare_to(first, "lineno")[:12]]
    return {{"blocks": sys.getallocatedblocks(), "lines": lines}}
"""
FAILING = "raise RuntimeError('as intended')\n"


def table_text(folder: Path, port: int, more: str = "") -> str:
    lines = [
        f'[server]\nlisten = "127.0.0.1:{port}"\nthreads = 8\ndrain_timeout = 20\nheader_timeout = {HEADER_TIMEOUT}',
        f"channel_timeout = {CHANNEL_TIMEOUT}\nbody_timeout = {BODY_TIMEOUT}\ncleanup_interval = 5",
        "[defaults]\nslow_after = 1",
        f'[mounts]\n"/probe" = "{PROBE}:app"\n"/own" = {{ app = "own:app", max_body = 1000 }}',
        '"/narrow" = { app = "own:app", limit = 2, queue = 4 }\n"/calm" = "own:app"',
        *(f'"/hanging{number}" = "own:app"' for number in range(HANGING)),
    ]
    lines += [f'"/{name}" = {_site(name, folder)}' for name in FRAMEWORKS]
    return "\n".join([*lines, more, ""])


def _site(name: str, folder: Path) -> str:
    return f"""{{ app = "framework_sites:{name}_site('{folder}')", root = "{SITES}" }}"""


# ------------------------------------------------------------------------------------------------------------- server


class Server:
    """`mountpoint serve`, its log and its table. `pid` is the process that serves, which changes with a takeover."""

    def __init__(self, pid: int, folder: Path, port: int, log: Path) -> None:
        self.pid = pid
        self.url = f"http://127.0.0.1:{port}"
        self.reloads = 0
        self._folder, self._port = folder, port
        self._log = log.open(errors="replace")
        self._states = self._tables()

    def wait_for(self, text: str) -> str:
        """Read the next lines of the log until one contains *text*; return that line."""
        deadline = time.monotonic() + 2 * PATIENCE
        while time.monotonic() < deadline:
            line = self._log.readline()
            if text in line:
                return line
            if not line:
                time.sleep(0.02)
        raise AssertionError(f"the log does not contain {text!r}")

    def _tables(self) -> Iterator[tuple[str, str, int]]:
        """Yield tables, each with the text of its log message and the status of the mount /guest afterwards."""
        names = 0
        while True:
            for name in FRAMEWORKS:
                yield f'"/guest" = {_site(name, self._folder)}', "mounts, 0 broken", 200
                yield "[not a table", "not reloaded: errors in the file", 200
                yield "", "mounts, 0 broken", 404
                names += 1  # a module that was never loaded
                (self._folder / f"failing_{names}.py").write_text(FAILING)
                yield f'"/guest" = "failing_{names}:app"', "mounts, 1 broken", 503
                (self._folder / f"failing_{names}.py").unlink()
                yield '"/guest" = "own:app"', "mounts, 0 broken", 200

    def reload(self) -> None:
        more, outcome, status = next(self._states)
        self.write(more)
        os.kill(self.pid, signal.SIGHUP)
        expect(outcome in (line := self.wait_for("reload ended")) or line, True)
        with Client(self.url) as client:
            expect(client.get("/guest/page/7").status, status)
        self.reloads += 1
        if self.reloads % 10 == 0:
            os.kill(self.pid, signal.SIGUSR1)

    def write(self, more: str = "") -> None:
        """Write the table, with *more* at its end."""
        (self._folder / "mounts.toml").write_text(table_text(self._folder, self._port, more))

    def take_over(self) -> None:
        old = self.pid
        os.kill(old, signal.SIGUSR2)
        self.wait_for("is coming up")
        self.pid = int(self.wait_for("serves; this one ends").split("process ")[1].split()[0])
        wait_until(lambda: not is_alive(old))

    def stop(self) -> None:
        os.kill(self.pid, signal.SIGTERM)
        self.wait_for("stopped; no request was cut off")
        wait_until(lambda: not is_alive(self.pid))

    def sample(self) -> tuple[int, int, float]:
        """Return the number of descriptors, the number of threads, and the resident memory in MB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        values = dict(line.split(":", 1) for line in status.splitlines())
        descriptors = sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())
        return descriptors, int(values["Threads"]), int(values["VmRSS"].split()[0]) / 1024

    def at_rest(self) -> tuple[int, int, float, int, list[str]]:
        """Return a sample after all clients have disconnected, Python's blocks, and the lines that hold more memory."""
        deadline = time.monotonic() + PATIENCE
        before = None
        while (now := self.sample()[:2]) != before and time.monotonic() < deadline:
            before = now
            time.sleep(2)
        with Client(self.url) as client:
            alive = json.loads(client.get("/own/alive").body)
        wait_until(lambda: self.sample()[:2] == now)  # until that client has disconnected too
        return *self.sample(), alive["blocks"], alive["lines"]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(happens: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 2 * PATIENCE
    while not happens() and time.monotonic() < deadline:
        time.sleep(0.05)


# --------------------------------------------------------------------------------------------------------- the figures


class Latencies:
    """The slowest response of a healthy mount in each hardship, and the slowest first one after it, in seconds."""

    def __init__(self) -> None:
        self.during: defaultdict[str, float] = defaultdict(float)
        self.after: defaultdict[str, float] = defaultdict(float)

    def measure(self, server: Server, into: defaultdict[str, float], hardship: str) -> None:
        start = time.monotonic()
        with Client(server.url) as client:
            expect(client.get("/calm/").status, 200)
        into[hardship] = max(into[hardship], time.monotonic() - start)

    def report(self) -> str:
        rows = [[name, f"{self.during[name]:.2f}", f"{self.after[name]:.2f}"] for name in HARDSHIPS]
        return text_table(["hardship", "slowest response, s", "first response after it, s"], rows)


def soak(server: Server, load: Load, seconds: float, latencies: Latencies) -> list[tuple[float, int, int, float]]:
    """Apply *load* for *seconds*, with reloads and hardships; return samples, each with the seconds since the start."""
    samples = []
    start = time.monotonic()
    next_reload, turn = 0.0, 0
    with load.applied():
        while (passed := time.monotonic() - start) < seconds:
            if passed >= next_reload:
                next_reload = passed + RELOAD_EVERY
                server.reload()
            if passed >= (turn + 1) * (RESPITE + HARDSHIP) - HARDSHIP:
                _apply(HARDSHIPS[turn % len(HARDSHIPS)], server, load, latencies)
                turn += 1
            samples.append((passed, *server.sample()))
            time.sleep(1)
    return samples


def _apply(hardship: str, server: Server, load: Load, latencies: Latencies) -> None:
    kinds = {"full $TMPDIR": resource.RLIMIT_FSIZE, "few descriptors": resource.RLIMIT_NOFILE}
    end = time.monotonic() + HARDSHIP
    with load.hardship(hardship), _limited(server, kinds.get(hardship)):
        while time.monotonic() < end:
            if hardship != "few descriptors":  # the server accepts no connection then
                latencies.measure(server, latencies.during, hardship)
            time.sleep(0.5)
    latencies.measure(server, latencies.after, hardship)


@contextmanager
def _limited(server: Server, kind: int | None) -> Iterator[None]:
    """Let the process have no larger file, or hardly more descriptors, while the body runs."""
    if kind is None:
        yield
        return
    before = resource.prlimit(server.pid, kind)
    few = FULL if kind == resource.RLIMIT_FSIZE else server.sample()[0] + 3
    resource.prlimit(server.pid, kind, (few, before[1]))
    try:
        yield
    finally:
        resource.prlimit(server.pid, kind, before)


def rise(samples: list[tuple[float, int, int, float]], column: int) -> float:
    """Return the rise, from the first sample to the last, of a line that is fitted through them."""
    times = [sample[0] for sample in samples]
    slope = statistics.linear_regression(times, [sample[column] for sample in samples]).slope
    return slope * (times[-1] - times[0])


def report(samples: list[tuple[float, int, int, float]], before: tuple, after: tuple) -> bool:
    """Print the resources before, during and after the soak; return whether one has grown."""
    rows, grown = [], False
    for column, (name, form) in enumerate((("descriptors", ".0f"), ("threads", ".0f"), ("memory, MB", ".1f"))):
        seen = [sample[column + 1] for sample in samples]
        climbs, mean = rise(samples, column + 1), statistics.fmean(seen)
        goal, bound = (GOAL_MEMORY, GOAL_MEMORY) if column == 2 else (0.0, TOLERATED)
        flat = after[column] <= before[column] * (1 + goal) and climbs <= mean * bound
        grown = grown or not flat
        values = (before[column], after[column], mean, max(seen))
        rows.append([name, *(f"{value:{form}}" for value in values), f"{climbs:+.1f}", "flat" if flat else "GROWN"])
    flat = after[3] <= before[3] * (1 + GOAL_BLOCKS)
    rows.append(["blocks of Python", f"{before[3]:,}", f"{after[3]:,}", "", "", "", "flat" if flat else "GROWN"])
    print(text_table(["", "at rest before", "at rest after", "mean", "most", "rise", ""], rows))
    tenths = [samples[len(samples) * part // 10][3] for part in range(10)]
    print(f"memory, in MB, after each tenth of the time: {' '.join(f'{value:.0f}' for value in tenths)}")
    for line in after[4]:
        print(line)
    return grown or not flat


def main() -> int:
    parser = argparse.ArgumentParser(description="Run mountpoint serve under mixed load, and watch for leaks.")
    parser.add_argument(
        "--minutes",
        type=float,
        default=10,
        help="minutes of the soak (10); the warm-up takes a fifth of that, at least 90 s",
    )
    parser.add_argument("--takeovers", type=int, default=0, help="number of takeovers under load, at the end (0)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log", type=Path, help="the file for the server's log, which is kept")
    options = parser.parse_args()
    if sys.platform != "linux":
        sys.exit("this benchmark reads /proc, which only Linux has")
    warn_if_busy()
    seconds = options.minutes * 60
    failed = False
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        (folder / "own.py").write_text(APP)
        (folder / "ws.js").write_bytes(SCRIPT)
        (folder / "file").write_bytes(b"x" * FILE_SIZE)
        (folder / "mounts.toml").write_text(table_text(folder, port))
        log = options.log or folder / "log"
        load = Load(f"http://127.0.0.1:{port}", options.seed)
        command = [sys.executable, "-m", "mountpoint", "serve"]
        latencies = Latencies()
        with log.open("wb") as file:  # behind a pipe, so that the limit of files does not concern the log
            copier = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=file)
        with copier.stdin as pipe:  # a new process group, for the processes that take over too
            process = subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=pipe, start_new_session=True)
        server = Server(process.pid, folder, port, log)
        try:
            server.wait_for("serving on")
            soak(server, load, max(seconds / 5, WARM_UP), latencies)
            before = server.at_rest()
            warm = load.answers.total(), server.reloads
            samples = soak(server, load, seconds, latencies)
            after = server.at_rest()
            answers, reloads = load.answers.total() - warm[0], server.reloads - warm[1]
            print(f"Python {sys.version.split()[0]}, {os.cpu_count()} CPUs, {options.minutes:g} minutes")
            print(f"{answers:,} answers and {reloads} reloads after the warm-up\n")
            failed = report(samples, before, after)
            print(f"\n{latencies.report()}")
            if options.takeovers:
                server.write()  # the last table may have a broken mount
                with load.applied():
                    for _ in range(options.takeovers):
                        load.pause(1)
                        server.take_over()
                print(f"\n{options.takeovers} takeovers; the last process at rest:", end=" ")
                print("{} descriptors, {} threads, {:.1f} MB".format(*server.at_rest()[:3]))
            server.stop()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            copier.wait()
    print("\nanswers: " + ", ".join(f"{kind} {count:,}" for kind, count in load.answers.items()))
    print(f"wrong responses: {load.errors.total()}")
    for error, count in load.errors.most_common(20):
        print(f"  {count:,} x {error}")
    print(f"failures under a full $TMPDIR or without descriptors: {load.excused.total()}")
    for error, count in load.excused.most_common(10):
        print(f"  {count:,} x {error}")
    return int(failed or bool(load.errors))


if __name__ == "__main__":
    sys.exit(main())
