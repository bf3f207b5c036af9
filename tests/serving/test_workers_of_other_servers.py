"""The table under other servers with several workers, and their own reload."""

from __future__ import annotations

import importlib.util
import signal
import sys
import threading

import pytest
from support.proxies import listens, reserved_ports
from support.running import Serving
from support.waiting import wait_until

if sys.platform == "win32":
    pytest.skip("gunicorn and Granian need a Unix system to reload", allow_module_level=True)

CLIENTS = 4
APP = """
import os

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {environ['SCRIPT_NAME']}".encode()]
"""
TABLE = '[mounts]\n"/a" = "one:app"\n"/b" = "two:app"\n'
OPTIONS = {
    "gunicorn": "--bind 127.0.0.1:PORT --workers 2 --worker-class gthread --threads 4",
    "granian": "--interface wsgi --host 127.0.0.1 --port PORT --workers 2 --blocking-threads 4 --respawn-interval 0.1",
}


class Visitor(threading.Thread):
    """A client that asks for both mounts in turns, each time on a new connection, until `stopped` is set."""

    def __init__(self, server: Serving) -> None:
        super().__init__()
        self.server = server
        self.stopped = threading.Event()
        self.pids: set[int] = set()
        self.done = self.refused = 0
        self.failures: list[str] = []

    def run(self) -> None:
        while not self.stopped.is_set():
            mount = "/ab"[self.done % 2 + 1]
            try:
                response = self.server.request(f"/{mount}/")
                pid, script_name = response.text.split()
                assert (response.status, script_name) == (200, f"/{mount}")
                self.pids.add(int(pid))
            except ConnectionError:
                self.refused += 1
            except Exception as error:
                self.failures.append(repr(error))
            self.done += 1


@pytest.mark.parametrize("name", OPTIONS)
def test_another_server_serves_the_table_with_two_workers_and_reloads(start, tmp_path, lacking, name):
    if importlib.util.find_spec(name) is None:
        lacking(f"pip install {name}")
    for module in ("one", "two"):
        (tmp_path / f"{module}.py").write_text(APP)
    (tmp_path / "mounts.toml").write_text(TABLE)
    (tmp_path / "site_app.py").write_text("from mountpoint import load\napplication = load('mounts.toml')\n")
    with reserved_ports() as ports:
        options = OPTIONS[name].replace("PORT", str(ports["80"])).split()
        server = start([sys.executable, "-m", name, *options, "site_app:application"], cwd=tmp_path)
        wait_until(lambda: listens(ports["80"]))
    server.url = f"http://127.0.0.1:{ports['80']}"
    visitors = [Visitor(server) for _ in range(CLIENTS)]

    def pids() -> set[int]:
        return set().union(*(visitor.pids for visitor in visitors))

    for visitor in visitors:
        visitor.start()
    try:
        wait_until(lambda: len(pids()) == 2)
        old = pids()
        server.send(signal.SIGHUP)
        wait_until(lambda: len(pids() - old) == 2)
    finally:
        for visitor in visitors:
            visitor.stopped.set()
        for visitor in visitors:
            visitor.join()
    assert [failure for visitor in visitors for failure in visitor.failures] == []
    if name == "gunicorn":
        # Granian stops an old worker after --respawn-interval, even if the new one does not listen yet.
        assert sum(visitor.refused for visitor in visitors) == 0
