"""Children that apps fork: they have no signal handler and no socket of the server, and end with their own code."""

import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from support.apps.forking_app import LEFT
from support.client import Client, app_file, wait_until_refused
from support.running import serving
from support.waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")

TABLE = f"""
[server]
threads = 4
drain_timeout = 2
[mounts]
"/app" = "{app_file("forking_app")}:app"
[mounts."/own"]
app = "{app_file("own_app")}:app"
process = "own"
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(TABLE, tmp_path_factory.mktemp("forking")) as server:
        yield server


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# ------------------------------------------------------------------------------------------- signals and descriptors


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
@pytest.mark.parametrize("way", ["fork", "process", "subprocess", "preexec", "posix-spawn"])
def test_a_child_has_no_socket_and_no_signal_handler_of_the_server(server, way):
    with Client(server.url) as idle, Client(server.url) as client:
        assert idle.get("/app/fork").status == 200
        server.wait_for("is ready after")
        assert idle.get("/own/").status == 200  # a connection to the worker, beside its control socket and its output
        files = Path(f"/proc/{server.pid}/fd")
        standard, ours = set(), set()
        for file in files.iterdir():
            (standard if int(file.name) < 3 else ours).add(os.readlink(file))  # noqa: PTH115 - not a path
        descriptors, mask, handlers = json.loads(client.get(f"/app/{way}").body)
    assert sum(name.startswith("socket:") for name in ours) >= 5  # the listener, and the connections
    assert {name for name in ours - standard if not name.startswith("/")} & {*descriptors} == set()
    assert mask == []
    assert handlers.pop(1) == "<built-in function default_int_handler>"
    assert {*handlers} == {"<Handlers.SIG_DFL: 0>"}


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_and_pools_of_a_request_end(server, method):
    with Client(server.url) as client:
        assert client.get(f"/app/terminated-{method}").body == b"-15"
        assert client.get(f"/app/pooled-{method}").body == b"[1, 4, 9]"


@pytest.mark.parametrize("kind", ["kept", "kept-by-fork"])
def test_a_running_child_keeps_neither_connections_nor_the_port(serve, kind):
    server = serve(TABLE)
    with Client(server.url) as idle, Client(server.url) as client:
        assert idle.get("/app/fork").status == 200
        server.wait_for("is ready after")
        assert idle.get("/own/").status == 200  # a connection to the worker, beside its control socket and its output
        client.request(f"/app/{kind}", "Connection: close")
        child = int(client.answer().body)
        try:
            assert client.is_closed()
            assert server.stop() == 0
            assert idle.is_closed()
            wait_until_refused(server.url)
            if kind == "kept":
                wait_until(lambda: not is_running(child))
        finally:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


# --------------------------------------------------------------------------------------- children that leave their code


@pytest.mark.parametrize("name", LEFT)
def test_a_child_that_leaves_the_app_sends_nothing_and_ends(server, name):
    before = server.log().count(" HTTP/1.1")
    with Client(server.url) as client:
        for _ in range(2):  # a second response of the child would be taken for that of the next request
            body = client.get(f"/app/{name}").body
            assert body in (b"1", b"begun 1", b"begun 1 done", b"closed") or (name == "interrupts" and body == b"-2")
        assert client.get("/app/fork").status == 200
    server.wait_for(" HTTP/1.1", count=before + 3)
    assert server.log().count(" HTTP/1.1") == before + 3


@pytest.mark.parametrize(
    ("name", "error"), [("execs", "FileNotFoundError"), ("closes-and-raises", "ZeroDivisionError")]
)
def test_the_exception_of_a_child_is_logged(server, name, error):
    line = "a child process that an app has forked ends: it has left the app's code"
    before = server.log().count(line)
    with Client(server.url) as client:
        assert client.get(f"/app/{name}").status == 200
    log = server.wait_for(line, count=before + 1)
    server.wait_for(f"\n{error}: ", count=log.count(f"\n{error}: ") or 1)


# ---------------------------------------------------------------------------------------------------- during the load

APP = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(child.pid if hasattr(child, "pid") else child).encode()]
"""
LOADS = {
    "process": "import multiprocessing, time\n"
    'child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))\nchild.start()\n',
    "spawned process": "import multiprocessing, time\n"
    'child = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,))\nchild.start()\n',
    "pool": 'import multiprocessing\nchild = multiprocessing.get_context("fork").Pool(2)\n',
    "daemon": "import multiprocessing, time\n"
    'child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,), daemon=True)\nchild.start()\n',
    "fork that returns": "import os\nchild = os.fork()\n",
    "fork that raises": 'import os\nchild = os.fork()\nif not child:\n    os.execvp("/missing", ["missing"])\n',
}


@pytest.mark.parametrize("load", LOADS)
def test_check_ends_although_an_app_starts_a_process_while_it_loads(start, tmp_path, load):
    (tmp_path / "one.py").write_text(LOADS[load] + APP)
    (tmp_path / "two.py").write_text(APP.replace("child.pid", "0").replace("child", "0"))
    (tmp_path / "mounts.toml").write_text('[mounts]\n"/one" = "one:app"\n"/two" = "two:app"\n')
    check = start([sys.executable, "-m", "mountpoint", "check"], cwd=tmp_path)
    assert check.wait() == 0  # waits for the end of its output too, which a child would keep open
    assert check.out().count("ready") == 2
    assert check.out().count("2 mounts, 0 problems") == 1


@pytest.mark.parametrize("load", LOADS)
def test_a_server_ends_although_an_app_starts_a_process_while_it_loads(serve, tmp_path, load):
    (tmp_path / "one.py").write_text(LOADS[load] + APP)
    server = serve('[server]\ndrain_timeout = 1\n[mounts]\n"/one" = "one:app"\n')
    with Client(server.url) as client:
        assert client.get("/one/").status == 200
    assert server.stop() == 0
    wait_until_refused(server.url)
    assert server.log().count("serving on") == 1
