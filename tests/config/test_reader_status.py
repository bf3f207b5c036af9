"""The section ``[status]`` of `mounts.toml`."""

from __future__ import annotations

import sys

import pytest
from support.tables import config_of, problems_of

from mountpoint.config.address import Address
from mountpoint.config.status import StatusConfig

KEY = "0123456789abcdef0123456789abcdef"
MOUNTS = '\n[mounts]\n"/a" = "app"\n'


def test_without_the_section_the_server_has_no_page(tmp_path):
    assert config_of(tmp_path, MOUNTS).status == StatusConfig()


@pytest.mark.parametrize("listen", ["127.0.0.1:8081", "127.9.9.9:0", "[::1]:8081", "localhost:8081", "LOCALHOST:1"])
def test_a_loopback_address_needs_no_key(tmp_path, listen):
    status = config_of(tmp_path, f'[status]\nlisten = "{listen}"{MOUNTS}').status
    assert str(status.listen) == listen
    assert status.key == ""


@pytest.mark.parametrize(
    "listen",
    ["0.0.0.0:8081", "*:8081", "[::]:8081", "10.0.0.1:8081", "example.com:8081", "[::ffff:127.0.0.1]:1", "127.1:8081"],
)
def test_every_other_address_needs_a_key(tmp_path, listen):
    [problem] = problems_of(tmp_path, f'[status]\nlisten = "{listen}"{MOUNTS}')
    assert problem.startswith(f"status.key: expected a key, because other machines can reach {listen}, found none; ")
    accepted = config_of(tmp_path, f'[status]\nlisten = "{listen}"\nkey = "{KEY}"{MOUNTS}').status
    assert accepted.key == KEY
    assert KEY not in repr(accepted)


@pytest.mark.skipif(sys.platform == "win32", reason="Python has no unix sockets on Windows")
def test_a_unix_socket_needs_no_key_and_is_relative_to_the_file(tmp_path):
    status = config_of(tmp_path, f'[status]\nlisten = "unix:run/s.sock"{MOUNTS}').status
    assert status.listen == Address(unix=tmp_path / "run/s.sock")


@pytest.mark.parametrize("server", ['["127.0.0.1:1", "127.0.0.1:2"]', '"127.0.0.1:2"'])
def test_the_page_cannot_share_an_address_of_the_server(tmp_path, server):
    text = f'[server]\nlisten = {server}\n[status]\nlisten = "127.0.0.1:2"{MOUNTS}'
    assert problems_of(tmp_path, text) == [
        'status.listen: expected another address than server.listen, found "127.0.0.1:2" in both; choose another port'
    ]


def test_two_free_ports_are_two_addresses(tmp_path):
    text = f'[server]\nlisten = "127.0.0.1:0"\n[status]\nlisten = "127.0.0.1:0"{MOUNTS}'
    assert config_of(tmp_path, text).status.listen == Address("127.0.0.1", 0)
