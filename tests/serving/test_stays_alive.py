"""Apps and clients of which each request could take a worker thread for ever, until no thread is left."""

import sys
from contextlib import ExitStack

import pytest
from support.client import PROBE, Client

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")

APP = """
import logging, os, sys, warnings

def app(environ, start_response):
    what = environ["PATH_INFO"].strip("/")
    if what == "stderr":
        sys.stderr.close()
    elif what == "stdout":
        sys.stdout.close()
    elif what == "factory":
        logging.setLogRecordFactory(None)
    elif what == "boom":
        raise RuntimeError(what)
    elif what == "fork":
        warnings.simplefilter("ignore")
        pid = os.fork()
        what = str(pid or "x" * 100_000)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(what)))])
    return [what.encode()]
"""


def ask(server, path):
    with Client(server.url) as client:
        return client.get(path)


@pytest.fixture
def server(serve, tmp_path):
    (tmp_path / "hostile.py").write_text(APP)
    return serve(f'[server]\nthreads = 2\n[mounts]\n"/hostile" = "hostile:app"\n"/sibling" = "{PROBE}:app"\n')


def test_a_closed_stderr_costs_no_response(server):
    assert ask(server, "/hostile/stderr").status == 200
    for _ in range(5):
        assert ask(server, "/sibling/").status == 200
        assert ask(server, "/hostile/boom").status == 500
    assert server.stop() == 0


def test_a_closed_stdout_does_not_change_the_exit_code(server):
    assert ask(server, "/hostile/stdout").status == 200
    assert server.stop() == 0
    assert "Traceback" not in server.log()


def test_logging_that_raises_costs_no_thread(server):
    assert ask(server, "/hostile/factory").status == 200
    for _ in range(5):
        assert ask(server, "/sibling/").status == 200
        with pytest.raises(ConnectionError):
            ask(server, "/hostile/boom")
    server.process.kill()
    server.wait()


def test_a_forked_child_that_returns_ends_without_a_response(server):
    with Client(server.url) as client:
        for _ in range(5):
            assert client.get("/hostile/fork").body.isdigit()
            assert client.get("/sibling/").status == 200
    assert server.stop() == 0  # stop() fails if a process that it started still runs


TABLE = f"""
[server]
threads = 4
recv_bytes = 1_000_000
outbuf_high_watermark = 1_000_000
[mounts]
"/fast" = "{PROBE}:app"
[mounts."/full"]
app = "{PROBE}:app"
limit = 1
queue = 0
"""
SIZE = 8_000_000  # bytes: more than the sockets take
STEP = 65_536
REFUSED = 5_000  # requests, whose responses together exceed outbuf_high_watermark


def test_a_slow_reader_of_rejections_delays_no_other(serve, tmp_path):
    server = serve(TABLE, "--no-access-log")
    with ExitStack() as stack:
        holding, slow, other = (stack.enter_context(Client(server.url, buffer=buffer)) for buffer in (None, 4096, None))
        holding.request("/full/hold/go")
        server.wait_for("holding go")
        slow.pipeline(f"/fast/file/{SIZE}", *["/full/"] * REFUSED)
        slow.head()
        for start in range(0, SIZE, STEP):
            slow._exactly(min(STEP, SIZE - start))
            assert other.get("/fast/").status == 200
        for _ in range(REFUSED):
            assert slow.answer().status == 503
        (tmp_path / "go").touch()
        assert holding.answer().status == 200
    assert server.stop() == 0


def test_sequential_requests_need_no_queue(serve):
    server = serve(TABLE, "--no-access-log")
    with Client(server.url) as client:
        assert {client.get("/full/").status for _ in range(300)} == {200}
        client.pipeline(*["/full/"] * 20)
        assert {client.answer().status for _ in range(20)} == {200}
    assert server.stop() == 0
