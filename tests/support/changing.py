"""A server that changes while it serves: its table, its apps, and the process that serves."""

from __future__ import annotations

import itertools
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from support.client import Client
from support.draining import NOTHING_LOST
from support.running import MountpointServe

#: An app that responds with the version in its source, its process id, and a count of its requests.
WHO = """
import os
from wsgiref.validate import validator
def make(version={version!r}):
    count = 0
    def app(environ, start_response):
        nonlocal count
        count += 1
        body = f"{{version}} {{os.getpid()}} {{count}}".encode()
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [body]
    return validator(app)
"""
#: A module whose import lasts until the file "go" exists.
SLOW_IMPORT = """
import sys, time
from pathlib import Path
print("importing", file=sys.stderr, flush=True)
while not Path("go").exists():
    time.sleep(0.01)
"""
WHO_ROW = '"/who" = "who:make()"\n'


_writes = itertools.count(1)


def write_who(folder: Path, version: str) -> None:
    # Each source is longer than the one before: Python reuses the bytecode of a source with the same second and size.
    (folder / "who.py").write_text(WHO.format(version=version) + "#" * next(_writes))


def serving_who(serve: Callable[..., MountpointServe], folder: Path) -> Iterator[Callable[..., MountpointServe]]:
    """Write version 1 of `WHO` and yield a function like *serve*. End every process that took over: for a fixture."""
    write_who(folder, "1")
    servers = []

    def start(*arguments, **options):
        servers.append(serve(*arguments, **options))
        return servers[-1]

    yield start
    for server in servers:
        end_all(server)


def who(server: MountpointServe | str) -> tuple[str, int, int]:
    """Return the version, the process id and the count that `WHO` reports, at *server* or at a URL."""
    with Client(server if isinstance(server, str) else server.url) as client:
        answer = client.get("/who/")
    assert answer.status == 200, answer
    version, pid, count = answer.body.decode().split()
    return version, int(pid), int(count)


def write_table(folder: Path, text: str) -> None:
    """Write the table with an old time of change: a reload waits for a file that has changed just now."""
    (folder / "mounts.toml").write_text(text)
    os.utime(folder / "mounts.toml", (1, 1))


def reload(server: MountpointServe, folder: Path, text: str | None = None) -> str:
    """Make *server* reload its table, changed to *text* if given. Return the log of the reload."""
    if text is not None:
        write_table(folder, text)
    before = len(server.log())
    count = server.log().count("reload ended: ") + 1
    os.kill(serving_pid(server), signal.SIGHUP)
    return server.wait_for("reload ended: ", count=count)[before:]


def coming_up(server: MountpointServe) -> list[int]:
    """Return the ids of the processes that *server* started to take over."""
    return [int(pid) for pid in re.findall(r"process (\d+) is coming up", server.log())]


def serving_pid(server: MountpointServe) -> int:
    """Return the id of the process that serves now."""
    return int([server.pid, *re.findall(r"process (\d+) serves; this one ends", server.log())][-1])


def take_over(server: MountpointServe) -> int:
    """Make a new process take over from the one that serves. Return its id once it serves."""
    count = server.log().count("serves; this one ends") + 1
    os.kill(serving_pid(server), signal.SIGUSR2)
    server.wait_for("serves; this one ends", count=count)
    return serving_pid(server)


def end_all(server: MountpointServe) -> None:
    """End *server* and every process that it started to take over."""
    for pid in coming_up(server):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    server.end()


def assert_all_end(server: MountpointServe, processes: int) -> None:
    """End the process that serves. Assert that all *processes* have ended and lost no request."""
    os.kill(serving_pid(server), signal.SIGTERM)
    assert server.wait() == 0  # also waits for every process that has its pipes
    assert server.log().count(NOTHING_LOST) == processes
    assert not re.search("Exception in thread|in a loop callback", server.log())


def status_of(server: MountpointServe, path: str) -> int:
    """Return the status of the response to a GET request for *path*."""
    with Client(server.url) as client:
        return client.get(path).status
