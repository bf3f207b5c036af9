"""The life of a mount's own processes under the real command: start, death, time-out, replacement, stop."""

import json
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from support.client import app_file
from support.waiting import TIMEOUT, wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no workers")

APP = app_file("own_app")
READY = re.compile(r"worker (\d+) is ready")


def table(**keys):
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in keys.items())
    return f'[mounts]\n"/shared" = "{APP}:app"\n[mounts."/own"]\napp = "{APP}:app"\nprocess = "own"\n{lines}\n'


@pytest.fixture
def serve_own(serve):
    """Return ``serve_own(**keys)``, which serves a mount with processes, and waits until all of them are ready."""

    def serve_own(**keys):
        server = serve(table(**keys))
        server.wait_for(READY, count=keys.get("workers", 1))
        return server

    return serve_own


def pids(server):
    """Return the ids of the workers that have become ready, in that order."""
    return [int(pid) for pid in READY.findall(server.log())]


def is_alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def freeze(pid):
    """Stop a process, and wait until all of its threads have stopped."""
    os.kill(pid, signal.SIGSTOP)
    threads = list(Path(f"/proc/{pid}/task").iterdir())
    wait_until(lambda: all((thread / "stat").read_text().rpartition(")")[2].split()[0] == "T" for thread in threads))


def has_zombie(server):
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children")
    return any(
        Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        for pid in children.read_text().split()
    )


# ---------------------------------------------------------------------------------------------------------------- start


def test_the_app_finds_its_argv_cwd_root_and_env(serve, tmp_path):
    (tmp_path / "work").mkdir()
    server = serve(
        table(argv=["--quiet", "é"], cwd="work") + 'env = { STATIC = "{prefix}/static/" }\n',
        env={"LISTEN_PID": "1", "NOTIFY_SOCKET": "", "FROM_SERVER": "1"},
    )
    server.wait_for(READY)
    found = json.loads(server.request("/own/process").body)
    assert found["argv"] == [f"{APP}:app", "--quiet", "é"]
    assert found["cwd"] == str(tmp_path / "work")
    assert found["path"][0] == str(Path(APP).parent)
    assert "" not in found["path"]
    assert found["modules"] == []
    assert not any(Path(folder, "mountpoint", "workers") in Path(folder).iterdir() for folder in found["path"][:1])
    assert found["env"]["STATIC"] == "/own/static/"
    assert found["env"]["FROM_SERVER"] == "1"
    assert not {"LISTEN_PID", "NOTIFY_SOCKET"} & found["env"].keys()
    assert json.loads(server.request("/own/environ").body)["wsgi.multiprocess"] is False


def test_a_mount_responds_503_until_its_worker_is_ready(serve, tmp_path):
    (tmp_path / "slow.py").write_text(
        "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\n"
        "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'up']\n"
    )
    server = serve(f'[mounts]\n"/shared" = "{APP}:app"\n[mounts."/own"]\napp = "slow:app"\nprocess = "own"\n')
    response = server.request("/own/")
    assert (response.status, response.headers["Retry-After"]) == (503, "5")
    assert re.findall(r"^  (/\w+) .* (\w+)$", server.log(), re.MULTILINE) == [
        ("/shared", "ready"),
        ("/own", "starting"),
    ]
    assert server.request("/shared/").status == 200
    (tmp_path / "go").touch()
    server.wait_for(READY)
    assert server.request("/own/").body == b"up"


def test_an_import_that_hangs_is_ended_after_start_timeout(serve, tmp_path):
    (tmp_path / "hang.py").write_text("import threading\nthreading.Event().wait()\n")
    server = serve('[mounts."/own"]\napp = "hang:app"\nprocess = "own"\nstart_timeout = 2\n')
    server.wait_for("its worker was not ready after start_timeout, 2 s")
    server.wait_for("another worker starts in 0.2 s")
    assert server.request("/own/").status == 503
    server.wait_for(f'File "{tmp_path / "hang.py"}", line 2, in <module>')


