"""The loads of apps: mounts are served as soon as they are loaded, and a load that hangs holds back no other mount."""

import os
import re
import signal
import sys

import pytest
from support.changing import reload, status_of, write_table
from support.client import Client
from support.loading import HURRY, IN_C, MAIN_ONLY, RESPOND, STUBBORN, UNTRACED, WAITS
from support.tables import write
from support.waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the tests send signals")

TABLE = '[mounts]\n"/hurry" = "hurry:app"\n"/slow" = "slow:app"\n"/last" = "last:app"\n'


@pytest.fixture
def serve_slow(serve, tmp_path):
    """Return ``serve_slow(slow, *args, last=, table=, **options)``, which serves an app whose load is *slow*."""

    def serve_slow(slow, *args, last=RESPOND, table=TABLE, **options):
        write(tmp_path, {"hurry.py": HURRY, "slow.py": slow, "last.py": last})
        return serve(table, *args, **options)

    return serve_slow


def is_served(server, path="/slow/"):
    return status_of(server, path) == 200


# --------------------------------------------------------------------------------------------------------- a slow load


def test_a_slow_mount_answers_503_until_it_is_loaded(serve_slow, tmp_path):
    server = serve_slow(WAITS)
    with Client(server.url) as client:
        answer = client.get("/slow/")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        assert [client.get(path).status for path in ("/hurry/", "/last/")] == [200, 200]
        (tmp_path / "go").touch()
        wait_until(lambda: client.get("/slow/").status == 200)
    assert server.stop() == 0


def test_a_request_waits_until_its_mount_is_loaded_and_delays_no_other(serve, tmp_path, socket_path):
    """Here no load counts as slow, so nothing has been announced."""
    write(tmp_path, {"first.py": RESPOND, "slow.py": "print('importing', flush=True)\n" + WAITS})
    table = '[mounts]\n"/first" = "first:app"\n"/slow" = "slow:app"\n'
    server = serve(table, "--listen", f"unix:{socket_path}", wait=False)
    wait_until(lambda: "importing" in server.out())
    with Client(f"unix:{socket_path}") as client, Client(f"unix:{socket_path}") as waiting:
        waiting.request("/slow/")
        assert client.get("/first/").status == 200
        server.send(signal.SIGUSR1)
        server.wait_for("/slow: 1 waiting")
        assert "serving on" not in server.log()
        (tmp_path / "go").touch()
        assert waiting.answer().status == 200
    server.wait_until_serving()
    assert server.stop() == 0


def test_a_slow_load_is_logged_repeatedly_with_its_place(serve_slow, tmp_path):
    server = serve_slow(WAITS)
    line = re.escape(f"{tmp_path / 'slow.py'}:4: time.sleep(0.01)")
    server.wait_for(re.compile(rf"WARNING /slow has been loading for \d\.\d s, and is at {line}\n"), count=2)
    assert re.search(r"  /slow +slow:app +loading\n", server.log())


@pytest.mark.parametrize("hang", [STUBBORN, IN_C], ids=["catches all", "in C"])
def test_a_load_that_never_ends_holds_back_no_other_mount_and_no_stop(serve_slow, hang):
    server = serve_slow(hang, env=UNTRACED if hang is IN_C else None)
    assert [status_of(server, path) for path in ("/hurry/", "/slow/", "/last/")] == [200, 503, 200]
    server.send(signal.SIGUSR1)
    server.wait_for("loading /slow, at:\n")
    server.wait_for("requests in flight")
    assert server.stop() == 0
    assert "stopped; no request was cut off" in server.log()
    assert "cut off: the load of /slow, at " in server.log()


def test_an_app_that_needs_the_main_thread_is_loaded_there_after_a_slow_one(serve_slow, tmp_path):
    server = serve_slow(WAITS, last=MAIN_ONLY)
    server.wait_for("/last is broken: ")
    (tmp_path / "go").touch()
    server.wait_for("/last is loaded again, in the main thread")
    wait_until(lambda: is_served(server, "/last/"))
    assert server.stop() == 0


def test_a_second_sighup_gives_up_a_first_load_that_hangs(serve_slow, tmp_path):
    server = serve_slow(WAITS)
    (tmp_path / "slow.py").write_text(RESPOND)
    assert "2 mounts, 0 broken" in reload(server, tmp_path, TABLE.replace('"/last" = "last:app"\n', ""))
    assert "the first load runs already" in server.log()
    assert (is_served(server), status_of(server, "/last/")) == (True, 404)
    assert server.stop() == 0


# ----------------------------------------------------------------------------------------- strict, a takeover, systemd


def test_strict_serves_nothing_before_all_apps_are_loaded(serve, tmp_path, socket_path):
    write(tmp_path, {"first.py": RESPOND, "slow.py": "print('importing', flush=True)\n" + WAITS + "1 / 0\n"})
    table = '[mounts]\n"/first" = "first:app"\n"/slow" = "slow:app"\n'
    server = serve(table, "--strict", "--listen", f"unix:{socket_path}", wait=False)
    wait_until(lambda: "importing" in server.out())
    with Client(f"unix:{socket_path}") as client:
        client.request("/first/")
        (tmp_path / "go").touch()
        assert server.wait() == 1
        assert client.is_closed()
    assert "not started because of strict: 1 of 2 mounts failed to load: /slow" in server.log()


