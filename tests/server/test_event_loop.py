"""The loop is woken for each change of a worker thread, whenever in an iteration that comes."""

import socket

import pytest

from mountpoint.server.event_loop import EventLoop

WAIT = 5.0  # seconds; a lost wake-up takes as long


class Owner:
    """The owner of one end of a pair of sockets, which calls *on_read* before it reads."""

    accepting = False

    def __init__(self, sock, on_read=lambda: None):
        self.socket, self._fileno, self.on_read = sock, sock.fileno(), on_read
        self.asked = 0  # how often the loop asked for the interest

    def readable(self):
        self.asked += 1
        return True

    def writable(self):
        return False

    def handle_read_event(self):
        self.on_read()
        self.socket.recv(100)


@pytest.fixture
def pair():
    pairs = []

    def pair():
        pairs.append(socket.socketpair())
        return pairs[-1]

    yield pair
    for one in [sock for both in pairs for sock in both]:
        one.close()


@pytest.mark.parametrize("is_pipe", [True, False])
def test_a_change_during_the_events_of_an_iteration_loses_no_wake_up(pair, is_pipe):
    """The byte of that change is read together with the byte that woke the loop."""
    (pipe_end, wake_end), (sock, peer) = pair(), pair()
    loop = EventLoop(lambda: wake_end.send(b"x"))
    pipe, owner = Owner(pipe_end), Owner(sock)
    for each in (pipe, owner):
        loop.owners[each._fileno] = each
    loop.run_once(0)
    (pipe if is_pipe else owner).on_read = lambda: loop.update_soon(owner)  # as a worker thread may do at this moment
    peer.send(b"x")
    loop.wake()
    loop.run_once(WAIT)
    pipe.on_read = owner.on_read = lambda: None

    asked = owner.asked
    loop.update_soon(owner)
    assert pipe_end.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"x"
    loop.run_once(WAIT)
    assert owner.asked > asked
