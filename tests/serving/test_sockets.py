"""Addresses to listen on: each failure is reported in one line, and each kind of address is served."""

import errno
import os
import re
import resource
import socket
import stat
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.client import TABLE, Client, table

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="most tests are about POSIX")


def refused(server):
    """Return the one line that *server* logs when it does not start."""
    assert server.wait() == 1
    assert server.out() == ""
    assert "Traceback" not in server.log()
    lines = server.log().splitlines()
    assert len(lines) == 1, server.log()
    return lines[0]


def no_longer_root():
    """Drop the capability with which root listens on every port. The drop outlasts exec."""
    if os.getuid() == 0:
        import ctypes

        drop_from_the_bounding_set, cap_net_bind_service = 24, 10
        if ctypes.CDLL(None, use_errno=True).prctl(drop_from_the_bounding_set, cap_net_bind_service, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")


def lowest_free_port():
    return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())


# ------------------------------------------------------------------------------------------------------------------ TCP


def test_a_port_in_use_is_reported_in_one_line(serve):
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        assert refused(serve(TABLE, "--listen", address, wait=False)) == (
            f"cannot listen on {address}: another program listens there already; "
            "stop it, or choose another address (listen, --listen)"
        )


def test_a_port_in_use_is_reported_before_an_app_is_imported(serve, tmp_path):
    (tmp_path / "loud.py").write_text("raise SystemExit('I was imported')")
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        assert "imported" not in refused(serve('[mounts]\n"/" = "loud:app"', "--listen", address, wait=False))


def test_one_of_two_ports_in_use_fails_the_start(serve):
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        assert address in refused(serve(TABLE, "--listen", "localhost:0", "--listen", address, wait=False))


@pytest.mark.skipif(sys.platform != "linux", reason="capabilities are Linux's")
def test_a_privileged_port_is_reported_in_one_line(serve):
    if lowest_free_port() <= 1:
        pytest.skip("this machine has no privileged ports")
    server = serve(TABLE, "--listen", "127.0.0.1:1", wait=False, preexec_fn=no_longer_root)
    assert refused(server) == (
        "cannot listen on 127.0.0.1:1: no permission: ports below 1024 need root; "
        "choose a higher one, and let the proxy listen on this one"
    )


@pytest.mark.parametrize("host", ["no-such-host.invalid", f"{'a' * 64}.example", "a..b"])
def test_an_unknown_host_is_reported_in_one_line(serve, host):
    assert refused(serve(TABLE, "--listen", f"{host}:8080", wait=False)) == (
        f"cannot listen on {host}:8080: this host name is unknown here; write an IP address"
    )


def test_the_address_of_another_machine_is_reported_in_one_line(serve):
    assert refused(serve(TABLE, "--listen", "203.0.113.1:8080", wait=False)) == (
        "cannot listen on 203.0.113.1:8080: this machine does not have that address; "
        "choose one of its own, such as 127.0.0.1"
    )


def test_a_host_with_a_nul_is_reported_in_one_line(serve):
    assert "cannot listen on" in refused(serve(table(listen="a\0b:8080"), wait=False))


def test_every_address_is_served(serve):
    server = serve(TABLE, "--listen", "127.0.0.1:0", "--listen", "localhost:0")
    assert len(server.urls) >= 2
    for url in server.urls:
        with Client(url) as client:
            assert client.get("/app/").status == 200


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_an_ipv6_address_is_served(serve):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    server = serve(TABLE, "--listen", "[::1]:0")
    assert re.fullmatch(r"http://\[::1\]:[0-9]+", server.url)
    with Client(server.url) as client:
        assert client.get("/app/").status == 200


def test_a_port_can_be_reused_at_once(serve):
    first = serve(TABLE)
    address = f"127.0.0.1:{first.port}"
    with Client(first.url) as client:
        assert client.get("/app/", "Connection: close").closes  # the server closes first, so its socket lingers
        assert first.stop() == 0
    second = serve(TABLE, "--listen", address)
    with Client(second.url) as client:
        assert client.get("/app/").status == 200


# --------------------------------------------------------------------------------------------------------- unix sockets


def test_a_unix_socket_is_served_with_its_permissions(serve, socket_path):
    server = serve(TABLE, "--listen", f"unix:{socket_path}")
    assert server.urls == [f"unix:{socket_path}"]
    assert stat.S_IMODE(socket_path.stat().st_mode) == 0o660
    with Client(server.url) as client:
        assert client.get("/app/").status == 200
    assert server.stop() == 0
    assert not socket_path.exists()


@pytest.mark.parametrize("permissions", ["600", "0666"])
def test_a_unix_socket_has_the_configured_permissions(serve, socket_path, permissions):
    serve(table(listen=f"unix:{socket_path}", unix_socket_perms=permissions))
    assert stat.S_IMODE(socket_path.stat().st_mode) == int(permissions, 8)


def test_a_unix_socket_of_a_live_server_fails_the_start(serve, socket_path):
    address = f"unix:{socket_path}"
    first = serve(TABLE, "--listen", address)
    assert refused(serve(TABLE, "--listen", address, wait=False)) == (
        f"cannot listen on {address}: another program listens there already; "
        "stop it, or choose another address (listen, --listen)"
    )
    with Client(first.url) as client:
        assert client.get("/app/").status == 200


def test_a_unix_socket_of_a_loading_server_fails_the_start(serve, socket_path, tmp_path):
    (tmp_path / "slow.py").write_text(
        "import pathlib, sys, time\nprint('loading', file=sys.stderr, flush=True)\n"
        "while not pathlib.Path('go').exists():\n    time.sleep(0.01)\n"
    )
    address = f"unix:{socket_path}"
    first = serve('[mounts]\n"/" = "slow:app"\n', "--listen", address, wait=False)
    first.wait_for("loading")
    assert "another program listens there already" in refused(serve(TABLE, "--listen", address, wait=False))
    (tmp_path / "go").touch()
    first.wait_for("serving on")
    assert socket_path.exists()


