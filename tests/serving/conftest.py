"""Fixtures of the served tests: real processes, a real nginx, a real browser, and connections to a server."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.changing import serving_who
from support.client import APPS, Client
from support.proxies import make_certificate
from support.running import MountpointServe, Serving, browser, chromium, lacking, nginx, serve, socket_path, start

__all__ = ["browser", "chromium", "lacking", "nginx", "serve", "socket_path", "start"]


@pytest.fixture
def serve_who(serve: Callable[..., MountpointServe], tmp_path: Path) -> Iterator[Callable[..., MountpointServe]]:
    """Serve with version 1 of the app of `who`. End every process that took over."""
    yield from serving_who(serve, tmp_path)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the files of a certificate for localhost and of its key."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def stock_waitress(start: Callable[..., Serving], tmp_path: Path) -> Callable[..., Serving]:
    """Return ``stock_waitress(*options)``, which serves the app of probe.py with waitress alone, as a control."""

    def stock_waitress(*options: str) -> Serving:
        command = [sys.executable, "-m", "waitress", "--listen=127.0.0.1:0", *options, "probe:app"]
        server = start(command, cwd=tmp_path, env={"PYTHONPATH": str(APPS)})
        log = server.wait_for(re.compile(r"Serving on \S+\n"))
        server.url = log.rpartition("Serving on ")[2].strip()
        return server

    return stock_waitress


@pytest.fixture
def release(tmp_path: Path) -> Callable[[str], None]:
    """Return ``release(name)``, which creates the file *name*: a request for ``/hold/name`` waits for it."""
    return lambda name: (tmp_path / name).touch()


@pytest.fixture
def connect() -> Iterator[Callable[..., Client]]:
    """Return ``connect(server, path, method, buffer=)``, which connects, and sends a request if *path* is given."""
    with ExitStack() as stack:

        def connect(
            server: MountpointServe, path: str | None = None, method: str = "GET", *, buffer: int | None = None
        ) -> Client:
            client = stack.enter_context(Client(server.url, buffer=buffer))
            if path is not None:
                client.request(path, method=method)
            return client

        yield connect


@pytest.fixture
def connect_each(connect: Callable[..., Client]) -> Callable[..., list[Client]]:
    """Return ``connect_each(server, paths)``, which requests each path on a connection of its own."""

    def connect_each(server: MountpointServe, paths: Sequence[str]) -> list[Client]:
        return [connect(server, path) for path in paths]

    return connect_each
