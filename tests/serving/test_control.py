"""The control socket of the real command: which server answers, and in which state."""

import os
import re
import signal
import sys
import threading
import time
from contextlib import closing, suppress

import pytest
from support.changing import WHO_ROW
from support.client import app_file
from support.waiting import TIMEOUT, wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no unix sockets")

if sys.platform != "win32":  # these modules refuse Windows
    from mountpoint.errors import ControlError
    from mountpoint.lifecycle.control_client import ask, connect

APP = app_file("own_app")
TABLE = f'[mounts]\n"/one" = "{APP}:app"\n'


def greeting(file, control=None):
    with closing(connect(file, control)) as connection:
        return {**connection.greeting, "path": connection.path}


@pytest.fixture
def file(tmp_path):
    return tmp_path / "mounts.toml"


def test_the_server_says_which_one_it_is(serve, file, monkeypatch):
    server = serve(TABLE)
    found = greeting(file)
    assert (found["pid"], found["file"], found["state"]) == (server.pid, str(file), "serving")
    assert re.fullmatch(r"\d+\.\d+\.\d+", found["version"])
    monkeypatch.chdir(file.parent)
    assert greeting("mounts.toml")["pid"] == server.pid
    (file.parent / "link.toml").symlink_to(file)
    assert greeting("link.toml")["pid"] == server.pid


def test_the_file_of_the_socket_is_removed_with_the_server(serve, file):
    server = serve(TABLE)
    path = greeting(file)["path"]
    server.stop()
    assert not path.exists()
    with pytest.raises(
        ControlError, match=re.escape(f"{file}: no server runs for this table, since nothing listens on")
    ):
        connect(file)


def test_a_server_answers_while_its_apps_load(serve, file, tmp_path):
    (tmp_path / "slow.py").write_text("import threading\nopen('began', 'w')\nthreading.Event().wait()\n")
    server = serve('[mounts]\n"/slow" = "slow:app"\n', wait=False)
    wait_until((tmp_path / "began").exists)
    assert (greeting(file)["pid"], greeting(file)["state"]) == (server.pid, "loading")


def test_a_server_answers_while_it_drains_and_gives_way(serve, connect, file, release, tmp_path):
    server = serve(TABLE, cwd=tmp_path)
    client = connect(server, "/one/hold?go")
    wait_until((tmp_path / "go.began").exists)
    server.send()
    server.wait_for("draining")
    wait_until(lambda: greeting(file)["state"] == "draining")
    after = serve(file)
    assert (greeting(file)["pid"], greeting(file)["state"]) == (after.pid, "serving")
    release("go")
    assert client.answer().status == 200
    assert server.wait() == 0
    assert greeting(file)["pid"] == after.pid


def test_a_server_answers_while_every_request_thread_is_busy(serve, connect_each, file, tmp_path):
    server = serve(f"[server]\nthreads = 1\n{TABLE}", cwd=tmp_path)
    connect_each(server, ["/one/hold?go", "/one/hold?go"])
    wait_until((tmp_path / "go.began").exists)
    assert greeting(file)["pid"] == server.pid
    (tmp_path / "go").touch()


def test_a_second_server_of_one_table_serves_without_the_socket(serve, file):
    first = serve(TABLE)
    second = serve(file)
    log = second.wait_for("serving on")
    assert f"process {first.pid} holds the control socket" in log
    assert "start it with --control PATH" in log
    assert greeting(file)["pid"] == first.pid
    assert second.request("/one/").status == 200
    first.stop()
    second.wait_for("commands reach this process now")
    assert greeting(file)["pid"] == second.pid


def test_a_second_server_may_have_a_socket_of_its_own(serve, file, socket_path):
    first, second = serve(TABLE), serve(TABLE, "--control", str(socket_path))
    assert greeting(file)["pid"] == first.pid
    assert greeting(file, socket_path)["pid"] == second.pid
    assert "holds the control socket" not in second.log()


def test_servers_of_two_tables_do_not_meet(serve, file, tmp_path):
    other = tmp_path / "other.toml"
    other.write_text(TABLE)
    first, second = serve(TABLE), serve(other)
    assert (greeting(file)["pid"], greeting(other)["pid"]) == (first.pid, second.pid)


