"""SIGUSR2: a new process takes over without a lost request. If it fails to start, the old one keeps serving."""

import os
import resource
import signal
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.changing import (
    SLOW_IMPORT,
    WHO,
    WHO_ROW,
    assert_all_end,
    coming_up,
    reload,
    serving_pid,
    status_of,
    take_over,
    who,
    write_table,
    write_who,
)
from support.client import TABLE, Client, table
from support.draining import BIG

from mountpoint.server.loop import IDLE_SECONDS

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGUSR2")

SITE = TABLE + WHO_ROW


# --------------------------------------------------------------------------------------------------- no request is lost


def test_the_new_process_serves_new_code_on_the_same_address(serve_who, tmp_path):
    server = serve_who(SITE)
    old = who(server)
    write_who(tmp_path, "2")
    write_table(tmp_path, SITE + '"/more" = "who:make()"\n')
    pid = take_over(server)
    assert who(server) == ("2", pid, 1)
    assert old == ("1", server.pid, 1)
    assert status_of(server, "/more/") == 200
    assert server.process.wait() == 0
    assert set(server.urls) == {server.url}
    assert_all_end(server, 2)


def test_the_old_process_finishes_its_requests(serve_who, tmp_path):
    server = serve_who(table(threads=4) + WHO_ROW)  # two for each mount
    with ExitStack() as stack:
        streaming, held, queued, uploading = (stack.enter_context(Client(server.url)) for _ in range(4))
        slow = stack.enter_context(Client(server.url, buffer=4096))
        slow.request(f"/app/file/{BIG}")
        _, of_file = slow.head()
        streaming.request("/app/hold-half/it")
        _, of_stream = streaming.head()
        held.request("/app/hold/it")
        server.wait_for("holding it", count=2)
        queued.request("/app/")
        uploading.request("/app/upload", "Content-Length: 200000", "Expect: 100-continue", method="POST")
        assert uploading.head()[0] == 100
        uploading.send(b"x" * 100_000)
        take_over(server)
        server.wait_for("draining")
        assert who(server)[1] == serving_pid(server)
        uploading.send(b"x" * 100_000)
        (tmp_path / "it").touch()
        assert streaming.body(of_stream) == b"12"
        for client in (held, queued, uploading):
            answer = client.answer()
            assert (answer.status, answer.closes) == (200, True)
        assert len(slow.body(of_file)) == BIG
    assert server.process.wait() == 0
    assert_all_end(server, 2)


def test_no_request_is_lost_under_load(serve_who):
    server = serve_who(SITE)
    is_over, failures, pids = threading.Event(), [], [set() for _ in range(8)]

    def keep_alive(seen):
        while not is_over.is_set():
            with Client(server.url) as client:
                closes, latest = False, time.monotonic()
                while not closes and not is_over.is_set():
                    try:
                        answer = client.get("/who/")
                    except ConnectionError:
                        if time.monotonic() - latest < IDLE_SECONDS:
                            raise
                        break  # on a busy machine, the server took the connection for an idle one
                    seen.add(int(answer.body.split()[1]))
                    closes, latest = answer.closes, time.monotonic()

    def connect(seen):
        while not is_over.is_set():
            seen.add(who(server)[1])

    def load(run, seen):
        try:
            run(seen)
        except Exception as error:
            failures.append(error)

    runs = [keep_alive, connect] * 4
    threads = [threading.Thread(target=load, args=pair) for pair in zip(runs, pids, strict=True)]
    for thread in threads:
        thread.start()
    try:
        processes = {server.pid, *(take_over(server) for _ in range(3))}
        with Client(server.url) as client:
            for _ in range(20):
                assert client.get("/who/").status == 200
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert set.union(*pids) == processes
    assert_all_end(server, 4)


def test_all_addresses_are_taken_over(serve_who):
    server = serve_who(SITE, "--listen", "127.0.0.1:0", "--listen", "localhost:0")
    urls = server.urls
    assert len(urls) >= 2
    pid = take_over(server)
    server.process.wait()
    assert [who(url)[1] for url in urls] == [pid] * len(urls)
    assert_all_end(server, 2)


