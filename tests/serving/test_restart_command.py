"""`mountpoint restart`: new processes for one mount, ready before the old ones end."""

import os
import re
import signal
import sys
import threading
from pathlib import Path

import pytest
from support.changing import WHO, take_over, write_who
from support.client import Client
from support.commands import mountpoint, running
from support.waiting import TIMEOUT, wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no unix sockets")

OWN = '[mounts."/own"]\napp = "who:make()"\nprocess = "own"\n'
TABLE = f'[mounts]\n"/shared" = "shared:make()"\n{OWN}'
READY = re.compile(r"/own: worker (\d+) is ready")
CLIENTS = 40

#: Lines of an app that hold its load until the file "go" exists.
HELD = "import os, time\nopen('held', 'a').close()\nwhile not os.path.exists('go'): time.sleep(0.01)\n"


@pytest.fixture
def serve_own(serve_who, tmp_path):
    """Return ``serve_own(keys)``, which serves an own mount with more *keys*, once its workers are ready."""
    (tmp_path / "shared.py").write_text(WHO.format(version="shared"))

    def serve_own(keys="", workers=1):
        server = serve_who(f"{TABLE}workers = {workers}\n{keys}")
        server.wait_for(READY, count=workers)
        return server

    return serve_own


@pytest.fixture
def file(tmp_path):
    return tmp_path / "mounts.toml"


def who(server):
    """Return the version of the app of /own, and its process."""
    version, pid, _ = server.request("/own/").body.decode().split()
    return version, int(pid)


def write_held(folder, version):
    """Write a *version* of the app whose load waits for the file "go"."""
    write_who(folder, version)
    (folder / "who.py").write_text(HELD + (folder / "who.py").read_text())


# ------------------------------------------------------------------------------------------------------------- restarts