def test_the_file_names_its_socket(serve, file, socket_path):
    server = serve(f'[server]\ncontrol = "{socket_path}"\n{TABLE}')
    assert greeting(file) == {**greeting(file), "pid": server.pid, "path": socket_path}
    file.write_text(f"[server]\ncontrol = 1\n{TABLE}")
    with pytest.raises(ControlError, match="expected a path such as"):
        connect(file)


def test_a_server_without_a_socket_cannot_be_reached(serve, file):
    serve(f"[server]\ncontrol = false\n{TABLE}")
    with pytest.raises(ControlError, match="it has control = false; remove that line, and start the server again"):
        connect(file)


def test_a_mistake_in_the_table_does_not_hide_the_server(serve, file):
    server = serve(TABLE)
    file.write_text("[mounts")
    assert greeting(file)["pid"] == server.pid


def test_the_socket_of_a_killed_server_is_replaced(serve, file):
    killed = serve(TABLE)
    path = greeting(file)["path"]
    killed.process.kill()
    killed.wait()
    assert path.exists()
    with pytest.raises(ControlError, match="nothing listens on"):
        connect(file)
    server = serve(file)
    assert greeting(file)["pid"] == server.pid


def test_a_stopped_server_is_reported(serve, file, monkeypatch):
    from mountpoint.lifecycle import control_client

    server = serve(TABLE)
    monkeypatch.setattr(control_client, "GREETING_SECONDS", 0.2)
    server.send(signal.SIGSTOP)
    try:
        with pytest.raises(ControlError, match=f"process {server.pid} listens on .* and did not answer within 0.2 s"):
            connect(file)
    finally:
        server.send(signal.SIGCONT)


def test_a_table_behind_a_changed_link_finds_its_server(serve, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mounts.toml").write_text(TABLE)
    link = tmp_path / "current"
    link.symlink_to("a")
    server = serve(link / "mounts.toml")
    link.unlink()
    link.symlink_to("b")
    assert greeting(link / "mounts.toml")["pid"] == server.pid


def test_a_takeover_hands_the_socket_over_without_a_gap(serve_who, file):
    server = serve_who(f"[mounts]\n{WHO_ROW}")
    found, stop, failures = [], threading.Event(), []

    def look():
        while not stop.is_set():
            try:
                ask(file, {"command": "identify"}, timeout=TIMEOUT)
                found.append(greeting(file)["pid"])
            except ControlError as error:
                failures.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    wait_until(lambda: found)
    server.send(signal.SIGUSR2)
    server.wait_for("stopped; no request was cut off")
    count = len(found)
    wait_until(lambda: len(found) > count or failures)
    stop.set()
    thread.join()
    assert failures == []
    assert len(dict.fromkeys(found)) == 2
    assert found[0] == server.pid


def test_children_of_apps_do_not_hold_the_socket(serve, file, tmp_path):
    (tmp_path / "forks.py").write_text(
        "import os, time\n"
        "def app(environ, start_response):\n"
        "    if not os.fork():\n"
        "        while not os.path.exists('end'): time.sleep(0.01)\n"
        "        os._exit(0)\n"
        "    start_response('200 OK', [])\n"
        "    return [b'forked']\n"
    )
    server = serve('[mounts]\n"/" = "forks:app"\n', cwd=tmp_path)
    assert server.request("/").body == b"forked"
    server.process.kill()
    server.process.wait()
    try:
        with pytest.raises(ControlError, match="nothing listens on"):
            connect(file)
    finally:
        (tmp_path / "end").touch()


def test_serve_with_reload_has_the_socket_in_each_child(serve, file, tmp_path):
    pytest.importorskip("hupper")
    source = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'1']\n"
    (tmp_path / "web.py").write_text(source)
    server = serve('[mounts]\n"/" = "web:app"\n', "--reload")
    first = greeting(file)["pid"]
    begin, newer = time.time(), 0.0

    def is_another():
        nonlocal newer
        if (passed := time.time() - begin) >= newer:  # hupper forgets a change that it sees too early
            newer = passed + 2
            os.utime(tmp_path / "web.py", (begin + newer, begin + newer))
        with suppress(ControlError):
            return greeting(file)["pid"] not in (first, server.pid)

    wait_until(is_another)
