"""The descriptors of a server, closed as a forked child closes them."""

import os
import socket
import sys
from contextlib import closing

import pytest
from support.running import socket_path
from waitress.trigger import trigger

from mountpoint.config.address import listen_address
from mountpoint.server.descriptors import ServerDescriptors
from mountpoint.server.sockets import bind

__all__ = ["socket_path"]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")


class Owner:
    def __init__(self, sock):
        self.socket = sock


def is_open(descriptor):
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_sockets_and_both_ends_of_the_pipe_are_closed():
    owners = {}
    pipe = trigger(owners)
    with closing(socket.socket()) as one, closing(socket.socket()) as two:
        owners |= {one.fileno(): Owner(one), two.fileno(): Owner(two)}
        numbers = [*owners, *pipe._fds]
        os.close(two.fileno())  # by an app
        ServerDescriptors(owners).close_in_child()
        assert len(numbers) == 5
        assert not any(map(is_open, numbers))
    pipe._fds = []


def test_the_file_of_a_unix_socket_stays_when_a_child_closes_the_socket(socket_path):
    (bound,) = bind([listen_address(f"unix:{socket_path}")])
    bound.close_in_child()
    assert bound.socket.fileno() == -1
    assert socket_path.exists()
    bound.close()
    assert not socket_path.exists()