def test_an_app_that_fails_to_load_is_tried_again_until_it_loads(serve, tmp_path):
    (tmp_path / "late.py").write_text("1/0\n")
    server = serve('[mounts."/own"]\napp = "late:app"\nprocess = "own"\n')
    log = server.wait_for('/own is broken: "late:app" could not be imported: ZeroDivisionError')
    server.wait_for("(as before)")
    assert log.count('File "{}", line 1'.format(tmp_path / "late.py")) == 1
    (tmp_path / "late.py").write_text("from own_app import app\n")
    (tmp_path / "own_app.py").write_text(Path(APP).read_text())
    server.wait_for(READY)
    assert server.request("/own/").body == b"hello"


def test_strict_does_not_start_with_a_broken_worker(serve, tmp_path):
    (tmp_path / "broken.py").write_text("1/0\n")
    server = serve('[server]\nstrict = true\n[mounts."/own"]\napp = "broken:app"\nprocess = "own"\n', wait=False)
    assert server.wait() == 1
    assert "1 of 1 mounts failed to load: /own" in server.log()


# ---------------------------------------------------------------------------------------------------------------- death


def test_a_worker_that_dies_costs_its_request_only(serve_own):
    server = serve_own()
    assert server.request("/own/die").status == 502
    assert server.request("/own/").body == b"hello"  # waits for the next worker
    log = server.wait_for(READY, count=2)
    assert re.search(r"/own: worker \d+ died after [\d.]+ s: exit code 7", log)
    assert "/own: another worker starts in 0.1 s" in log
    wait_until(lambda: not has_zombie(server))


def test_the_log_says_which_signal_ended_a_worker_and_its_last_lines(serve_own):
    server = serve_own()
    assert server.request("/own/crash").status == 502
    log = server.wait_for("died after")
    assert re.search(r"died after [\d.]+ s: SIGSEGV; its last lines on stderr:\n", log)
    assert "in respond_crash" in server.wait_for(READY, count=2)


def test_a_response_that_has_begun_is_cut(serve_own, connect):
    server = serve_own()
    client = connect(server, "/own/die_later")
    _, headers = client.head()
    with pytest.raises(ConnectionError):
        client.body(headers)


def test_an_idle_worker_that_is_killed_costs_no_request(serve_own):
    server = serve_own()
    for count in (2, 3):
        assert server.request("/own/").status == 200
        os.kill(pids(server)[-1], signal.SIGKILL)
        assert server.request("/own/").status == 200
        server.wait_for(READY, count=count)


def test_a_request_that_a_killed_worker_had_not_read_goes_to_the_next_one(serve_own, connect):
    server = serve_own(slow_after=0.05)
    assert server.request("/own/").status == 200
    (first,) = pids(server)
    freeze(first)
    client = connect(server, "/own/pid")
    server.wait_for("GET '/own/pid' has run for")
    os.kill(first, signal.SIGKILL)
    response = client.answer()
    server.wait_for(READY, count=2)
    assert (response.status, response.body) == (200, str(pids(server)[1]).encode())


def test_a_worker_that_dies_during_the_body_loses_only_its_request(serve_own, connect):
    server = serve_own()
    client = connect(server)
    client.request("/own/die_reading", method="POST", body=b"x" * 300_000)
    assert client.answer().status == 502
    assert server.request("/own/").body == b"hello"


def test_a_worker_that_dies_after_the_end_of_a_response_loses_none(serve_own, connect):
    server = serve_own()
    assert connect(server, "/own/die_in_close").answer().body == b"whole response"
    assert server.request("/own/").body == b"hello"
    server.wait_for("SIGKILL")


def test_many_idle_connections_of_a_dead_worker_cost_no_request(serve_own, connect_each, tmp_path):
    server = serve_own(threads=4, cwd=str(tmp_path))
    clients = connect_each(server, ["/own/hold?go"] * 3)  # so that each takes a connection of its own
    wait_until((tmp_path / "go.began").exists)
    (tmp_path / "go").touch()
    assert [client.answer().status for client in clients] == [200] * 3
    os.kill(pids(server)[0], signal.SIGKILL)
    assert server.request("/own/").status == 200


