"""SIGUSR2: signals during a takeover, and the state that a chain of processes inherits."""

import re
import signal
import socket
import sys
import time
from pathlib import Path

import pytest
from support.changing import (
    SLOW_IMPORT,
    WHO_ROW,
    assert_all_end,
    coming_up,
    end_all,
    serving_pid,
    take_over,
    who,
    write_table,
    write_who,
)
from support.client import TABLE, Client
from support.draining import NOTHING_LOST
from support.sources import LINTED
from support.waiting import TIMEOUT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGUSR2")

SITE = TABLE + WHO_ROW


# -------------------------------------------------------------------------------------------- signals during a takeover


def test_a_sigterm_while_the_new_process_starts_ends_both(serve_who, tmp_path):
    server = serve_who(SITE)
    with Client(server.url) as client:
        client.request("/app/hold/it")
        server.wait_for("holding it")
        (tmp_path / "who.py").write_text(SLOW_IMPORT)
        server.send(signal.SIGUSR2)
        server.wait_for("importing")
        server.send(signal.SIGTERM)
        server.wait_for("draining")
        (tmp_path / "it").touch()
        assert client.answer().body == b"held it"
    assert server.wait() == 0
    assert NOTHING_LOST in server.log()


def test_a_sigterm_at_the_moment_of_the_takeover_loses_no_request(serve_who, tmp_path):
    server = serve_who(SITE)
    with Client(server.url) as client:
        client.request("/app/hold/it")
        server.wait_for("holding it")
        server.send(signal.SIGUSR2)
        server.wait_for("is coming up")
        server.send(signal.SIGSTOP)
        server.wait_for("serving on", count=2)  # it handles both after SIGCONT
        server.send(signal.SIGTERM)
        server.send(signal.SIGCONT)
        server.wait_for("draining")
        (tmp_path / "it").touch()
        assert client.answer().body == b"held it"
    assert server.process.wait() == 0
    end_all(server)


def test_an_old_process_that_gets_sigterm_finishes_its_requests(serve_who, tmp_path):
    server = serve_who(SITE)
    with Client(server.url) as client:
        client.request("/app/hold/it")
        server.wait_for("holding it")
        take_over(server)
        server.wait_for("draining")
        server.send(signal.SIGTERM)
        server.send(signal.SIGUSR2)
        server.wait_for("no new process is started: this one is stopping already")
        (tmp_path / "it").touch()
        assert client.answer().body == b"held it"
    assert server.process.wait() == 0
    assert who(server)[1] == serving_pid(server)
    assert_all_end(server, 2)


def test_a_process_that_drains_starts_no_new_one(serve_who, tmp_path):
    server = serve_who(SITE)
    with Client(server.url) as client:
        client.request("/app/hold/it")
        server.wait_for("holding it")
        server.send(signal.SIGTERM)
        server.wait_for("draining")
        server.send(signal.SIGUSR2)
        server.wait_for("no new process is started: this one is stopping already")
        (tmp_path / "it").touch()
        assert client.answer().body == b"held it"
    assert server.wait() == 0
    assert coming_up(server) == []
    assert "Traceback" not in server.log()


# ------------------------------------------------------------------------------------------------- a chain of takeovers

INSIDE = (
    """
import json, os, subprocess, sys
def app(environ, start_response):
    if environ["PATH_INFO"] == "/mangle":
        os.environ.clear()
        os.chdir("/")
    code = "import json, os; print(json.dumps([sorted(os.environ), os.listdir('/proc/self/fd')]))"
    child = subprocess.run([sys.executable, "-c", code], close_fds=False, capture_output=True, check=True)
    seen = {
        "variables": sorted(os.environ), "folder": os.getcwd(), "child": json.loads(child.stdout),
        "descriptors": len(os.listdir("/proc/self/fd")), "warnings": sys.warnoptions,
    }
    body = json.dumps(seen).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
"""
    + LINTED
)