def test_a_takeover_waits_for_the_mounts_that_work_in_the_old_process(serve_slow, tmp_path):
    server = serve_slow(RESPOND)
    (tmp_path / "slow.py").write_text(WAITS)
    with Client(server.url) as client:
        server.send(signal.SIGUSR2)
        server.wait_for("/slow has been loading for ")
        for _ in range(20):
            assert client.get("/slow/").status == 200
        assert status_of(server, "/slow/") == 200
        assert "serves; this one ends" not in server.log()
        (tmp_path / "go").touch()
        server.wait_for("serves; this one ends")
    [pid] = re.findall(r"process (\d+) serves", server.log())
    assert is_served(server)
    os.kill(int(pid), signal.SIGTERM)
    assert server.wait() == 0


def test_a_takeover_does_not_wait_for_a_new_mount_that_hangs(serve_slow, tmp_path):
    server = serve_slow(RESPOND)
    (tmp_path / "new.py").write_text(WAITS)
    write_table(tmp_path, TABLE + '"/new" = "new:app"\n')
    server.send(signal.SIGUSR2)
    server.wait_for("serves; this one ends")
    [pid] = re.findall(r"process (\d+) serves", server.log())
    assert (is_served(server), status_of(server, "/new/")) == (True, 503)
    (tmp_path / "go").touch()
    wait_until(lambda: is_served(server, "/new/"))
    os.kill(int(pid), signal.SIGTERM)
    assert server.wait() == 0


# ---------------------------------------------------------------------------------------------- signals and event loops


def test_an_app_that_needs_the_main_thread_loads_at_the_start_and_at_sighup(serve, tmp_path):
    write(tmp_path, {"one.py": MAIN_ONLY, "two.py": MAIN_ONLY})
    server = serve('[mounts]\n"/one" = "one:app"\n')
    assert "2 mounts, 0 broken" in reload(server, tmp_path, '[mounts]\n"/one" = "one:app"\n"/two" = "two:app"\n')
    assert [status_of(server, path) for path in ("/one/", "/two/")] == [200, 200]
    assert server.stop() == 0


@pytest.mark.parametrize(
    ("name", "cause"), [("SIGALRM", "signal.alarm(1)"), ("SIGCHLD", "os.kill(os.getpid(), signal.SIGCHLD)")]
)
def test_a_handler_of_an_app_that_raises_is_logged_and_ends_nothing(serve, tmp_path, name, cause):
    handler = f"""
import os, signal
def handle(number, frame):
    raise TimeoutError("too late")
signal.signal(signal.{name}, handle)
def cause(environ, start_response):
    {cause}
    return app(environ, start_response)
"""
    write(tmp_path, {"web.py": handler + RESPOND})
    server = serve('[mounts]\n"/" = "web:cause"\n')
    assert status_of(server, "/") == 200
    log = server.wait_for("TimeoutError: too late")
    assert f"the handler of an app for {name} raised; continuing\nTraceback" in log
    assert status_of(server, "/") == 200
    assert server.stop() == 0


def test_a_handler_of_one_app_that_raises_does_not_break_the_load_of_another(serve, tmp_path):
    handler = """
import signal
def handle(number, frame):
    raise TimeoutError("too late")
signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
"""
    sleeps = "import time\ntime.sleep(0.1)\n" + RESPOND
    write(tmp_path, {"one.py": handler + RESPOND, "two.py": sleeps})
    server = serve('[mounts]\n"/one" = "one:app"\n"/two" = "two:app"\n')
    assert [status_of(server, path) for path in ("/one/", "/two/")] == [200, 200]
    assert server.stop() == 0


def test_an_app_may_end_its_own_load_with_a_signal(serve, tmp_path):
    code = """
import signal, time
def handle(number, frame):
    raise TimeoutError
signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 0.01)
try:
    time.sleep(60)
except TimeoutError:
    pass
"""
    write(tmp_path, {"web.py": code + RESPOND})
    assert is_served(serve('[mounts]\n"/" = "web:app"\n'), "/")


def test_a_forked_child_of_a_load_does_not_stop_the_server(serve, tmp_path):
    """A signal to the child must not reach the descriptor that it shares with the server."""
    code = """
import os, signal, time
pid = os.fork()
if not pid:
    time.sleep(60)
    os._exit(0)
os.kill(pid, signal.SIGTERM)
status = os.waitpid(pid, 0)[1]
assert os.WTERMSIG(status) == signal.SIGTERM, status
"""
    write(tmp_path, {"web.py": code + RESPOND})
    server = serve('[mounts]\n"/" = "web:app"\n')
    assert is_served(server, "/")
    assert server.stop() == 0
    assert server.log().count("draining") == 1


# ------------------------------------------------------------------------------------------------- input at the start


def test_an_app_that_asks_for_input_breaks_only_itself(serve, tmp_path):
    write(tmp_path, {"asks.py": "name = input('name? ')\n", "web.py": RESPOND})
    server = serve('[mounts]\n"/asks" = "asks:app"\n"/web" = "web:app"\n')
    assert f"asks for input while it is loaded, at {tmp_path / 'asks.py'}:1; a server has no terminal" in server.log()
    assert is_served(server, "/web/")


def test_serve_works_off_the_main_thread(start, tmp_path):
    code = """
import threading
from mountpoint import load_config, serve
config = load_config("mounts.toml", {"listen": ["127.0.0.1:0"]})
threading.Thread(target=serve, args=(config,)).start()
"""
    write(tmp_path, {"mounts.toml": '[mounts]\n"/web" = "web:app"\n', "web.py": RESPOND})
    server = start([sys.executable, "-c", code], cwd=tmp_path)
    [server.url] = re.findall(r"serving on (\S+)/\n", server.wait_for(re.compile(r"serving on \S+\n")))
    assert is_served(server, "/web/")
    assert server.stop() == -signal.SIGTERM