def test_the_request_after_a_client_that_has_left_does_not_wait(serve_own, connect):
    server = serve_own(threads=1)
    client = connect(server, "/own/pauses")
    client.head()
    client.reset()
    assert server.request("/own/").status == 200
    assert len(pids(server)) == 1


def test_a_frozen_worker_reports_no_stack_and_holds_nothing_up(serve_own, connect_each, tmp_path):
    server = serve_own(timeout=0, cwd=str(tmp_path))
    connect_each(server, [f"/own/hold?{name}" for name in "abc"])
    wait_until(lambda: len(list(tmp_path.glob("*.began"))) == 3)
    freeze(pids(server)[0])
    server.send(signal.SIGUSR1)
    log = server.wait_for("requests in flight")
    assert log.count("does not report its stack") == 3
    assert server.request("/shared/").status == 200
    os.kill(pids(server)[0], signal.SIGKILL)  # the drain would wait for its requests


def test_pauses_before_a_restart_grow(serve_own):
    server = serve_own()
    for count in range(2, 5):
        server.request("/own/die")
        server.wait_for(READY, count=count)
    assert re.findall(r"another worker starts in ([\d.]+) s", server.log()) == ["0.1", "0.2", "0.4"]


def test_another_worker_serves_while_one_restarts(serve_own):
    server = serve_own(workers=2)
    assert server.request("/own/die").status == 502
    assert [server.request("/own/").status for _ in range(20)] == [200] * 20


def test_children_of_a_dead_worker_end_and_delay_no_request(serve_own, tmp_path):
    server = serve_own(cwd=str(tmp_path))
    assert server.request(f"/own/orphan?{10 * TIMEOUT}").status == 502
    [orphan] = [int(file.name.partition("-")[2]) for file in tmp_path.glob("orphan-*")]
    wait_until(lambda: not is_alive(orphan))


@pytest.mark.parametrize("page", ["die", "crash", "raise", "close_descriptors"])
def test_a_shared_mount_goes_on(serve_own, page):
    server = serve_own()
    server.request(f"/own/{page}")
    assert server.request("/shared/").body == b"hello"
    wait_until(lambda: server.request("/own/").body == b"hello")


# -------------------------------------------------------------------------------------------------------------- timeout


def test_a_request_over_the_timeout_gets_504_and_a_new_worker(serve_own):
    server = serve_own(timeout=0.3)
    assert server.request("/own/sleep").status == 504
    assert server.request("/own/").body == b"hello"
    first = pids(server)[0]
    server.wait_for(re.compile(rf"worker {first} ended after [\d.]+ s, .*: a request took longer than 0.3 s"))
    assert not is_alive(first)


def test_the_others_of_a_worker_over_the_timeout_finish(serve_own, connect, tmp_path):
    server = serve_own(timeout=0.5, grace=TIMEOUT)
    (first,) = pids(server)
    slow = connect(server, "/own/sleep")
    stream = connect(server, "/own/stream")
    stream.head()
    assert slow.answer().status == 504
    server.wait_for(READY, count=2)
    assert server.request("/own/pid").body != str(first).encode()
    assert is_alive(first)  # the stream goes on
    stream.close()
    wait_until(lambda: not is_alive(first))


def test_a_worker_is_killed_after_its_grace(serve_own, connect):
    server = serve_own(timeout=0.3, grace=0.5)
    (first,) = pids(server)
    stream = connect(server, "/own/stream")
    _, headers = stream.head()
    assert server.request("/own/sleep").status == 504
    with pytest.raises(ConnectionError):
        stream.body(headers)
    wait_until(lambda: not is_alive(first))
    server.wait_for(f"worker {first} ended")


