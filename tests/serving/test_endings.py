"""The end of the process: threads and pools of apps are waited for, exit handlers run, and nothing hangs for long."""

import re
import sys

import pytest
from support.client import Client
from support.draining import NOTHING_LOST, drain
from support.tables import write

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without asking it")

START = """
import atexit, os, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

def say(text):
    print(text, file=sys.stderr, flush=True)

def work():
    while not Path("go").exists():
        time.sleep(0.01)
    say("the work is done")

def hang():
    while True:
        time.sleep(0.01)

atexit.register(say, "the exit handler runs")

def app(environ, start_response):
    exec(environ["QUERY_STRING"].replace("+", " "), globals())
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "0")])
    return []
"""
IDLE_POOL = "pool = ThreadPoolExecutor(); pool.submit(int).result()\n"


@pytest.fixture
def serve_app(serve, tmp_path):
    """Return ``serve_app(code, run, drain_timeout=)``: *code* runs at import, and *run* in one request."""

    def serve_app(code="", run="", drain_timeout=30):
        write(tmp_path, {"app/web.py": START + code})
        server = serve(f'[server]\ndrain_timeout = {drain_timeout}\n[mounts]\n"/app" = "app/web.py:app"\n')
        if run:
            with Client(server.url) as client:
                assert client.get(f"/app/?{run.replace(' ', '+')}").status == 200
        return server

    return serve_app


@pytest.mark.parametrize(
    ("code", "run"),
    [
        (IDLE_POOL, ""),
        ("", IDLE_POOL.strip()),
        ("threading.Thread(target=hang, daemon=True).start()\n", ""),
        ("", "threading.Thread(target=hang, daemon=True).start()"),
        ("import multiprocessing.pool; pool = multiprocessing.pool.ThreadPool(2)\n", ""),
        ("class App(threading.local): pass\n", "threading.current_thread().name = 'renamed'"),
    ],
    ids=["pool", "pool of a request", "daemon", "daemon of a request", "ThreadPool", "no thread"],
)
def test_threads_that_do_not_have_to_end_do_not_delay_the_stop(serve_app, code, run):
    server = serve_app(code, run)
    assert server.stop() == 0
    assert NOTHING_LOST in server.log()
    assert "the exit handler runs" in server.log()
    assert "cut off: " not in server.log()


@pytest.mark.parametrize(
    ("code", "run"),
    [
        ("threading.Thread(target=work).start()\n", ""),
        ("", "threading.Thread(target=work).start()"),
        ("", "threading.Timer(0, work).start()"),
        ("pool = ThreadPoolExecutor(); pool.submit(work)\n", ""),
        ("", "pool = ThreadPoolExecutor(); pool.submit(work)"),
    ],
    ids=["thread", "thread of a request", "timer of a request", "pool", "pool of a request"],
)
def test_the_work_of_a_thread_is_finished_before_the_end(serve_app, tmp_path, code, run):
    server = serve_app(code, run)
    drain(server)
    server.wait_for("waiting up to ")
    assert "the work is done" not in server.log()
    (tmp_path / "go").touch()
    assert server.wait() == 0
    assert re.search("the work is done\n(.*\n)*the exit handler runs", server.log())


HANGING = {
    "thread": "threading.Thread(target=hang, name='poller').start()",
    "pool": "ThreadPoolExecutor(1, 'poller').submit(hang)",
}


@pytest.mark.parametrize("run", HANGING.values(), ids=HANGING)
def test_a_thread_that_never_ends_is_cut_off_with_its_mount(serve_app, run):
    server = serve_app(run=run, drain_timeout=0)
    assert server.stop() == 1
    assert re.search(r"cut off: threads that apps have started: poller\S* \(/app\)\n", server.log())
    assert "the exit handler runs" in server.log()


def test_an_exit_handler_that_never_ends_is_cut_off(serve_app):
    server = serve_app("atexit.register(hang)\n", drain_timeout=0)
    assert server.stop() == 1
    assert "cut off: an exit handler of an app (atexit)\n" in server.log()


def test_threads_have_the_rest_of_drain_timeout(serve_app):
    server = serve_app("threading.Thread(target=hang).start()\n", drain_timeout=1.5)
    with Client(server.url) as client:
        client.request("/app/?say('asked');time.sleep(0.3)")
        server.wait_for("asked")
        drain(server)
        assert client.answer().status == 200
    assert server.wait() == 1
    [seconds] = re.findall(r"waiting up to ([\d.]+) s for threads", server.log())
    assert 1 <= float(seconds) < 1.5
