"""Under systemd: the notifications that a service sends, and the sockets that it receives.

The tests replace systemd by a process that sends real descriptors and receives real datagrams.
"""

import json
import os
import re
import signal
import socket
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
from support.changing import SLOW_IMPORT, WHO_ROW, end_all, reload, serving_pid, take_over, who, write_table, write_who
from support.client import TABLE, Client
from support.loading import HURRY, WAITS
from support.tables import write
from support.waiting import TIMEOUT, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")

SITE = TABLE + WHO_ROW

# As systemd does between fork and exec: it passes descriptors from 3 on, and the process id, which exec keeps.
LAUNCHER = """
import fcntl, os, sys
sources = [fcntl.fcntl(int(one), fcntl.F_DUPFD_CLOEXEC, 50) for one in sys.argv[1].split()]  # none is 3, 4, ...
for target, source in enumerate(sources, 3):
    os.dup2(source, target)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(sources)), LISTEN_FDNAMES="web.socket")
os.execv(sys.executable, [sys.executable, "-m", "mountpoint", "serve", "mounts.toml"])
"""


class Manager:
    """The socket at NOTIFY_SOCKET. `hear` returns the next message: the sender's process id, and a dict."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.settimeout(TIMEOUT)
        self._socket.bind(str(path))
        self.env = {"NOTIFY_SOCKET": str(path)}
        self.close = self._socket.close

    def hear(self):
        message, ancillary, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(12))
        pid = int.from_bytes(ancillary[0][2][:4], sys.byteorder)
        return pid, dict(line.split("=", 1) for line in message.decode().split("\n"))

    def hear_all(self):
        """Return the messages that have arrived."""
        messages = []
        self._socket.setblocking(False)
        try:
            while True:
                messages.append(self.hear())
        except BlockingIOError:
            return messages
        finally:
            self._socket.settimeout(TIMEOUT)


@pytest.fixture
def manager(socket_path):
    manager = Manager(socket_path.with_name("notify"))
    yield manager
    manager.close()


# ------------------------------------------------------------------------------------------------------------- messages


def test_it_notifies_ready_and_stopping(serve_who, manager):
    server = serve_who(SITE, env=manager.env)
    assert manager.hear() == (server.pid, {"READY": "1", "STATUS": "2 mounts"})
    assert server.stop() == 0
    assert manager.hear_all() == [(server.pid, {"STOPPING": "1"})]


def test_it_is_not_ready_before_its_apps_are_loaded(serve_who, tmp_path, manager):
    (tmp_path / "slow.py").write_text(SLOW_IMPORT)
    server = serve_who(SITE + '"/slow" = "slow:app"\n', env=manager.env, wait=False)
    server.wait_for("importing")
    assert manager.hear_all() == []
    (tmp_path / "go").touch()
    assert manager.hear()[1]["READY"] == "1"
    server.wait_for("serving on ")
    with Client(server.url) as client:
        assert client.get("/app/").status == 200


def test_systemd_waits_for_a_load_that_hangs_only_for_a_time(serve_who, tmp_path, manager):
    write(tmp_path, {"hurry.py": HURRY, "slow.py": WAITS})
    table = '[mounts]\n"/hurry" = "hurry:app"\n"/slow" = "slow:app"\n'
    server = serve_who(table, env={**manager.env, "WATCHDOG_USEC": "3600000000"})
    assert manager.hear() == (server.pid, {"READY": "1", "STATUS": "2 mounts, still loading: /slow"})
    assert manager.hear() == (server.pid, {"WATCHDOG": "1"})
    assert server.stop() == 0


def test_an_idle_server_pings_the_watchdog_in_time(serve_who, manager):
    server = serve_who(SITE, env={**manager.env, "WATCHDOG_USEC": "200000"})
    manager.hear()
    when = []
    for _ in range(5):
        assert manager.hear() == (server.pid, {"WATCHDOG": "1"})
        when.append(time.monotonic())
    # An idle loop turns once a second. The shortest of several gaps is not due to a busy machine.
    assert min(later - earlier for earlier, later in pairwise(when)) < 0.9


def test_the_watchdog_is_not_pinged_in_every_turn_of_the_loop(serve_who, manager):
    server = serve_who(SITE, env={**manager.env, "WATCHDOG_USEC": "3600000000"})
    while "WATCHDOG" not in manager.hear()[1]:
        pass
    with Client(server.url) as client:
        for _ in range(20):
            assert client.get("/who/").status == 200
    assert all("WATCHDOG" not in message for _, message in manager.hear_all())


def test_the_watchdog_of_another_process_is_not_pinged(serve_who, tmp_path, manager):
    server = serve_who(SITE, env={**manager.env, "WATCHDOG_USEC": "200000", "WATCHDOG_PID": "1"})
    reload(server, tmp_path, SITE)
    assert all("WATCHDOG" not in message for _, message in manager.hear_all())


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (TABLE, "1 mounts, 0 broken"),
        (SITE + "[", "not reloaded: errors in the file"),
        (TABLE + '"/who" = "no_such:app"\n', "not reloaded: apps failed to load"),
    ],
    ids=["taken", "errors", "a broken app"],
)
def test_every_reload_notifies_its_start_and_its_end(serve_who, tmp_path, manager, text, status):
    server = serve_who(SITE, env=manager.env)
    manager.hear()
    before = time.monotonic_ns() // 1000
    reload(server, tmp_path, text)
    (first, begin), (second, end) = manager.hear(), manager.hear()
    assert (first, second) == (server.pid, server.pid)
    assert begin.keys() == {"RELOADING", "MONOTONIC_USEC"}
    assert before <= int(begin["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    assert end == {"READY": "1", "STATUS": status}
    assert manager.hear_all() == []


def test_a_takeover_notifies_mainpid_before_the_old_process_ends(serve_who, tmp_path, manager):
    server = serve_who(SITE, env={**manager.env, "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "0"})
    assert manager.hear()[1]["READY"] == "1"
    with Client(server.url) as client:
        client.request("/app/hold/it")
        server.wait_for("holding it")
        new = take_over(server)
        heard = [manager.hear() for _ in range(3)]
        assert (server.pid, {"MAINPID": str(new), "WATCHDOG": "1"}) in heard
        assert (new, {"READY": "1", "STATUS": "2 mounts"}) in heard
        assert (new, {"WATCHDOG": "1"}) in heard  # its own ping, though WATCHDOG_PID names the old process
        assert server.process.poll() is None
        (tmp_path / "it").touch()
        assert client.answer().body == b"held it"
    server.process.wait()
    reload(server, tmp_path, TABLE)
    assert [(pid, *message) for pid, message in (manager.hear(), manager.hear())] == [
        (new, "RELOADING", "MONOTONIC_USEC"),
        (new, "READY", "STATUS"),
    ]


def test_a_failed_takeover_sends_no_notification(serve_who, tmp_path, manager):
    server = serve_who(SITE, env=manager.env)
    manager.hear()
    write_table(tmp_path, "[")
    server.send(signal.SIGUSR2)
    server.wait_for("this one keeps serving")
    assert manager.hear_all() == []


def test_the_old_process_keeps_serving_if_systemd_cannot_be_notified(serve_who, tmp_path, manager):
    """systemd would take the end of its main process for the end of the service."""
    server = serve_who(SITE, env=manager.env)
    notify = Path(manager.env["NOTIFY_SOCKET"])
    with Client(server.url) as client:
        assert client.get("/who/").status == 200
        notify.rename(notify.with_name("away"))
        server.send(signal.SIGUSR2)
        log = server.wait_for("; this one keeps serving")
        assert "will not take over: systemd could not be notified" in log
        assert who(server) == ("1", server.pid, 2)
        answer = client.get("/who/")
        assert (answer.status, answer.closes) == (200, False)
    notify.with_name("away").rename(notify)
    new = take_over(server)
    assert who(server)[1] == new


# ------------------------------------------------------------------------------------------------- sockets from systemd


@pytest.fixture(params=["TCP", "unix"])
def held(request, socket_path):
    """A socket that systemd holds, and its URL."""
    if request.param == "TCP":
        with socket.create_server(("127.0.0.1", 0)) as held:
            yield held, f"http://127.0.0.1:{held.getsockname()[1]}"
    else:
        with socket.socket(socket.AF_UNIX) as held:
            held.bind(str(socket_path))
            held.listen(100)
            yield held, f"unix:{socket_path}"


@pytest.fixture
def activated(held, tmp_path, start):
    """Return ``activated()``, which starts the service with the socket in *held*, as systemd does."""
    write_who(tmp_path, "1")
    write_table(tmp_path, SITE + '[server]\nlisten = "203.0.113.1:1"\n')  # an address that this machine does not have
    servers = []

    def activated(**options):
        number = held[0].fileno()
        command = [sys.executable, "-c", LAUNCHER, str(number)]
        servers.append(start(command, cwd=tmp_path, pass_fds=[number], **options))
        return servers[-1]

    yield activated
    for server in servers:
        end_all(server)


def status_page_of(page):
    with Client(page) as client:
        return json.loads(client.get("/status.json").body)


def test_a_client_that_connects_before_the_start_is_answered(held, activated):
    with Client(held[1]) as client:
        client.request("/who/")
        server = activated()
        assert client.answer().body == f"1 {server.pid} 1".encode()
    log = server.wait_for("serving on ")
    assert f"serving on {held[1]}" in log
    assert "listening on the sockets from systemd; listen in the file and --listen are ignored\n" in log


def test_a_restart_loses_no_connection(held, activated, socket_path):
    server = activated()
    server.wait_for("serving on ")
    for _ in range(2):
        with Client(held[1]) as client:
            assert client.get("/who/", "Connection: close").status == 200
        assert server.stop() == 0
        with Client(held[1]) as client:  # while no process serves
            client.request("/who/", "Connection: close")
            server = activated()
            assert client.answer().body.split()[1] == str(server.pid).encode()
        server.wait_for("serving on ")
    assert server.stop() == 0
    assert held[1].startswith("http") or socket_path.exists()


def test_a_takeover_hands_over_the_sockets_of_systemd(held, activated, manager, socket_path, tmp_path):
    with (tmp_path / "mounts.toml").open("a") as file:  # the page has a socket of its own
        file.write('[status]\nlisten = "127.0.0.1:0"\n')
    server = activated(env=manager.env)
    page = re.search(r"the status page is on (\S+)/\n", server.wait_for("serving on "))[1]
    processes = [server.pid]
    for _ in range(2):
        processes.append(take_over(server))
        assert who(held[1])[1] == processes[-1]
        wait_until(lambda: status_page_of(page)["server"]["pid"] == processes[-1])
    server.process.wait()
    os.kill(serving_pid(server), signal.SIGTERM)
    server.wait()
    said = [message for _, message in manager.hear_all()]
    assert [message["MAINPID"] for message in said if "MAINPID" in message] == [str(pid) for pid in processes[1:]]
    assert [message for message in said if "STOPPING" in message] == [{"STOPPING": "1"}]  # from the last process only
    assert held[1].startswith("http") or socket_path.exists()
    with Client(held[1]) as client:  # it still listens
        client.request("/who/")
        activated()
        assert client.answer().status == 200
