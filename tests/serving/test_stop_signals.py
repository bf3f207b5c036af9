"""Stop signals: they work from the first moment, also for process 1, and no app can block them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.changing import SLOW_IMPORT
from support.client import Client
from support.sources import LINTED

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signal masks")

RESPOND = (
    """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]
"""
    + LINTED
)
BLOCKS = "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_app_that_blocks_all_signals_does_not_prevent_the_stop(serve, tmp_path, number):
    (tmp_path / "blocks.py").write_text(BLOCKS + RESPOND)
    server = serve('[mounts]\n"/blocks" = "blocks:app"\n')
    with Client(server.url) as client:
        assert client.get("/blocks/").body == b"ok"
    server.send(signal.SIGHUP)
    server.wait_for("reload ended")
    assert server.stop(number) == 0


# ----------------------------------------------------------------------------------------------------------- process 1


@pytest.fixture
def serve_as_process_1(start, lacking, tmp_path):
    """Return ``serve_as_process_1()``, which loads a slow app as process 1, and returns its id outside as well."""
    inside = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    try:
        works = subprocess.run([*inside, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        works = False
    if not works:
        lacking("unshare may not make a process namespace here")

    def serve_as_process_1():
        (tmp_path / "slow.py").write_text(SLOW_IMPORT + RESPOND)
        (tmp_path / "mounts.toml").write_text('[mounts]\n"/slow" = "slow:app"\n')
        command = [sys.executable, "-m", "mountpoint", "serve", "--listen", "127.0.0.1:0"]
        server = start([*inside, *command], cwd=tmp_path)
        server.wait_for("importing")
        [pid] = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        return server, int(pid)

    return serve_as_process_1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_process_1_stops_while_its_apps_load(serve_as_process_1, number, code):
    server, pid = serve_as_process_1()
    os.kill(pid, number)
    assert server.wait() == code


def test_process_1_drains_once_it_serves_and_refuses_a_takeover(serve_as_process_1, tmp_path):
    server, pid = serve_as_process_1()
    os.kill(pid, signal.SIGUSR2)
    (tmp_path / "go").touch()
    server.wait_for("no new process is started: this one is process 1")
    os.kill(pid, signal.SIGTERM)
    assert server.wait() == 0
    assert "stopped; no request was cut off" in server.log()