def test_a_unix_socket_keeps_its_file(serve_who, socket_path):
    server = serve_who(table(unix_socket_perms="600", listen=f"unix:{socket_path}") + WHO_ROW)
    before = socket_path.stat()
    assert before.st_mode & 0o777 == 0o600
    pid = take_over(server)
    assert who(server.urls[0])[1] == pid
    server.process.wait()
    pid = take_over(server)
    assert who(server.urls[0])[1] == pid
    after = socket_path.stat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert_all_end(server, 3)
    assert socket_path.exists()  # a process removes only a socket file that it created


def test_addresses_added_to_or_removed_from_the_file_take_effect(serve_who, tmp_path, socket_path):
    first, second = socket_path.with_name("1"), socket_path.with_name("2")
    server = serve_who(table(listen=[f"unix:{socket_path}", f"unix:{first}"]) + WHO_ROW)
    write_table(tmp_path, table(listen=[f"unix:{socket_path}", f"unix:{second}"]) + WHO_ROW)
    pid = take_over(server)
    server.process.wait()
    assert [who(f"unix:{path}")[1] for path in (socket_path, second)] == [pid] * 2
    with pytest.raises(ConnectionRefusedError):
        Client(f"unix:{first}")
    assert_all_end(server, 2)
    assert not second.exists()  # the new process created this one


# ------------------------------------------------------------------------------------------------ the new process fails


def raises(folder):
    (folder / "who.py").write_text("1 / 0\n")
    return "not taking over: these mounts work in the old process and fail here: /who"


def exits(folder):
    (folder / "who.py").write_text("import os\nos._exit(0)\n")
    return "ended with exit code 0; this one keeps serving"


def no_toml(folder):
    write_table(folder, SITE + "[")
    return "ended with exit code 1; this one keeps serving"


def no_file(folder):
    (folder / "mounts.toml").unlink()
    return "ended with exit code 2; this one keeps serving"


@pytest.mark.parametrize("change", [raises, exits, no_toml, no_file])
def test_the_old_process_keeps_serving_when_the_new_one_fails(serve_who, tmp_path, socket_path, change):
    server = serve_who(SITE, "--listen", f"unix:{socket_path}")
    url = server.urls[0]
    with Client(url) as client:
        assert client.get("/who/").status == 200
        said = change(tmp_path)
        server.send(signal.SIGUSR2)
        server.wait_for("; this one keeps serving")
        assert said in server.log()
        assert not client.get("/who/").closes
    assert who(url) == ("1", server.pid, 3)
    [failed] = coming_up(server)
    assert not Path(f"/proc/{failed}").exists()  # no zombie
    write_table(tmp_path, SITE)
    write_who(tmp_path, "fixed")
    assert take_over(server) != failed
    assert who(url)[0] == "fixed"
    server.process.wait()
    assert_all_end(server, 2)


def test_the_old_process_keeps_serving_when_the_new_one_is_killed(serve_who, tmp_path):
    server = serve_who(SITE)
    (tmp_path / "who.py").write_text(SLOW_IMPORT)
    server.send(signal.SIGUSR2)
    server.wait_for("importing")
    [pid] = coming_up(server)
    server.send(signal.SIGUSR2)
    server.wait_for(f"another process is coming up already: {pid}")
    os.kill(pid, signal.SIGKILL)
    server.wait_for(f"process {pid} ended with exit code -9; this one keeps serving")
    assert who(server)[1] == server.pid
    write_who(tmp_path, "2")
    assert who(server)[0] == "1"
    take_over(server)
    assert who(server)[0] == "2"


def test_the_new_process_serves_when_the_old_one_is_killed(serve_who, tmp_path):
    server = serve_who(SITE)
    url = server.url
    (tmp_path / "who.py").write_text(SLOW_IMPORT + WHO.format(version="2"))
    server.send(signal.SIGUSR2)
    server.wait_for("importing")
    server.send(signal.SIGKILL)
    (tmp_path / "go").touch()
    server.wait_for("serving on", count=2)
    assert who(url) == ("2", *coming_up(server), 1)


def test_mounts_that_were_broken_before_do_not_stop_a_takeover(serve_who, tmp_path):
    server = serve_who(SITE + '"/bad" = "bad:app"\n"/new" = "bad:app"\n')
    reload(server, tmp_path, SITE + '"/bad" = "bad:app"\n"/fixed" = "who:make()"\n')
    write_table(tmp_path, SITE + '"/bad" = "bad:app"\n"/new" = "bad:app"\n"/fixed" = "who:make()"\n')
    take_over(server)
    assert [status_of(server, path) for path in ("/bad/", "/new/", "/fixed/")] == [503, 503, 200]
    (tmp_path / "who.py").unlink()  # it breaks /who, and /fixed, which works only since the reload
    os.kill(serving_pid(server), signal.SIGUSR2)
    server.wait_for("not taking over: these mounts work in the old process and fail here: /who, /fixed")


