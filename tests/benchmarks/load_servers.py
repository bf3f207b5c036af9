"""The servers of the load benchmark, each with the same app and number of threads, in one process.

The app answers ``/`` with one line, ``/big`` with 100 KB, and reads the body of any request.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from children import script

THREADS = 8
BACKLOG = 1_024
CONNECTION_LIMIT = 4_000
IDLE_TIMEOUT = 3_600  # seconds: no idle connection is closed during a run
SIBLINGS = 4  # mounts beside /app: with only one mount, the queues would have nothing to share
APP = """\
BIG = b"x" * 100_000

def app(environ, start_response):
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    body = BIG if environ["PATH_INFO"].endswith("/big") else b"Hello, world!\\n"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"""
EMBEDDED = """\
import mountpoint

app = mountpoint.load("mounts.toml")
"""


@dataclass(frozen=True)
class Server:
    """A server of the benchmark. *command* makes its command line for a port, with or without an access log."""

    name: str
    package: str  # the name of its package, in Python and on PyPI
    command: Callable[[int, bool], Sequence[str]]
    extra: str = "test"  # of mountpoint, that installs the package

    @property
    def is_installed(self) -> bool:
        return importlib.util.find_spec(self.package) is not None

    @property
    def version(self) -> str:
        return f"{self.package} {version(self.package)}"


def _child(kind: str) -> Callable[[int, bool], list[str]]:
    """Return a function that makes the command line of this file, which serves with *kind*."""

    def command(port: int, logs: bool) -> list[str]:
        return [sys.executable, str(Path(__file__).resolve()), kind, str(port), *(["--access-log"] if logs else [])]

    return command


def _ours(port: int, logs: bool) -> list[str]:
    table = "logged.toml" if logs else "mounts.toml"
    return [script("mountpoint"), "serve", table, "--listen", f"127.0.0.1:{port}", "--threads", str(THREADS)]


def _gunicorn(app: str) -> Callable[[int, bool], list[str]]:
    def command(port: int, logs: bool) -> list[str]:
        options = {
            "bind": f"127.0.0.1:{port}",
            "workers": 1,
            "worker-class": "gthread",
            "threads": THREADS,
            "keep-alive": IDLE_TIMEOUT,
            "worker-connections": CONNECTION_LIMIT,
            "backlog": BACKLOG,
            "log-level": "warning",
        }
        return [script("gunicorn"), *(f"--{name}={value}" for name, value in options.items()), app]

    return command


def _granian(port: int, logs: bool) -> list[str]:
    options = {
        "interface": "wsgi",
        "host": "127.0.0.1",
        "port": port,
        "http": 1,
        "workers": 1,
        "blocking-threads": THREADS,
        "backlog": BACKLOG,
        "log-level": "warning",
    }
    return [script("granian"), *(f"--{name}={value}" for name, value in options.items()), "--no-ws", "hello:app"]


BARE = Server("bare waitress", "waitress", _child("waitress"))
OURS = Server("mountpoint serve", "mountpoint", _ours)
WITHOUT_IDLE = Server("mountpoint serve without idle connections", "mountpoint", _ours)  # beside a row that has some
PEERS = (
    Server("cheroot", "cheroot", _child("cheroot")),
    Server("gunicorn gthread", "gunicorn", _gunicorn("hello:app")),
    Server("gunicorn with mountpoint.load", "gunicorn", _gunicorn("embedded:app")),
)
GRANIAN = Server("granian", "granian", _granian, extra="benchmark")


def write_files(folder: Path) -> None:
    """Write the app and the tables of the servers into *folder*."""
    (folder / "hello.py").write_text(APP)
    (folder / "embedded.py").write_text(EMBEDDED)
    keys = ["/app", *(f"/sibling{number}" for number in range(SIBLINGS))]
    mounts = "[mounts]\n" + "".join(f'"{key}" = "hello:app"\n' for key in keys)
    for name, logs in (("mounts.toml", "false"), ("logged.toml", "true")):
        settings = (
            f"[server]\naccess_log = {logs}\nconnection_limit = {CONNECTION_LIMIT}\nchannel_timeout = {IDLE_TIMEOUT}\n"
        )
        (folder / name).write_text(settings + mounts)


def serve_waitress(port: int, logs: bool) -> None:
    """Serve hello.py in the working folder with waitress alone, or with the access log of mountpoint too."""
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

    if logs:
        TcpWSGIServer.channel_class = LoggingChannel
        configure_logging("info")
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # one line for each request that waits
    from hello import app

    serve(
        app,
        host="127.0.0.1",
        port=port,
        threads=THREADS,
        backlog=BACKLOG,
        connection_limit=CONNECTION_LIMIT,
        channel_timeout=IDLE_TIMEOUT,
        asyncore_use_poll=True,
        clear_untrusted_proxy_headers=False,
        _quiet=True,
    )


def serve_cheroot(port: int) -> None:
    """Serve hello.py in the working folder with cheroot, which keeps ten idle connections unless told otherwise."""
    from cheroot.wsgi import Server as CherootServer
    from hello import app

    server = CherootServer(
        ("127.0.0.1", port), app, numthreads=THREADS, request_queue_size=BACKLOG, timeout=IDLE_TIMEOUT
    )
    server.keep_alive_conn_limit = CONNECTION_LIMIT
    server.safe_start()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["waitress", "cheroot"])
    parser.add_argument("port", type=int)
    parser.add_argument("--access-log", action="store_true")
    options = parser.parse_args()
    sys.path.insert(0, str(Path.cwd()))
    if options.kind == "cheroot":
        serve_cheroot(options.port)
    else:
        serve_waitress(options.port, options.access_log)