def test_a_chain_of_takeovers_hands_over_only_the_sockets(serve_who, tmp_path):
    (tmp_path / "inside.py").write_text(INSIDE)
    write_table(tmp_path, SITE + '"/inside" = "inside:app"\n')
    server = serve_who(Path("mounts.toml"), env={"OF_THE_OPERATOR": "1", "PYTHONWARNINGS": "default"})

    def inside(path="/inside/"):
        with Client(server.url) as client:
            answer = client.get(path)
        assert answer.status == 200
        return answer.body

    before = inside()
    assert b"OF_THE_OPERATOR" in before
    assert b"MOUNTPOINT" not in before
    processes = [server.pid]
    for _ in range(3):
        assert inside("/inside/mangle") != before
        processes.append(take_over(server))
        assert inside() == before
    assert len(set(processes)) == 4
    server.process.wait()
    assert_all_end(server, 4)
    deadline = time.monotonic() + TIMEOUT
    while any(map(is_alive, processes[1:])):  # they close their pipes a moment before they end
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"  # init may reap it late
    except FileNotFoundError:
        return False


def test_the_new_process_starts_with_the_same_console_script(start, tmp_path):
    script = Path(sys.executable).with_name("mountpoint")
    if not script.exists():
        pytest.skip("mountpoint is not installed")
    write_who(tmp_path, "1")
    write_table(tmp_path, SITE)
    (tmp_path / "bin").symlink_to(script.parent)
    server = start(["bin/mountpoint", "serve", "--listen", "127.0.0.1:0", "--no-access-log"], cwd=tmp_path)
    try:
        server.url = re.findall(r"serving on (\S+)/", server.wait_for("serving on"))[0]
        pid = take_over(server)
        assert who(server)[1] == pid
        assert '"GET /who/' not in server.log()
    finally:
        end_all(server)


#: Makes a new process wait at the start of Python until the file "start" exists.
WAIT_AT_START = """
import os, sys, time
if "MOUNTPOINT_TAKEOVER" in os.environ:
    print("starting", file=sys.stderr, flush=True)
    while not os.path.exists("start"):
        time.sleep(0.01)
"""


@pytest.mark.parametrize("fails", [False, True], ids=["works", "fails"])
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_the_new_process_takes_over_from_one_that_was_killed_before_it_starts(
    serve_who, tmp_path, socket_path, kind, fails
):
    (tmp_path / "sitecustomize.py").write_text(WAIT_AT_START)
    address = "127.0.0.1:0" if kind == "tcp" else f"unix:{socket_path}"
    server = serve_who(SITE, "--listen", address, env={"PYTHONPATH": str(tmp_path)})
    url = server.urls[0]
    server.send(signal.SIGUSR2)
    server.wait_for("starting")
    [pid] = coming_up(server)
    server.send(signal.SIGKILL)
    server.process.wait()
    if fails:  # with the old process gone, nothing else serves the other mounts
        (tmp_path / "who.py").write_text("1 / 0\n")
    (tmp_path / "start").touch()
    server.wait_for("serving on", count=2)
    if fails:
        with Client(url) as client:
            assert [client.get(path).status for path in ("/who/", "/app/")] == [503, 200]
    else:
        assert who(url) == ("1", pid, 1)


@pytest.mark.parametrize("text", ["{", "null", '{"pid": 1}', "[" * 100_000])
def test_a_garbled_takeover_variable_is_an_error(serve, text):
    server = serve(TABLE, env={"MOUNTPOINT_TAKEOVER": text}, wait=False)
    assert server.wait() == 1
    assert "MOUNTPOINT_TAKEOVER: expected a text from a server that hands over its sockets, found '" in server.log()
    assert "Traceback" not in server.log()


def test_a_takeover_variable_of_another_process_is_ignored(serve_who):
    with socket.create_server(("127.0.0.1", 0)) as other:
        left = f'{{"pid": 1, "sockets": [["127.0.0.1:0", {other.fileno()}]], "ready": 1, "working": ["/app"]}}'
        server = serve_who(SITE, env={"MOUNTPOINT_TAKEOVER": left}, pass_fds=[other.fileno()])
        assert server.port != other.getsockname()[1]
    assert who(server)[1] == server.pid
