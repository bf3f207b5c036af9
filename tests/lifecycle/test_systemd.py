"""The systemd protocols, with real descriptors, datagrams and child processes.

Only the check of the unit files needs systemd itself.
"""

import configparser
import errno
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from mountpoint.config.reader import ServerConfig
from mountpoint.errors import ServeError
from mountpoint.lifecycle.systemd import (
    Notifier,
    inherited_sockets,
    reloading_lines,
    successor_environ,
    watchdog_interval,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="systemd is Linux's")

EXAMPLES = Path(__file__).parents[2] / "examples"

# systemd does this between fork and exec: it moves the sockets to descriptors from 3 on, and sets the process id.
LAUNCHER = """
import fcntl, os, sys
sources = [fcntl.fcntl(int(one), fcntl.F_DUPFD_CLOEXEC, 50) for one in sys.argv[2].split()]  # not 3, 4, ...
for target, source in enumerate(sources, 3):
    os.dup2(source, target)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, "-W", "always", "-c", sys.argv[1]])
"""

SERVICE = """
import json, os, sys
from mountpoint.errors import ServeError
from mountpoint.lifecycle.systemd import inherited_sockets
try:
    sockets = inherited_sockets()
except ServeError as error:
    sys.exit(str(error))
for one in sockets:
    client, _ = one.accept()
    client.sendall(b"hello")
    client.close()
print(json.dumps({
    "sockets": [[one.fileno(), one.family.name, one.type.name] for one in sockets],
    "variables": [name for name in os.environ if name.startswith("LISTEN_")],
    "inherited": [os.get_inheritable(one.fileno()) for one in sockets],
}))
for one in sockets:
    one.close()
"""


def run_service(*given, count=None, names=""):
    """Run SERVICE to its end, with the sockets or descriptors *given* as systemd would, and return its result."""
    numbers = [one if isinstance(one, int) else one.fileno() for one in given]
    environ = {**os.environ, "LISTEN_FDS": str(len(given) if count is None else count), "LISTEN_FDNAMES": names}
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", LAUNCHER, SERVICE, " ".join(map(str, numbers))],
        check=False,
        env=environ,
        pass_fds=numbers,
        capture_output=True,
        text=True,
        timeout=60,
    )


def for_this_process(**variables):
    return {"LISTEN_PID": str(os.getpid()), **variables}


# ------------------------------------------------------------------------------------------------------------ sockets


def test_sockets_keep_their_waiting_clients_and_are_not_passed_on(tmp_path):
    with ExitStack() as stack:
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind(str(tmp_path / "s"))
        unix.listen()
        clients = [stack.enter_context(socket.create_connection(tcp.getsockname()))]
        clients.append(stack.enter_context(socket.socket(socket.AF_UNIX)))
        clients[1].connect(str(tmp_path / "s"))
        service = run_service(tcp, unix)
        assert service.stderr == ""
        for client in clients:
            client.settimeout(30)
            assert client.recv(100) == b"hello"
    assert json.loads(service.stdout) == {
        "sockets": [[3, "AF_INET", "SOCK_STREAM"], [4, "AF_UNIX", "SOCK_STREAM"]],
        "variables": [],
        "inherited": [False, False],
    }


def rejection(*given, **options):
    service = run_service(*given, **options)
    assert service.returncode == 1
    assert service.stdout == ""
    return service.stderr.strip()


def test_a_datagram_socket_is_rejected_and_the_others_are_closed():
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        assert rejection(tcp, udp, names="web.socket:mountpoint.socket") == (
            "descriptor 4 (mountpoint.socket): expected a listening stream socket, found a socket of another type "
            "(SOCK_DGRAM); write ListenStream= in the [Socket] section of its unit"
        )


