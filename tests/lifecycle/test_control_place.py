"""The names of control sockets."""

import sys

import pytest

from mountpoint.lifecycle.control_place import socket_name

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no control socket")


def test_each_table_has_a_socket_of_its_own(tmp_path):
    files = [tmp_path / f"site{number}" / "mounts.toml" for number in range(1000)]
    assert len({socket_name(file) for file in files}) == len(files)


def test_every_process_finds_the_same_name(tmp_path):
    """The name does not depend on the process, as `hash` does: it is the 64-bit FNV-1a hash of ``/``."""
    assert socket_name("/") == "af63a24c860189fe.sock"


def test_a_symbolic_link_to_a_table_has_the_socket_of_the_table(tmp_path):
    file, link = tmp_path / "mounts.toml", tmp_path / "link.toml"
    file.touch()
    link.symlink_to(file)
    assert socket_name(link) == socket_name(file)