def test_new_code_is_live_and_the_rest_of_the_server_stays(serve_own, file, tmp_path):
    server = serve_own(workers=2)
    version, pid = who(server)
    shared = server.request("/shared/").body.split()[:2]
    write_who(tmp_path, "2")
    done = mountpoint("restart", file, "/own")
    assert re.fullmatch(r"/own: restarted; 2 new workers ready after [\d.]+ s\n", done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert version == "1"
    assert who(server)[0] == "2"
    assert server.request("/shared/").body.split()[:2] == shared
    server.wait_for(re.compile(r"/own: worker \d+ ended after .*: it is no longer needed"), count=2)
    assert pid not in map(int, READY.findall(server.log())[2:])


def test_restarts_lose_no_request_of_clients_that_keep_their_connections(serve_own, file):
    server = serve_own()
    stop, codes, pids = threading.Event(), [], set()

    def ask():
        clients = [Client(server.url) for _ in range(CLIENTS // 4)]
        while not stop.is_set():
            for client in clients:
                client.request("/own/")
            for client in clients:
                response = client.answer()
                codes.append(response.status)
                pids.add(response.body.split()[1])
        for client in clients:
            client.close()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(4):
        count = len(codes)
        assert mountpoint("restart", file, "/own").returncode == 0
        wait_until(lambda count=count: len(codes) > count + CLIENTS)
    stop.set()
    for thread in threads:
        thread.join()
    assert set(codes) == {200}
    assert len(pids) == 5


def test_nothing_is_left_after_restarts(serve_own, file, tmp_path):
    server = serve_own()

    def left():
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        threads = len(list(Path(f"/proc/{server.pid}/task").iterdir()))
        return len(list(Path(f"/proc/{server.pid}/fd").iterdir())), threads, sorted(tmp_path.iterdir()), len(children)

    mountpoint("restart", file, "/own")
    who(server)
    wait_until(lambda: server.log().count("it is no longer needed") == 1)
    before = left()
    for count in range(2, 4):
        mountpoint("restart", file, "/own")
        who(server)
        server.wait_for("it is no longer needed", count=count)
    wait_until(lambda: left() == before)


def test_a_new_worker_that_does_not_start_leaves_the_old_ones(serve_own, file, tmp_path):
    server = serve_own(workers=2)
    (tmp_path / "who.py").write_text("1/0\n")
    done = mountpoint("restart", file, "/own")
    assert done.returncode == 1
    assert done.stderr.startswith("/own: not restarted, the old workers stay in service: ")
    assert f'File "{tmp_path / "who.py"}", line 1' in done.stderr
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")
    assert who(server)[1] in map(int, READY.findall(server.log()))
    assert "another worker starts" not in server.log()
    write_who(tmp_path, "2")
    assert mountpoint("restart", file, "/own").returncode == 0
    assert who(server)[0] == "2"


def test_one_of_two_new_workers_that_fails_keeps_both_old_ones(serve_own, file, tmp_path):
    server = serve_own(workers=2)
    write_who(tmp_path, "2")
    source = (tmp_path / "who.py").read_text()
    (tmp_path / "who.py").write_text(f"import os\nos.mkdir('first')\n{source}")  # raises in the second one
    assert "FileExistsError" in mountpoint("restart", file, "/own").stderr
    assert {who(server)[0] for _ in range(4)} == {"1"}


def test_an_import_that_hangs_ends_after_start_timeout(serve_own, file, tmp_path):
    server = serve_own("start_timeout = 2\ngrace = 1\n")
    (tmp_path / "who.py").write_text("import threading\nthreading.Event().wait()\n")
    done = mountpoint("restart", file, "/own")
    assert "its worker was not ready after start_timeout, 2 s" in done.stderr
    assert f'File "{tmp_path / "who.py"}", line 2' in done.stderr
    assert who(server)[0] == "1"


def test_a_broken_mount_can_be_repaired(serve_who, file, tmp_path):
    (tmp_path / "shared.py").write_text(WHO.format(version="shared"))
    (tmp_path / "who.py").write_text("1/0\n")
    server = serve_who(TABLE)
    server.wait_for("/own is broken")
    write_who(tmp_path, "2")
    assert mountpoint("restart", file, "/own").returncode == 0
    assert who(server)[0] == "2"


def test_the_settings_are_those_that_are_served(serve_own, file, tmp_path):
    server = serve_own()
    file.write_text("[mounts")
    assert mountpoint("restart", file, "/own").returncode == 0
    assert who(server)[0] == "1"


def test_a_restart_works_while_another_app_hangs_at_import(serve_who, file, tmp_path):
    (tmp_path / "hang.py").write_text("import threading\nopen('began', 'w')\nthreading.Event().wait()\n")
    server = serve_who(f'[mounts]\n"/hang" = "hang:app"\n{OWN}', wait=False)
    server.wait_for(READY)
    wait_until((tmp_path / "began").exists)
    assert mountpoint("restart", file, "/own").returncode == 0
    server.wait_for(READY, count=2)


# --------------------------------------------------------------------------------------------------- which mount it is


def test_an_unknown_mount_gets_the_nearest_one(serve_own, file):
    serve_own()
    done = mountpoint("restart", file, "/onw")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == 'expected a mount of the served table, found "/onw"; did you mean "/own"?\n'


def test_a_mount_in_the_servers_process_cannot_restart_alone(serve_own, file):
    server = serve_own()
    done = mountpoint("restart", file, "/shared")
    assert done.returncode == 1
    assert 'write process = "own" below [mounts."/shared"], or, if the mount is one line, "/shared" = {' in done.stderr
    assert f"kill -USR2 {server.pid}" in done.stderr


def test_arguments_in_the_wrong_order_get_the_right_one(tmp_path):
    done = mountpoint("restart", "/own", "mounts.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.endswith('write "mountpoint restart mounts.toml /own"\n')


# --------------------------------------------------------------------------------------------------- at the same time


def test_two_restarts_of_one_mount_run_one_after_the_other(serve_own, file, tmp_path):
    server = serve_own()
    write_held(tmp_path, "2")
    with running("restart", file, "/own") as first:
        wait_until((tmp_path / "held").exists)
        with running("restart", file, "/own") as second:
            assert second.stdout.readline() == "/own restarts already; this restart begins after that one\n"
            (tmp_path / "go").touch()
            assert (first.wait(TIMEOUT), second.wait(TIMEOUT)) == (0, 0)
    assert len(READY.findall(server.log())) == 3
    assert who(server)[1] == int(READY.findall(server.log())[-1])


def test_a_restart_during_a_reload_that_changes_the_mount_says_so(serve_own, file, tmp_path):
    server = serve_own()
    write_held(tmp_path, "2")
    with running("restart", file, "/own") as restart:
        wait_until((tmp_path / "held").exists)
        write_who(tmp_path, "3")
        file.write_text(f"{TABLE}threads = 2\n")
        assert mountpoint("reload", file).returncode == 0
        assert who(server)[0] == "3"
        (tmp_path / "go").touch()
        assert restart.wait(TIMEOUT) == 1
        assert "a reload has replaced or removed the mount in the meantime" in restart.stderr.read()
    assert who(server)[0] == "3"


def test_a_reload_keeps_the_workers_of_a_restart_that_ends_during_it(serve_own, file, tmp_path):
    server = serve_own()
    (tmp_path / "more.py").write_text(HELD + WHO.format(version="more"))
    file.write_text(TABLE.replace("[mounts]", '[mounts]\n"/more" = "more:make()"'))
    with running("reload", file) as reload:
        wait_until((tmp_path / "held").exists)
        write_who(tmp_path, "2")
        assert mountpoint("restart", file, "/own").returncode == 0
        (tmp_path / "go").touch()
        assert reload.wait(TIMEOUT) == 0
    assert who(server)[0] == "2"
    assert server.request("/more/").status == 200
    server.wait_for("it is no longer needed")
    assert who(server)[1] == int(READY.findall(server.log())[-1])


def test_a_reload_does_not_end_the_workers_of_a_restart_that_still_starts(serve_own, file, tmp_path):
    server = serve_own()
    write_held(tmp_path, "2")
    with running("restart", file, "/own") as restart:
        wait_until((tmp_path / "held").exists)
        assert mountpoint("reload", file).returncode == 0
        (tmp_path / "go").touch()
        assert restart.wait(TIMEOUT) == 0
    assert who(server)[0] == "2"


def test_a_drain_ends_a_restart_with_an_answer(serve_own, file, tmp_path):
    server = serve_own()
    write_held(tmp_path, "2")
    with running("restart", file, "/own") as restart:
        wait_until((tmp_path / "held").exists)
        server.send()
        assert restart.wait(TIMEOUT) == 1
        assert restart.stderr.read() == "the server is stopping\n"
    assert server.wait() == 0


def test_a_restart_during_a_takeover_runs_in_the_new_process(serve_own, file, tmp_path):
    server = serve_own()
    write_held(tmp_path, "2")
    with running("restart", file, "/own") as restart:
        wait_until((tmp_path / "held").exists)
        write_who(tmp_path, "3")
        pid = take_over(server)
        assert restart.wait(TIMEOUT) == 0
    (tmp_path / "go").touch()
    assert who(server)[0] == "3"
    assert pid != server.pid
    assert len(READY.findall(server.log())) == 3


def test_a_server_that_is_killed_during_a_restart_is_reported(serve_own, file, tmp_path):
    server = serve_own()
    write_held(tmp_path, "2")
    with running("restart", file, "/own") as restart:
        wait_until((tmp_path / "held").exists)
        server.process.kill()
        assert restart.wait(TIMEOUT) == 1
        assert restart.stderr.read() == f"process {server.pid} ended before it had answered; its log has the reason\n"


def test_a_command_gives_up_and_the_restart_goes_on(serve_own, file, tmp_path):
    server = serve_own()
    write_held(tmp_path, "2")
    done = mountpoint("restart", file, "/own", "--timeout", "0.5")
    assert done.returncode == 1
    assert "has not answered within" in done.stderr
    (tmp_path / "go").touch()
    server.wait_for("/own: restarted; 1 new worker ready")
    assert who(server)[0] == "2"


# ------------------------------------------------------------------------------------------------------------- SIGUSR2


def test_a_takeover_replaces_the_workers_and_loses_no_request(serve_own, tmp_path):
    server = serve_own(workers=2)
    stop, codes, versions = threading.Event(), [], set()

    def ask():  # each request on a new connection: a server that drains may close an idle one as the client sends
        while not stop.is_set():
            response = server.request("/own/")
            codes.append(response.status)
            versions.add(response.body.split()[0])

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    write_who(tmp_path, "2")
    old = [*map(int, READY.findall(server.log()))]
    take_over(server)
    server.wait_for("stopped; no request was cut off")
    wait_until(lambda: b"2" in versions)
    stop.set()
    for thread in threads:
        thread.join()
    assert set(codes) == {200}
    server.wait_for(READY, count=4)  # the second worker may be ready after the takeover
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in old))


def test_a_takeover_waits_until_a_worker_serves(serve_own, tmp_path):
    server = serve_own()
    write_held(tmp_path, "2")
    server.send(signal.SIGUSR2)
    wait_until((tmp_path / "held").exists)
    assert who(server)[0] == "1"
    assert "this one ends" not in server.log()
    (tmp_path / "go").touch()
    server.wait_for("serves; this one ends")
    assert who(server)[0] == "2"


def test_a_takeover_whose_workers_do_not_start_leaves_the_old_process(serve_own, tmp_path):
    server = serve_own()
    (tmp_path / "who.py").write_text("1/0\n")
    server.send(signal.SIGUSR2)
    server.wait_for("not taking over: these mounts work in the old process and fail here: /own")
    server.wait_for("this one keeps serving")
    assert who(server)[0] == "1"
    assert os.getpgid(server.pid)
