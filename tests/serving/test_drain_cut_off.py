"""The end of a drain: requests that outlast drain_timeout, a second signal, and threads that apps started."""

import signal
import sys

import pytest
from support.client import TABLE, Client, table
from support.draining import BIG, NOTHING_LOST, assert_nothing_lost, drain

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without asking it")


def cut_off(server):
    assert server.wait() == 1
    assert NOTHING_LOST not in server.log()
    assert "Traceback" not in server.log()
    return server.log()


def test_a_request_that_outlasts_drain_timeout_is_cut_off_and_logged(serve):
    server = serve(table(drain_timeout=0.2))
    with Client(server.url) as client:
        client.request("/app/hold/it?n=1")
        server.wait_for("holding it")
        server.send()
        log = cut_off(server)
        with pytest.raises(ConnectionError):
            client.answer()
    assert "cut off: 'GET /app/hold/it?n=1 HTTP/1.1' of 127.0.0.1, mount /app" in log


def test_half_a_request_that_outlasts_drain_timeout_is_logged(serve):
    server = serve(table(drain_timeout=0.2))
    with Client(server.url) as client:
        client.request("/app/upload", "Content-Length: 200000", "Expect: 100-continue", method="POST")
        assert client.head()[0] == 100
        server.send()
        assert "cut off: an incomplete request, of 127.0.0.1" in cut_off(server)


def test_a_reader_that_outlasts_drain_timeout_is_cut_off_and_logged(serve):
    server = serve(table(drain_timeout=0.2))
    with Client(server.url, buffer=4096) as client:
        client.request(f"/app/file/{BIG}")
        _, headers = client.head()
        server.wait_for('"GET /app/file/')  # its thread has finished, and the loop sends the rest
        server.send()
        assert "cut off: a response that was not sent completely, of 127.0.0.1" in cut_off(server)
        with pytest.raises(ConnectionError):
            client.body(headers)


def test_a_long_request_whose_client_has_left_is_cut_off(serve):
    server = serve(table(drain_timeout=0.2))
    client = Client(server.url, buffer=4096)
    client.request("/app/hold/it")
    server.wait_for("holding it")
    client.reset()
    server.send()
    cut_off(server)


def test_an_idle_connection_is_not_reported_as_cut_off(serve):
    server = serve(table(drain_timeout=0.2))  # shorter than the time until a drain closes idle connections
    with Client(server.url) as client:
        assert client.get("/app/").status == 200
        server.send()
        assert_nothing_lost(server)


@pytest.mark.parametrize(
    ("first", "second"), [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGINT)], ids=["SIGTERM", "SIGINT"]
)
def test_a_second_signal_ends_the_drain(serve, first, second):
    server = serve(table(drain_timeout=3600))
    with Client(server.url) as client:
        client.request("/app/hold/it")
        server.wait_for("holding it")
        drain(server, first)
        server.send(second)
        assert "'GET /app/hold/it HTTP/1.1'" in cut_off(server)


def test_a_signal_right_after_the_start_begins_a_drain(serve, tmp_path):
    """Here the log record of the start sends the signal."""
    (tmp_path / "eager.py").write_text(
        "import logging, os, signal\n"
        "class Handler(logging.StreamHandler):\n"
        "    def emit(self, record):\n"
        "        super().emit(record)\n"
        "        if 'serving on' in record.getMessage():\n"
        "            os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    logging = """
[logging.handlers.eager]
class = "eager.Handler"
[logging.loggers.mountpoint]
level = "INFO"
handlers = ["eager"]
"""
    server = serve(TABLE + logging, wait=False)
    assert_nothing_lost(server)


def test_an_app_thread_that_never_ends_does_not_keep_the_process(serve, tmp_path):
    (tmp_path / "busy.py").write_text(
        "import threading\n"
        "threading.Thread(target=threading.Event().wait, name='poller').start()\n"
        "def app(environ, start_response): ...\n"
    )
    server = serve('[server]\nlisten = "127.0.0.1:0"\ndrain_timeout = 0.5\n[mounts]\n"/" = "busy:app"\n')
    assert server.stop() == 1
    assert "cut off: threads that apps have started: poller" in server.log()


@pytest.mark.parametrize("busy", [True, False], ids=["in flight", "idle"])
def test_a_second_signal_does_not_wait_for_app_threads(serve, tmp_path, busy):
    (tmp_path / "threads.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait).start()\n"
        "def app(environ, start_response):\n"
        "    print('asked', file=environ['wsgi.errors'], flush=True)\n    threading.Event().wait()\n"
    )
    server = serve('[mounts]\n"/" = "threads:app"\n')
    with Client(server.url) as client:
        if busy:
            client.request("/")
            server.wait_for("asked")
        drain(server, signal.SIGINT)
        if not busy:
            server.wait_for("waiting up to")
        server.send(signal.SIGINT)
        assert server.wait() == 1
    assert "cut off: threads that apps have started" in server.log()


def test_an_interrupt_during_loading_does_not_wait_for_app_threads(serve, tmp_path):
    (tmp_path / "slow.py").write_text(
        "import sys, threading, time\n"
        "threading.Thread(target=threading.Event().wait, name='poller').start()\n"
        "print('loading', file=sys.stderr, flush=True)\ntime.sleep(60)\n"
    )
    server = serve('[mounts]\n"/" = "slow:app"\n', wait=False)
    server.wait_for("loading\n")
    server.send(signal.SIGINT)
    assert server.wait() == 130
    assert "Traceback" not in server.log()