def test_a_unix_socket_of_a_busy_server_fails_the_start(serve, socket_path):
    with socket.socket(socket.AF_UNIX) as busy, ExitStack() as stack:
        busy.bind(str(socket_path))
        busy.listen(0)
        while True:
            waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
            waiting.setblocking(False)
            if waiting.connect_ex(str(socket_path)) == errno.EAGAIN:
                break
        assert "another program listens there already" in refused(
            serve(TABLE, "--listen", f"unix:{socket_path}", wait=False)
        )
        assert socket_path.exists()


def test_a_stale_unix_socket_is_replaced(serve, socket_path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(socket_path))
        dead.listen()
    server = serve(TABLE, "--listen", f"unix:{socket_path}")
    with Client(server.url) as client:
        assert client.get("/app/").status == 200


def test_a_file_at_the_path_of_a_unix_socket_is_kept(serve, socket_path):
    socket_path.write_text("precious")
    assert refused(serve(TABLE, "--listen", f"unix:{socket_path}", wait=False)) == (
        f"cannot listen on unix:{socket_path}: a file of that name exists and is not a socket; move it away"
    )
    assert socket_path.read_text() == "precious"


def test_a_missing_folder_of_a_unix_socket_is_reported(serve, socket_path):
    address = f"unix:{socket_path.parent}/run/s.sock"
    assert refused(serve(TABLE, "--listen", address, wait=False)) == (
        f"cannot listen on {address}: the folder {socket_path.parent}/run is missing; create it"
    )


@pytest.mark.parametrize("name", ["s" * 120, "s" * 300, "f" * 300 + "/s"])
def test_a_too_long_path_of_a_unix_socket_is_reported(serve, socket_path, name):
    address = f"unix:{socket_path.parent}/{name}"
    line = refused(serve(TABLE, "--listen", address, wait=False))
    assert line.startswith(f"cannot listen on {address}: ")
    assert "too long" in line


def test_a_nul_in_the_path_of_a_unix_socket_is_reported(serve, socket_path):
    assert "cannot listen on" in refused(serve(table(listen=f"unix:{socket_path}\0x"), wait=False))


def test_a_unix_socket_that_replaced_ours_is_kept_at_the_stop(serve, socket_path):
    server = serve(TABLE, "--listen", f"unix:{socket_path}")
    socket_path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(socket_path))
        assert server.stop() == 0
        assert socket_path.exists()


def test_a_unix_socket_is_removed_after_a_chdir_of_an_app(serve, socket_path):
    (socket_path.parent / "wanders.py").write_text(
        "import os\nos.chdir('/')\ndef app(environ, start_response):\n    raise NotImplementedError\n"
    )
    (socket_path.parent / "mounts.toml").write_text('[mounts]\n"/" = "wanders:app"\n')
    server = serve(Path("mounts.toml"), "--listen", "unix:s.sock", cwd=socket_path.parent)
    assert socket_path.exists()
    assert server.stop() == 0
    assert not socket_path.exists()


def test_a_start_that_fails_leaves_no_unix_socket_behind(serve, socket_path):
    server = serve(
        '[mounts]\n"/" = "no.such:app"', "--strict", "--listen", f"unix:{socket_path}", wait=False
    )  # the socket is bound before the apps load
    assert server.wait() == 1
    assert not socket_path.exists()


# ----------------------------------------------------------------------------------------------------- many connections


def limit_files(soft, hard):
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux reads the limits of another process")
def test_the_soft_limit_of_open_files_is_raised_to_the_hard_one(serve):
    server = serve(TABLE, preexec_fn=limit_files(256, 2048))
    assert resource.prlimit(server.pid, resource.RLIMIT_NOFILE) == (2048, 2048)


def test_a_connection_beyond_connection_limit_waits(serve):
    server = serve(table(connection_limit=1))
    with Client(server.url) as first, Client(server.url) as second:
        assert first.get("/app/").status == 200
        second.request("/app/")
        server.wait_for("no longer accepting new connections")
        first.close()
        assert second.answer().status == 200


def test_a_connection_limit_above_the_open_files_limit_is_rejected(serve):
    server = serve(table(connection_limit=146), wait=False, preexec_fn=limit_files(256, 500))
    line = refused(server)
    assert line.endswith(
        "mounts.toml: server.connection_limit: expected at most 145, which the limit of open files of "
        "this process allows, found 146; raise the limit (ulimit -n, LimitNOFILE=) or write a smaller number"
    )


def test_few_open_files_still_answer_all_clients(serve):
    server = serve(TABLE, preexec_fn=limit_files(150, 150))
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(server.url)) for _ in range(100)]
        for client in clients:
            client.request("/app/", "Connection: close")
        assert [client.answer().status for client in clients] == [200] * 100
    assert server.stop() == 0
    assert "Too many open files" not in server.log()


def test_a_server_with_64_open_files_serves(serve):
    server = serve(TABLE, preexec_fn=limit_files(64, 64))
    with Client(server.url) as client:
        assert client.get("/app/").status == 200


def test_more_than_1024_descriptors_are_served(serve):
    needed = 3 * 1300 + 64
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.skip(f"needs {needed} open files, and {hard} are allowed")
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    server = serve(table(connection_limit=1300))
    if soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))  # for the client sockets
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        clients = [stack.enter_context(Client(server.url)) for _ in range(1200)]
        for client in clients[:: len(clients) // 10] + clients[-1:]:
            assert client.get("/app/").status == 200
        assert server.stop() == 0
        assert all(client.is_closed() for client in clients)
    assert "Traceback" not in server.log()
