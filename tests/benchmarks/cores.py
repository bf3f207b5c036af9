"""Compare the ways to use more cores and machines with one ``serve`` process. Linux only; needs wrk, nginx, HAProxy.

    python tests/benchmarks/cores.py               # about five minutes
    python tests/benchmarks/cores.py --quick

All servers of the comparison run at once, on this machine, and take turns: only one of them gets requests. Each has two
processes, the single one excepted. One client program sends the requests over 8 connections. It needs a core itself, so
the figures are lower than with a client on another machine.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from children import free_port, running, script
from measure import progress, warn_if_busy
from tables import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.proxies import prepare

from mountpoint.config.address import listen_address
from mountpoint.config.reader import load_config
from mountpoint.proxyconf import RenderOptions, proxy_config

WORKERS = 2
THREADS = 8
APP = """\
TEXT = [("Content-Type", "text/plain")]

def app(environ, start_response):
    start_response("200 OK", TEXT)
    if environ["PATH_INFO"] == "/compute":
        return [str(sum(range(100_000))).encode()]
    return [b"Hello, world!\\n"]
"""
LOADED = "from mountpoint import load\n\napplication = load('one.toml')\n"
PATHS = {"/app/": "hello", "/app/compute": "computes for some milliseconds"}
ONE = "one `serve` process"


class Site:
    """The servers of the comparison, in *folder*: `ports` has the port of each."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.stack = stack
        self.ports: dict[str, int] = {}
        (folder / "hello.py").write_text(APP)
        (folder / "loaded.py").write_text(LOADED)
        settings = f"[server]\naccess_log = false\nthreads = {THREADS}\n"
        (folder / "one.toml").write_text(f'{settings}[mounts]\n"/app" = "hello:app"\n')
        own = f'[mounts."/app"]\napp = "hello:app"\nprocess = "own"\nworkers = {WORKERS}\nthreads = {THREADS}\n'
        (folder / "own.toml").write_text(settings.replace(str(THREADS), str(WORKERS * THREADS)) + own)

    def start(self, name: str, command: list[str], port: int) -> int:
        """Start *command*, which listens on *port*, and wait until it serves."""
        self.stack.enter_context(running(command, self.folder, port, "/app/"))
        self.ports[name] = port
        return port

    def serve(self, name: str, table: str) -> int:
        port = free_port()
        return self.start(name, [script("mountpoint"), "serve", table, "--listen", f"127.0.0.1:{port}"], port)

    def gunicorn(self, name: str) -> None:
        port = free_port()
        options = ["--bind", f"127.0.0.1:{port}", "--workers", str(WORKERS), "--worker-class", "gthread"]
        self.start(name, [script("gunicorn"), *options, "--threads", str(THREADS), "loaded:application"], port)

    def granian(self, name: str) -> None:
        port = free_port()
        options = ["--interface", "wsgi", "--port", str(port), "--workers", str(WORKERS), "--no-ws"]
        options += ["--blocking-threads", str(THREADS), "--log-level", "warning"]
        self.start(name, [script("granian"), *options, "loaded:application"], port)

    def behind(self, name: str, proxy: str, hosts: list[int]) -> None:
        """Start *proxy* in front of the servers at the ports *hosts*."""
        upstreams = [listen_address(f"127.0.0.1:{port}") for port in hosts]
        options = RenderOptions("127.0.0.1", upstreams=upstreams, standalone=True)
        text = proxy_config(load_config(self.folder / "one.toml"), proxy, options).text
        port = free_port()
        command, _ = prepare(proxy, text, self.folder / proxy, {"80": port, "443": port})
        self.start(name, list(map(str, command)), port)


def throughput(port: int, path: str, seconds: int) -> float:
    """Return the requests in a second that wrk gets from 8 connections."""
    command = ["wrk", "-t1", "-c8", f"-d{seconds}s", f"http://127.0.0.1:{port}{path}"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return float(re.findall(r"Requests/sec:\s*([\d.]+)", output)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the ways to use more cores with one serve process.")
    parser.add_argument("--quick", action="store_true", help="fewer turns, noisier")
    options = parser.parse_args()
    missing = [program for program in ("wrk", "haproxy", "nginx") if not shutil.which(program)]
    if sys.platform != "linux" or missing:
        sys.exit(f"this benchmark needs Linux, and {', '.join(missing)}")
    warn_if_busy()
    turns, seconds = (3, 1) if options.quick else (8, 2)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        site = Site(Path(name), stack)
        hosts = [site.serve(ONE, "one.toml"), site.serve("the second host", "one.toml")]
        del site.ports["the second host"]
        site.serve("`serve`, `workers = 2` on the mount", "own.toml")
        site.gunicorn("gunicorn gthread, 2 workers")
        site.granian("Granian, 2 workers")
        site.behind("nginx in front of one `serve`", "nginx", hosts[:1])
        shutil.move(site.folder / "nginx", site.folder / "nginx-one")
        site.behind("nginx in front of two `serve`", "nginx", hosts)
        site.behind("HAProxy in front of two `serve`", "haproxy", hosts)
        ratios: dict[tuple[str, str], list[float]] = {}
        for turn in range(turns):
            progress(f"turn {turn + 1} of {turns}")
            for path in PATHS:
                for server, port in site.ports.items():
                    # The single process before each, so that other programs disturb both equally.
                    one = throughput(site.ports[ONE], path, seconds)
                    ratios.setdefault((server, path), []).append(throughput(port, path, seconds) / one)
    rows = [[server, *(f"{statistics.median(ratios[server, path]):.2f}" for path in PATHS)] for server in site.ports]
    print(Table(["Requests a second, to one `serve` process", *PATHS.values()], rows).markdown())


if __name__ == "__main__":
    main()