def test_a_fifo_is_rejected(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    fifo = os.open(tmp_path / "fifo", os.O_RDWR)
    try:
        assert rejection(fifo) == (
            "descriptor 3: expected a listening stream socket, found a file that is not a socket; "
            "write ListenStream=, not ListenFIFO= or ListenSpecial=, in the [Socket] section of its unit"
        )
    finally:
        os.close(fifo)


def test_a_connected_socket_is_rejected():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert "found a socket that does not listen; write ListenStream= and Accept=no in" in rejection(ours)


@pytest.mark.skipif(not hasattr(socket, "AF_VSOCK"), reason="needs a socket family other than IP and unix")
def test_a_socket_of_an_unusable_family_is_rejected():
    try:
        vsock = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    except OSError:
        pytest.skip("this kernel has no vsock")
    with vsock:
        assert 'found a socket of another family; write ListenStream= with "host:port" or "/path" in' in rejection(
            vsock
        )


def test_a_closed_descriptor_is_rejected():
    assert rejection(count=1).startswith("descriptor 3: expected a socket from systemd, found a closed descriptor;")


@pytest.mark.parametrize("found", ["", "x", "0", "-1", "1.0", " 1", "\u0661", "9" * 5000])
def test_a_count_that_is_not_a_positive_number_is_an_error(found):
    with pytest.raises(ServeError, match=r"^LISTEN_FDS: expected the number of sockets .* found"):
        inherited_sockets(for_this_process(LISTEN_FDS=found))


@pytest.mark.parametrize("pid", ["1", "x", "-1", "9" * 5000])
def test_sockets_for_another_process_are_ignored_and_logged(pid, caplog):
    environ = {"LISTEN_PID": pid, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "a", "LISTEN_PIDFDID": "7", "HOME": "/"}
    with caplog.at_level(logging.INFO, "mountpoint"):
        assert inherited_sockets(environ) == []
    assert environ == {"HOME": "/"}
    assert f"for process {pid}, and this is process {os.getpid()}" in caplog.text


def test_without_systemd_no_socket_is_inherited(caplog):
    with caplog.at_level(logging.DEBUG, "mountpoint"):
        assert inherited_sockets({}) == []
    assert caplog.text == ""


# ----------------------------------------------------------------------------------------------------------- messages


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    """Yield the socket of a service manager, and the value of NOTIFY_SOCKET for it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        path = str(tmp_path / "notify")
        sock.bind(path if request.param == "path" else "")  # for "" Linux chooses an abstract name
        name = sock.getsockname()
        yield sock, name if request.param == "path" else "@" + os.fsdecode(name[1:])


def test_a_message_arrives_complete(manager):
    sock, address = manager
    assert Notifier({"NOTIFY_SOCKET": address}).notify("READY=1", "STATUS=3 mounts, ö")
    assert sock.recv(4096) == "READY=1\nSTATUS=3 mounts, ö".encode()


def test_an_app_that_empties_the_environment_stops_no_message(manager):
    sock, address = manager
    environ = {"NOTIFY_SOCKET": address}
    notifier = Notifier(environ)
    environ.clear()
    assert notifier.notify("WATCHDOG=1")
    assert sock.recv(4096) == b"WATCHDOG=1"


def test_a_long_status_is_cut_to_one_line_that_systemd_reads(manager):
    sock, address = manager
    assert Notifier({"NOTIFY_SOCKET": address}).notify("READY=1", "STATUS=a\nSTOPPING=1 \udcff" + "€" * 5000)
    message = sock.recv(65536)
    assert message.startswith(b"READY=1\nSTATUS=a STOPPING=1 ?\xe2\x82\xac")
    assert len(message) < 4096


def test_a_manager_that_does_not_read_blocks_nothing(manager, caplog):
    notifier = Notifier({"NOTIFY_SOCKET": manager[1]})
    with caplog.at_level(logging.DEBUG, "mountpoint"):
        assert any(not notifier.notify("WATCHDOG=1") for _ in range(100_000))
    assert os.strerror(errno.EAGAIN) in caplog.text


def test_a_manager_that_has_ended_causes_no_error(tmp_path, caplog):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "gone"))
    addresses = [str(tmp_path / "gone"), str(tmp_path / "missing"), "/" + "a" * 200, f"@{'a' * 200}", "@no such"]
    with caplog.at_level(logging.DEBUG, "mountpoint"):
        assert not any(Notifier({"NOTIFY_SOCKET": address}).notify("READY=1") for address in addresses)
    assert [record.levelname for record in caplog.records] == ["DEBUG"] * len(addresses)


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}])
def test_without_a_local_address_nothing_is_sent(environ, caplog):
    with caplog.at_level(logging.DEBUG, "mountpoint"):
        assert not Notifier(environ).notify("READY=1")
    assert caplog.text == ""


def test_a_reload_notification_has_the_time_of_its_start():
    before = time.monotonic_ns()
    line, when = reloading_lines()
    assert line == "RELOADING=1"
    name, _, microseconds = when.partition("=")
    assert name == "MONOTONIC_USEC"
    assert before // 1000 <= int(microseconds) <= time.monotonic_ns() // 1000


# ----------------------------------------------------------------------------------------------------------- watchdog


def test_the_watchdog_is_pinged_twice_in_its_interval():
    assert watchdog_interval({"WATCHDOG_USEC": "3000000"}) == 1.5
    assert watchdog_interval({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}) == 1.5


@pytest.mark.parametrize("microseconds", [None, "", "0", "-1", "x", "1.5", "9" * 5000])
def test_without_a_valid_interval_there_is_no_watchdog(microseconds):
    assert watchdog_interval({} if microseconds is None else {"WATCHDOG_USEC": microseconds}) is None


@pytest.mark.parametrize("pid", ["1", "", "x"])
def test_the_watchdog_of_another_process_is_ignored(pid):
    assert watchdog_interval({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": pid}) is None


def test_a_successor_pings_the_watchdog_too():
    environ = for_this_process(LISTEN_FDS="1", WATCHDOG_USEC="3000000", WATCHDOG_PID="1", NOTIFY_SOCKET="@s", HOME="/")
    successor = successor_environ(environ)
    assert successor == {"WATCHDOG_USEC": "3000000", "NOTIFY_SOCKET": "@s", "HOME": "/"}
    assert watchdog_interval(successor) == 1.5


def test_on_windows_every_function_does_nothing(monkeypatch, manager):
    monkeypatch.setattr(sys, "platform", "win32")
    assert inherited_sockets(for_this_process(LISTEN_FDS="1")) == []
    assert not Notifier({"NOTIFY_SOCKET": manager[1]}).notify("READY=1")


# --------------------------------------------------------------------------------------------------------- unit files


def unit(name):
    parser = configparser.RawConfigParser(strict=True)  # a key written twice is an error
    parser.optionxform = str
    parser.read(EXAMPLES / name, encoding="utf-8")
    return parser


def test_the_unit_gives_the_drain_enough_time():
    # The drain and the wait for the threads of apps take up to drain_timeout each.
    assert float(unit("mountpoint.service")["Service"]["TimeoutStopSec"]) > 2 * ServerConfig(listen=()).drain_timeout


def test_the_unit_allows_a_takeover():
    service = unit("mountpoint.service")["Service"]
    assert (service["Type"], service["NotifyAccess"], service["KillMode"]) == ("notify", "main", "mixed")
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_accepts_the_units(tmp_path):
    for name in ("mountpoint.service", "mountpoint.socket"):
        text = (EXAMPLES / name).read_text(encoding="utf-8")
        # systemd-analyze checks that the command exists.
        (tmp_path / name).write_text(text.replace("/srv/apps/.venv/bin/mountpoint", "/bin/sh"), encoding="utf-8")
    files = [tmp_path / "mountpoint.service", tmp_path / "mountpoint.socket"]
    verify = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *files], check=False, capture_output=True, text=True, timeout=60
    )
    # It also reports on the machine's own units.
    assert [line for line in verify.stderr.splitlines() if "mountpoint." in line] == []
