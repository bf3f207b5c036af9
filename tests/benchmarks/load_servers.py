"""The servers of the load benchmark, each as the command of one process with the same app and number of threads.

The app answers ``/`` with one line, ``/big`` with 100 KB, and reads the body of any request.
"""

from __future__ import annotations

import http.client
import logging
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from children import PATIENCE, script

HERE = Path(__file__).resolve().parent
THREADS = 8
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
    command: Callable[[int, bool], Sequence[str]]


def _bare(port: int, logs: bool) -> list[str]:
    code = (
        f"import sys; sys.path.insert(0, {str(HERE)!r}); import load_servers; load_servers.serve_bare({port}, {logs})"
    )
    return [sys.executable, "-c", code]


def _ours(port: int, logs: bool) -> list[str]:
    table = "logged.toml" if logs else "mounts.toml"
    return [script("mountpoint"), "serve", table, "--listen", f"127.0.0.1:{port}", "--threads", str(THREADS)]


BARE = Server("waitress, bare", _bare)
OURS = Server("mountpoint serve", _ours)


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


def wait_until_ready(port: int) -> None:
    """Wait until the app responds. While it loads, mountpoint responds 503."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
            connection.request("GET", "/app/")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.01)
    sys.exit(f"no response 200 from port {port} within {PATIENCE} s")


def serve_bare(port: int, logs: bool) -> None:
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
    sys.path.insert(0, str(Path.cwd()))
    from hello import app

    serve(
        app,
        host="127.0.0.1",
        port=port,
        threads=THREADS,
        connection_limit=CONNECTION_LIMIT,
        channel_timeout=IDLE_TIMEOUT,
        asyncore_use_poll=True,
        clear_untrusted_proxy_headers=False,
        _quiet=True,
    )
