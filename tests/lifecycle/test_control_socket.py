"""The file of a control socket: its permissions, and the server that holds it."""

import os
import socket
import stat
import sys
import threading
from pathlib import Path

import pytest
from support.waiting import TIMEOUT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no unix sockets")

if sys.platform != "win32":  # these modules refuse Windows
    from mountpoint.lifecycle.control_socket import ControlSocket, Holder, find_holder


def NEVER(pid):
    return False


@pytest.fixture
def holder(socket_path):
    """A socket that is held by this process."""
    held = ControlSocket(socket_path)
    assert held.claim(NEVER) is None
    yield held
    held.release()


def test_only_the_user_may_connect_and_no_other_file_is_left(holder):
    state = holder.path.stat()
    assert stat.S_IMODE(state.st_mode) == 0o600
    assert [*holder.path.parent.iterdir()] == [holder.path]


def test_the_socket_refuses_connections_until_its_mode_is_set(socket_path, monkeypatch):
    found = []
    chmod = Path.chmod

    def look_then_chmod(path, mode):
        with socket.socket(socket.AF_UNIX) as probe, pytest.raises(ConnectionRefusedError):
            probe.connect(str(path))
        found.append((path.name, mode))
        chmod(path, mode)

    monkeypatch.setattr(Path, "chmod", look_then_chmod)
    held = ControlSocket(socket_path)
    held.claim(NEVER)
    held.release()
    [(name, mode)] = found
    assert (name != socket_path.name, mode) == (True, 0o600)


def test_a_second_socket_finds_the_process_that_holds_the_first(holder):
    second = ControlSocket(holder.path)
    assert second.claim(NEVER) == Holder(os.getpid() if sys.platform in ("linux", "darwin") else 0)
    assert holder.is_held
    second.release()
    assert holder.is_held


def test_a_socket_is_replaced_without_a_moment_in_which_it_is_missing(holder):
    stop, failures = threading.Event(), []

    def connect():
        while not stop.is_set():
            with socket.socket(socket.AF_UNIX) as client:
                try:
                    client.connect(str(holder.path))
                except BlockingIOError:  # the queue of one of the sockets is full: this test accepts none
                    pass
                except OSError as error:
                    failures.append(error)

    thread = threading.Thread(target=connect)
    thread.start()
    sockets = [holder]
    for _ in range(200):
        after = ControlSocket(holder.path)
        assert after.claim(lambda pid: True) is None
        sockets.append(after)
    stop.set()
    for sock in sockets:
        sock.release()
    thread.join()
    assert failures == []


def test_the_socket_of_a_process_that_has_ended_is_replaced(socket_path):
    ended = ControlSocket(socket_path)
    ended.claim(NEVER)
    ended.close()
    assert socket_path.exists()
    assert find_holder(socket_path) is None
    after = ControlSocket(socket_path)
    assert after.claim(NEVER) is None
    after.release()
    assert not socket_path.exists()


def test_a_socket_that_gives_way_is_replaced_and_not_removed_afterwards(holder):
    holder.give_way()
    assert find_holder(holder.path).gives_way
    after = ControlSocket(holder.path)
    assert after.claim(NEVER) is None
    holder.release()
    assert after.is_held
    after.release()


def test_a_file_that_is_not_a_socket_stays(socket_path):
    socket_path.write_text("mine")
    with pytest.raises(FileExistsError, match="exists and is not a socket; move it away"):
        ControlSocket(socket_path).claim(lambda pid: True)
    assert socket_path.read_text() == "mine"


def test_one_of_many_servers_replaces_a_stale_socket(socket_path):
    stale = ControlSocket(socket_path)
    stale.claim(NEVER)
    stale.close()
    sockets = [ControlSocket(socket_path) for _ in range(8)]
    barrier, results = threading.Barrier(8), []

    def claim(one):
        barrier.wait(TIMEOUT)
        results.append(one.claim(NEVER))

    threads = [threading.Thread(target=claim, args=[one]) for one in sockets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results.count(None) == 1
    assert sum(one.is_held for one in sockets) == 1
    for one in sockets:
        one.release()
