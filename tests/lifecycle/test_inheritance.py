"""The variable through which a process inherits sockets: for whom it is meant, and what is wrong with it."""

import json
import os
import socket
import sys
from pathlib import Path

import pytest

from mountpoint.errors import ServeError
from mountpoint.lifecycle.inheritance import VARIABLE, Inheritance, identity, read_inheritance

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGUSR2")

ENDED = 2**22 + 1  # a process id that Linux never gives


@pytest.fixture
def descriptors():
    """Yield copies of a listening socket and of the write end of a pipe, as an old process hands them over."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        read_end, write_end = os.pipe()
        yield [os.dup(listener.fileno()), write_end]
        os.close(read_end)


@pytest.fixture
def inherit(descriptors, monkeypatch):
    """Return ``inherit(**fields)``, which reads a variable with *fields* in place of those that are right."""

    def inherit(**changes):
        fields = {
            "pid": os.getppid(),
            "sockets": [["127.0.0.1:80", descriptors[0]]],
            "are_systemds": False,
            "working": ["/app"],
            "ready": descriptors[1],
            "identities": [identity(descriptor) for descriptor in descriptors],
        }
        merged = {name: value for name, value in {**fields, **changes}.items() if value is not ...}
        monkeypatch.setenv(VARIABLE, json.dumps(merged))
        inheritance = read_inheritance()
        assert VARIABLE not in os.environ
        return inheritance

    return inherit


def close(inheritance):
    for group in inheritance.sockets.values():
        for sock in group:
            sock.close()
    os.close(inheritance.ready_pipe)


@pytest.mark.parametrize(
    ("changes", "serves"),
    [({}, True), ({"pid": ENDED}, False), ({"identities": ...}, True)],
    ids=["child", "orphan", "older release"],
)
def test_the_sockets_are_inherited(inherit, descriptors, changes, serves):
    inheritance = inherit(**changes)
    [[sock]] = inheritance.sockets.values()
    assert (sock.fileno(), inheritance.ready_pipe) == tuple(descriptors)
    assert inheritance.working_mounts == {"/app"}
    assert inheritance.old_process_serves is serves
    assert not os.get_inheritable(sock.fileno())
    close(inheritance)


@pytest.mark.parametrize("are_systemds", [False, True])
def test_the_last_sockets_are_those_of_the_status_page(inherit, descriptors, are_systemds):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        page = os.dup(listener.fileno())
        sockets = [["127.0.0.1:80", descriptors[0]], ["127.0.0.1:81", page]]
        inheritance = inherit(sockets=sockets, status=1, are_systemds=are_systemds, identities=...)
        assert [*inheritance.sockets] == ["127.0.0.1:80"]
        [sock] = inheritance.status_sockets.pop("127.0.0.1:81")
        assert sock.fileno() == page
        sock.close()
    close(inheritance)


def test_a_variable_for_a_process_in_between_is_ignored(inherit, descriptors):
    one, other = map(identity, descriptors)
    for identities in (..., [], [other, one], [[0, 0], [0, 0]]):
        assert inherit(pid=ENDED, identities=identities) == Inheritance()
    assert inherit(pid=ENDED, ready=2**20) == Inheritance()
    assert inherit(pid=ENDED, sockets=[["127.0.0.1:80", 2**20]]) == Inheritance()
    for descriptor in descriptors:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"ready": 2**20}, "expected an open descriptor 1048576, found it closed"),
        ({"ready": 2**63}, "expected an open descriptor 9223372036854775808, found it closed"),
        ({"identities": [[0, 0], [0, 0]]}, "of the old process, found another"),
    ],
)
def test_wrong_descriptors_of_the_own_process_are_an_error(inherit, changes, problem):
    with pytest.raises(ServeError, match=problem):
        inherit(**changes)


def test_a_socket_that_does_not_listen_is_an_error(inherit, descriptors):
    with socket.socket() as idle, socket.socket(type=socket.SOCK_DGRAM) as datagrams, Path(os.devnull).open() as file:
        for other in (idle, datagrams, file):
            with pytest.raises(ServeError, match="to be a listening socket, found another"):
                inherit(sockets=[["127.0.0.1:80", other.fileno()]], identities=...)
        with pytest.raises(ServeError, match="to be a pipe, found another"):
            inherit(ready=idle.fileno(), identities=...)


@pytest.mark.parametrize(
    "changes",
    [
        {"pid": "1"},
        {"pid": True},
        {"pid": ...},
        {"sockets": None},
        {"sockets": "ab"},
        {"sockets": [["x"]]},
        {"sockets": [[1, 2]]},
        {"sockets": [["x", -1]]},
        {"sockets": [["x", 1.5]]},
        {"sockets": [["x", 3], ["y", 3]]},
        {"status": 2},
        {"status": "1"},
        {"working": 1},
        {"working": [[]]},
        {"ready": None},
        {"identities": None},
        {"identities": [[1, 1]]},
    ],
    ids=str,
)
def test_fields_of_other_types_are_an_error(inherit, changes):
    with pytest.raises(ServeError, match="MOUNTPOINT_TAKEOVER: expected a text from a server"):
        inherit(**changes)


@pytest.mark.parametrize("text", ["{", "[]", "1", "null", '"x"', "{}", "[" * 100_000, "1" * 10_000, "\udcff"])
def test_a_text_of_another_form_is_an_error(monkeypatch, text):
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(ServeError, match="remove the variable from the environment"):
        read_inheritance()