def test_a_stream_may_take_longer_than_the_timeout(serve_own, connect):
    server = serve_own(timeout=0.4)
    client = connect(server, "/own/stream")
    client.head()
    started = time.monotonic()
    while time.monotonic() - started < 1:
        assert client.socket.recv(1000)
    assert len(pids(server)) == 1


def test_a_begun_response_that_pauses_for_too_long_is_cut(serve_own, connect):
    server = serve_own(timeout=0.3)
    client = connect(server, "/own/sleep_later")
    _, headers = client.head()
    with pytest.raises(ConnectionError):
        client.body(headers)


# ---------------------------------------------------------------------------------------------------------- replacement


def test_max_requests_replaces_a_worker_without_losing_a_request(serve_own, connect):
    server = serve_own(max_requests=20, workers=2)
    client = connect(server)
    found = set()

    def has_seen_four():
        response = client.get("/own/pid")
        assert response.status == 200
        found.add(response.body)
        return len(found) >= 4

    wait_until(has_seen_four)
    server.wait_for(re.compile(r"is replaced: it has served (18|19|2\d|\d{3,}) requests"))
    wait_until(lambda: not has_zombie(server))


def test_max_memory_replaces_a_worker(serve_own):
    server = serve_own(max_memory="80M")
    assert server.request("/own/grow").status == 200
    server.wait_for(re.compile(r"is replaced: its memory is \d+ MiB"))
    server.wait_for(READY, count=2)


def test_nothing_is_left_after_many_replacements(serve_own, tmp_path):
    server = serve_own()
    server.request("/own/")

    def descriptors():
        return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))

    before, files = descriptors(), sorted(tmp_path.iterdir())
    for count in range(2, 8):
        os.kill(pids(server)[-1], signal.SIGKILL)
        server.wait_for(READY, count=count, timeout=60)
        assert server.request("/own/").status == 200
    wait_until(lambda: descriptors() <= before)
    assert sorted(tmp_path.iterdir()) == files
    assert not has_zombie(server)


# --------------------------------------------------------------------------------------------------------------- output


def test_lines_of_a_worker_are_in_the_log_under_its_key(serve_own):
    server = serve_own()
    server.request("/own/print?one")
    server.wait_for(re.compile(r"INFO /own: to stdout: one\n"))
    server.wait_for(re.compile(r"WARNING /own: to stderr: one\n"))
    server.wait_for(re.compile(r"WARNING /own: to wsgi.errors\n"))


def test_a_line_of_a_worker_cannot_forge_a_line_of_the_log(serve_own):
    server = serve_own()
    server.request("/own/print?%0d%1b[2J%c2%85%0b")
    log = server.wait_for("to wsgi.errors")
    assert not {"\x1b", "\x85", "\x0b"} & set(log)
    assert r"to stdout: \r\x1b[2J\x85\x0b" in log


def test_a_worker_that_writes_without_end_does_not_stop_the_server(serve_own):
    server = serve_own()
    server.request("/own/flood")
    log = server.wait_for("bytes of output were dropped")
    assert server.request("/shared/").status == 200
    assert server.request("/own/").status == 200
    assert max(map(len, log.splitlines())) < 10_000


def test_the_stack_of_a_slow_request_comes_from_the_worker(serve_own, connect):
    server = serve_own(slow_after=0.2)
    connect(server, "/own/sleep?1")
    log = server.wait_for("GET '/own/sleep' has run for")
    assert "in respond_sleep\n" in log
    assert "child_requests" not in log


def test_the_traceback_of_an_app_begins_at_its_own_frame(serve_own):
    server = serve_own()
    assert server.request("/own/raise").status == 500
    log = server.wait_for("ValueError: raised by the app")
    assert "in respond_raise\n" in log
    assert "child_requests" not in log


