"""Real processes for the tests: `mountpoint serve` and other servers, nginx, a browser.

A thread reads the output of each child all the time. A test ends a child by its process id, and fails if a process
that the child started is still running: such a process shares the pipes of the child, so they stay open.
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import IO, NoReturn

import pytest

from support.response import Response
from support.waiting import TIMEOUT


class Child:
    """A child process. `log` returns its stderr, `out` its stdout."""

    def __init__(self, command: Sequence[str | Path], *, env: Mapping[str, str] | None, cwd: Path | None, **options):
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            **options,
        )
        self.pid = self.process.pid
        self._news = threading.Condition()
        self._out, self._log = bytearray(), bytearray()
        pipes = ((self.process.stdout, self._out), (self.process.stderr, self._log))
        self._readers = [threading.Thread(target=self._read, args=pipe, daemon=True) for pipe in pipes]
        for reader in self._readers:
            reader.start()

    def _read(self, pipe: IO[bytes], into: bytearray) -> None:
        with pipe:
            while data := os.read(pipe.fileno(), 65536):
                with self._news:
                    into += data
                    self._news.notify_all()

    def out(self) -> str:
        """Return stdout as written so far."""
        return self._out.decode(errors="replace").replace("\r\n", "\n")

    def log(self) -> str:
        """Return stderr as written so far."""
        return self._log.decode(errors="replace").replace("\r\n", "\n")

    def wait_for(self, text: str | re.Pattern[str], *, count: int = 1, timeout: float = TIMEOUT) -> str:
        """Wait until *text* is in the log *count* times, and return the log. Fails if the child ends first."""
        pattern = re.compile(re.escape(text)) if isinstance(text, str) else text
        deadline = time.monotonic() + timeout
        with self._news:
            while True:
                ended = not any(reader.is_alive() for reader in self._readers)  # before the look at the log
                if len(pattern.findall(self.log())) >= count:
                    return self.log()
                if ended:
                    pytest.fail(f"the child ended with code {self.wait()} and did not log {text!r}:\n{self.log()}")
                if time.monotonic() > deadline:
                    pytest.fail(f"the child did not log {text!r} within {timeout} s:\n{self.log()}")
                self._news.wait(0.1)

    def wait(self, timeout: float = TIMEOUT) -> int:
        """Wait until the child has ended and its output is read. Return the exit code."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            pytest.fail(f"the child did not end within {timeout} s:\n{self.log()}")
        for reader in self._readers:
            reader.join(timeout)
            if reader.is_alive():
                pytest.fail(f"the child ended, and a process that it started is still running:\n{self.log()}")
        return code

    def send(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def stop(self, signal: int = signal.SIGTERM, timeout: float = TIMEOUT) -> int:
        """Send *signal*, wait, and return the exit code."""
        self.send(signal)
        return self.wait(timeout)

    def end(self) -> None:
        """End the child if it still runs. Fails if it had to be killed."""
        if self.process.poll() is None:
            self.send()
            try:
                self.process.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                pytest.fail(f"the child had to be killed:\n{self.log()}")
        self.wait()


class Serving(Child):
    """A child that serves HTTP on 127.0.0.1 at `url`, without a slash at its end, and at `port`."""

    url: str = ""

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def request(
        self, path: str, method: str = "GET", *, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Response:
        """Send one request for the unchanged *path* on a new connection. Redirects are not followed."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)) as connection:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            return Response(response.status, response.headers, response.read())


class MountpointServe(Serving):
    """`mountpoint serve` as a child. `urls` are the addresses that it logged, and `url` is the first of them."""

    @property
    def urls(self) -> list[str]:
        return re.findall(r"^serving on (\S+?)/?$", self.log(), re.MULTILINE)

    @property
    def url(self) -> str:  # type: ignore[override]
        return self.urls[0]

    def wait_until_serving(self) -> None:
        self.wait_for(re.compile(r"^serving on \S+\n", re.MULTILINE))


@contextmanager
def children(kind: type[Child]) -> Iterator[Callable[..., Child]]:
    """Yield a function that starts children of a *kind*. End them all afterwards."""
    with ExitStack() as stack:

        def start(command: Sequence[str | Path], *, env=None, cwd=None, **options) -> Child:
            child = kind(command, env=env, cwd=cwd, **options)
            stack.callback(child.end)
            return child

        yield start


@contextmanager
def serving(table: str, folder: Path, *args: str) -> Iterator[MountpointServe]:
    """Serve *table*, written to ``folder / "mounts.toml"``, for as long as the context lasts."""
    (folder / "mounts.toml").write_text(table, encoding="utf-8")
    with children(MountpointServe) as launch:
        command = [sys.executable, "-m", "mountpoint", "serve", "--listen", "127.0.0.1:0", *args]
        child = launch(command, cwd=folder)
        child.wait_until_serving()
        yield child


@pytest.fixture
def start() -> Iterator[Callable[..., Serving]]:
    """Return ``start(command, env=, cwd=)``, which starts any program as a `Serving` child."""
    with children(Serving) as start:
        yield start


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., MountpointServe]]:
    """Return ``serve(table, *args, env=, cwd=, wait=True)``, which starts `mountpoint serve` and waits until it serves.

    *table* is the path of a file, or a text that is written to ``tmp_path / "mounts.toml"``. The server listens on a
    free port unless the text or ``--listen`` in *args* names an address. Without *wait* the fixture only starts it, for
    a start that fails, or a log level that hides the line which this waits for.
    """

    def serve(table: str | Path, *args: str, wait: bool = True, cwd: Path = tmp_path, **options) -> MountpointServe:
        listens = "--listen" in args
        if isinstance(table, str):
            listens = listens or bool(re.search(r"^\s*listen\s*=", table, re.MULTILINE))
            (tmp_path / "mounts.toml").write_text(table, encoding="utf-8")
            table = tmp_path / "mounts.toml"
        where = [] if listens else ["--listen", "127.0.0.1:0"]
        child = launch([sys.executable, "-m", "mountpoint", "serve", str(table), *where, *args], cwd=cwd, **options)
        if wait:
            child.wait_until_serving()
        return child

    with children(MountpointServe) as launch:
        yield serve


# -------------------------------------------------------------------------------------------------- nginx and a browser


def needed(program: str, package: str) -> str:
    """Return the path of *program*. Without it the test is skipped; with ``CI=true`` it fails."""
    path = shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    return path or _lacking(f"{program} is not installed; with Debian: apt install {package}")


def _lacking(reason: str) -> NoReturn:
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)


@pytest.fixture
def lacking() -> Callable[[str], NoReturn]:
    """Return ``lacking(reason)``, which skips the test, or fails it with ``CI=true``."""
    return _lacking


class Nginx(Serving):
    """nginx as a child. `requests` are the requests that it has answered, as (status, method, target)."""

    access_log: Path

    @property
    def requests(self) -> list[tuple[int, str, str]]:
        lines = self.access_log.read_text().splitlines()
        return [(int(status), *request.split(" ")[:2]) for status, request in (line.split(" ", 1) for line in lines)]


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Callable[[str], Nginx]]:
    """Return ``nginx(site)``, which starts nginx with the ``server`` blocks in *site*, on a free port instead of 80."""
    if sys.platform == "win32":
        pytest.skip("nginx inherits a socket, which Windows does not support")
    program = needed("nginx", "nginx-light")
    folder = tmp_path / "nginx"

    def nginx(site: str) -> Nginx:
        folder.mkdir()
        # nginx inherits a socket that listens already, as in its own upgrade: no other program can take the port, and
        # the test need not wait until nginx listens.
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port, descriptor = listener.getsockname()[1], listener.fileno()
            file = folder / "nginx.conf"
            file.write_text(_nginx_conf(folder, site.replace("listen 80", f"listen 127.0.0.1:{port}")))
            command = [program, "-p", folder, "-c", file, "-e", folder / "error.log"]
            child = launch(command, env={"NGINX": f"{descriptor};"}, pass_fds=[descriptor])
        child.url, child.access_log = f"http://127.0.0.1:{port}", folder / "access.log"
        return child

    with children(Nginx) as launch:
        yield nginx


def _nginx_conf(folder: Path, site: str) -> str:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"  {kind}_temp_path {folder / kind};" for kind in kinds)
    user = "user root;" if os.geteuid() == 0 else ""  # root owns pytest's folders
    return f"""{user}
daemon off;
worker_processes 1;
pid {folder / "nginx.pid"};
events {{}}
http {{
  log_format short "$status $request";
  access_log {folder / "access.log"} short;
{temporary}
{site}
}}
"""


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory):
    """A headless Chromium, driven by selenium, that connects to this machine only."""
    program, driver = needed("chromium", "chromium"), needed("chromedriver", "chromium-driver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (
        "headless",
        "no-sandbox",
        "disable-gpu",
        "disable-quic",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        "disable-dev-shm-usage",
        "no-proxy-server",
        "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "window-size=900,700",
        f"user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # With the path of a driver, selenium does not download one.
    browser = webdriver.Chrome(options, webdriver.ChromeService(executable_path=driver))
    browser.set_page_load_timeout(TIMEOUT)
    yield browser
    browser.quit()


@pytest.fixture
def browser(chromium):
    """The browser, without the cookies, cache, page and logs of the previous test."""
    chromium.get("about:blank")
    chromium.execute_cdp_cmd("Network.clearBrowserCookies", {})
    chromium.execute_cdp_cmd("Network.clearBrowserCache", {})
    for kind in ("browser", "performance"):
        chromium.get_log(kind)
    return chromium


@pytest.fixture
def socket_path() -> Iterator[Path]:
    """Return a short path for a unix socket, since about 100 bytes are the limit."""
    with tempfile.TemporaryDirectory(prefix="mp-") as folder:
        yield Path(folder) / "s.sock"
