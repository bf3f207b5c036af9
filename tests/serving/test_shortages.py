"""A process that runs out of disk or descriptors, and one whose listening socket an app has closed.

Limits of the process stand in for a full disk and a full table of files: RLIMIT_FSIZE gives EFBIG where a full disk
gives ENOSPC.
"""

import re
import sys
from contextlib import ExitStack

import pytest
from support.client import PROBE, Client
from support.measuring import cpu_share

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the tests read /proc")

APP = """
import os, resource, socket, stat, sys, tempfile

def app(environ, start_response):
    what, _, argument = environ["PATH_INFO"].strip("/").partition("/")
    if what in ("disk", "room"):  # full, and empty again: coverage's data needs room at the end
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000 if what == "disk" else hard, hard))
    elif what == "no-folder":
        tempfile.tempdir = "/missing"
    elif what == "files":
        limit = len(os.listdir("/proc/self/fd")) - 1 + int(argument)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    elif what == "close":
        os.close(listening())
    elif what == "replace":
        os.dup2(os.open("/dev/zero", os.O_RDONLY), listening())
    elif what == "shutdown":
        sock = socket.socket(fileno=listening())
        sock.shutdown(socket.SHUT_RD)
        sock.detach()
    elif what == "closerange":
        os.closerange(3, 1000)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]

def listening():
    for number in range(3, 100):
        try:
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                with socket.socket(fileno=os.dup(number)) as sock:
                    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                        return number
        except OSError:
            pass
"""


@pytest.fixture
def server(serve, tmp_path):
    (tmp_path / "short.py").write_text(APP)
    return serve(f'[server]\nthreads = 4\n[mounts]\n"/short" = "short:app"\n"/sibling" = "{PROBE}:app"\n')


def ask(server, path):
    with Client(server.url) as client:
        return client.get(path)


# ---------------------------------------------------------------------------------------------------------------- disk


@pytest.mark.parametrize("shortage", ["disk", "no-folder"])
@pytest.mark.parametrize("kind", ["sized", "streamed"])
def test_a_response_that_cannot_be_stored_is_cut_off(server, connect, shortage, kind):
    assert ask(server, f"/short/{shortage}").status == 200
    client = connect(server, f"/sibling/{kind}/100000000", buffer=4096)
    log = server.wait_for(re.compile(r"cut off: no room to store .*\n"))
    assert f"'GET /sibling/{kind}/100000000 HTTP/1.1' of 127.0.0.1, mount /sibling" in log
    with pytest.raises(ConnectionError):
        client.answer()
    assert cpu_share(server) < 0.2
    assert ask(server, "/sibling/").status == 200
    assert ask(server, "/sibling/sized/500000").status == 200
    assert ask(server, "/short/room").status == 200
    assert server.stop() == 0
    assert server.log().count("no room to store") == 1
    assert server.log().count(f'"GET /sibling/{kind}/100000000 HTTP/1.1" 200 ') == 1
    assert "Traceback" not in server.log()
    assert "Client disconnected" not in server.log()


@pytest.mark.parametrize("shortage", ["disk", "no-folder"])
@pytest.mark.parametrize("framing", ["sized", "chunked"])
def test_a_body_that_cannot_be_stored_gets_507(server, connect, shortage, framing):
    assert ask(server, f"/short/{shortage}").status == 200
    for _ in range(3):
        client = connect(server)
        header = "Content-Length: 10000000" if framing == "sized" else "Transfer-Encoding: chunked"
        client.request("/sibling/upload", header, method="POST")
        client.send(b"989680\r\n" * (framing == "chunked") + bytes(10_000_000))
        answer = client.answer()
        assert (answer.status, answer.closes) == (507, True)
    assert ask(server, "/sibling/").status == 200
    assert ask(server, "/short/room").status == 200
    assert server.stop() == 0
    assert server.log().count("no room to store the body of 'POST /sibling/upload HTTP/1.1'") == 3
    assert "Traceback" not in server.log()


# --------------------------------------------------------------------------------------------------------- descriptors


def test_without_descriptors_the_server_pauses_and_says_so_once(server):
    with ExitStack() as stack:
        first = stack.enter_context(Client(server.url))
        assert first.get("/short/files/10").status == 200
        clients = [stack.enter_context(Client(server.url)) for _ in range(30)]
        for client in clients:
            client.request("/sibling/")
        server.wait_for("cannot accept connections for now")
        assert cpu_share(server) < 0.2
        assert first.get("/sibling/").status == 200
        while clients:  # each that is closed makes room for the next
            client = clients.pop(0)
            assert client.answer().status == 200
            client.close()
    assert ask(server, "/sibling/").status == 200
    assert server.stop() == 0
    assert server.log().count("cannot accept connections for now, trying once a second: [Errno 24]") == 1
    assert "Traceback" not in server.log()


# --------------------------------------------------------------------------------------------------- a listening socket


@pytest.mark.parametrize("how", ["close", "replace", "shutdown"])
def test_a_lost_listening_socket_ends_the_process_with_1(server, tmp_path, how):
    with Client(server.url) as held, Client(server.url) as client:
        held.request("/sibling/hold/go")
        server.wait_for("holding go")
        assert client.get(f"/short/{how}").status == 200
        server.wait_for(
            re.compile(r"the process ends: an app has closed the descriptor that listens on 127\.0\.0\.1:0\n")
        )
        (tmp_path / "go").touch()
        assert held.answer().status == 200  # requests in flight are finished
    assert server.wait() == 1
    assert "Traceback" not in server.log()


def test_an_app_that_closes_every_descriptor_ends_the_process_with_1(server):
    with Client(server.url) as client:
        client.request("/short/closerange")
        assert server.wait() == 1
    assert server.log().count("the process ends: ") == 1