def test_a_slow_close_does_not_hold_the_end_of_its_response_up(serve_own, connect, tmp_path):
    server = serve_own(cwd=str(tmp_path))
    for page in ("slow_close", "slow_close_length"):
        assert connect(server, f"/own/{page}?{page}").answer().body == b"abcdef"
        assert not (tmp_path / page).exists()
        (tmp_path / f"{page}.go").touch()
        wait_until((tmp_path / page).exists)


# ------------------------------------------------------------------------------------------------------------------ end


def test_a_client_that_leaves_ends_the_iteration(serve_own, connect):
    server = serve_own()
    client = connect(server, "/own/stream")
    client.head()
    client.reset()
    wait_until(lambda: b"stream" in server.request("/own/closed").body)


def test_sigterm_finishes_the_requests_in_workers(serve_own, connect, tmp_path):
    server = serve_own(cwd=str(tmp_path))
    client = connect(server, "/own/hold?go")
    wait_until((tmp_path / "go.began").exists)
    server.send()
    server.wait_for("draining")
    (tmp_path / "go").touch()
    assert client.answer().body == b"held"
    assert server.wait() == 0
    assert not is_alive(pids(server)[0])


@pytest.mark.parametrize("page", [None, "/own/sleep", "/own/flood"])
def test_workers_end_with_a_server_that_is_killed(serve_own, connect, page):
    server = serve_own(workers=2)
    if page:
        connect(server, page)
        server.request("/own/")
    server.process.kill()
    deadline = time.monotonic() + 3
    while any(map(is_alive, pids(server))):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_worker_that_loads_ends_with_a_server_that_is_killed(serve, tmp_path):
    (tmp_path / "hang.py").write_text("import os, time\nopen(f'pid-{os.getpid()}', 'w')\nwhile True: pass\n")
    server = serve('[mounts."/own"]\napp = "hang:app"\nprocess = "own"\n')
    wait_until(lambda: list(tmp_path.glob("pid-*")))
    [pid] = [int(file.name.partition("-")[2]) for file in tmp_path.glob("pid-*")]
    server.process.kill()
    wait_until(lambda: not is_alive(pid))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_whole_group_is_the_servers_to_handle(serve_own, number):
    server = serve_own()
    os.kill(pids(server)[0], number)
    assert server.request("/own/").status == 200
    assert len(pids(server)) == 1


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_an_app_may_use_multiprocessing(serve_own, method):
    response = serve_own().request(f"/own/spawn?{method}")
    assert response.body == b"5 -15"  # the result, and the signal of terminate()


# --------------------------------------------------------------------------------------------------------------- reload


def test_sighup_replaces_the_workers_of_a_changed_mount(serve_own, tmp_path, connect):
    server = serve_own()
    changed = table(threads=2) + f'[mounts."/other"]\napp = "{APP}:app"\nprocess = "own"\n'
    codes, stop = [], threading.Event()

    def request():
        client = connect(server)
        while not stop.is_set():
            codes.append(client.get("/own/").status)

    thread = threading.Thread(target=request)
    thread.start()
    (tmp_path / "mounts.toml").write_text(changed)
    server.send(signal.SIGHUP)
    server.wait_for("reload ended")
    server.wait_for("it is no longer needed")
    stop.set()
    thread.join()
    assert set(codes) == {200}
    first, second = pids(server)[0], server.request("/own/pid").body
    assert str(first).encode() != second
    (tmp_path / "mounts.toml").write_text(changed)
    server.send(signal.SIGHUP)
    server.wait_for("reload ended", count=2)
    assert server.request("/own/pid").body == second  # unchanged, so kept


def test_a_changed_mount_that_does_not_start_keeps_its_workers(serve_own, tmp_path):
    server = serve_own()
    before = server.request("/own/pid").body
    (tmp_path / "broken.py").write_text("1/0\n")
    (tmp_path / "mounts.toml").write_text('[mounts."/own"]\napp = "broken:app"\nprocess = "own"\n')
    server.send(signal.SIGHUP)
    server.wait_for("not reloaded: apps failed to load")
    assert server.request("/own/pid").body == before
    assert server.request("/shared/").status == 200