def test_app_threads_do_not_keep_a_failed_new_process(serve_who, tmp_path):
    thread = "import threading\nthreading.Thread(target=threading.Event().wait, name='poller').start()\n"
    (tmp_path / "busy.py").write_text(thread + WHO.format(version="busy"))
    server = serve_who("[server]\ndrain_timeout = 0.1\n" + SITE + '"/busy" = "busy:make()"\n')
    raises(tmp_path)
    server.send(signal.SIGUSR2)
    server.wait_for("ended with exit code 1; this one keeps serving")
    assert status_of(server, "/busy/") == 200


def test_a_process_that_an_app_forks_does_not_delay_a_takeover(serve_who, tmp_path):
    """It inherits the pipe through which the new process reports that it serves."""
    (tmp_path / "forks.py").write_text(
        "import os, time\nfrom pathlib import Path\n"
        "if os.fork() == 0:\n"
        "    while not Path('go').exists():\n        time.sleep(0.01)\n    os._exit(0)\n"
        "from who import make\n"
    )
    server = serve_who(SITE + '"/forks" = "forks:make()"\n')
    try:
        pid = take_over(server)
        assert who(server)[1] == pid
        raises(tmp_path)
        os.kill(pid, signal.SIGUSR2)
        server.wait_for("this one keeps serving")
    finally:
        (tmp_path / "go").touch()


def test_the_old_process_keeps_serving_without_a_free_descriptor(serve_who):
    server = serve_who(SITE)
    before = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    with Client(server.url) as client:
        assert client.get("/who/").status == 200
        used = max(int(entry.name) for entry in Path(f"/proc/{server.pid}/fd").iterdir()) + 1
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (used, before[1]))
        server.send(signal.SIGUSR2)
        server.wait_for("no new process could be started, this one keeps serving: ")
        assert client.get("/who/").status == 200
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, before)
    take_over(server)
    assert "Traceback" not in server.log()


# ------------------------------------------------------------------------------ a takeover that hangs or has no thread

#: Shortens the time after which a process hangs. While the file "no-threads" exists, no thread "takeover" starts.
HURRY = """
import os, threading
from mountpoint.lifecycle import takeover
takeover.HANG_SECONDS = 1
start = threading.Thread.start
def refuse(thread):
    if thread.name == "takeover" and os.path.exists("no-threads"):
        raise RuntimeError("can't start new thread")
    start(thread)
threading.Thread.start = refuse
"""


def test_a_second_signal_replaces_a_new_process_that_hangs(serve_who, tmp_path):
    (tmp_path / "hurry.py").write_text(HURRY + "from who import make\n")
    server = serve_who(SITE + '"/hurry" = "hurry:make()"\n')
    (tmp_path / "who.py").write_text(SLOW_IMPORT)
    server.send(signal.SIGUSR2)
    server.wait_for("importing")
    write_who(tmp_path, "2")
    server.send(signal.SIGUSR2)
    server.wait_for("serves; this one ends")
    hung, pid = coming_up(server)
    assert f"process {hung} does not serve after " in server.log()
    assert who(server) == ("2", pid, 1)
    assert server.process.wait() == 0
    os.kill(pid, signal.SIGTERM)
    assert server.wait() == 0


def test_a_takeover_without_a_free_thread_is_retried_at_the_next_signal(serve_who, tmp_path):
    (tmp_path / "hurry.py").write_text(HURRY + "from who import make\n")
    server = serve_who(SITE + '"/hurry" = "hurry:make()"\n')
    (tmp_path / "no-threads").touch()
    server.send(signal.SIGUSR2)
    server.wait_for("cannot be waited for, so it is ended: can't start new thread; send SIGUSR2 again")
    server.wait_for("ended with exit code -9; this one keeps serving")
    (tmp_path / "no-threads").unlink()
    write_who(tmp_path, "2")
    pid = take_over(server)
    assert who(server) == ("2", pid, 1)
    assert "Traceback" not in server.log()
