"""The things that a process inherits from the one that it takes over from.

The old process writes them into an environment variable. Its process id alone does not tell for whom they are meant:
the old process may have ended since, and a process in between may have passed its environment on. So the variable has
the device and the inode of each descriptor too. A process that has exactly these descriptors has inherited them.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import stat
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ..errors import ServeError
from ..loading.forking import close_in_children

VARIABLE = "MOUNTPOINT_TAKEOVER"

logger = logging.getLogger("mountpoint")


@dataclass(slots=True, weakref_slot=True)
class Inheritance:
    """The things that a process receives from the one that it takes over from.

    ``sockets``         listening sockets, by the text of their address
    ``status_sockets``  those of the status page, likewise
    ``from_systemd``    whether systemd has bound them
    ``working_mounts``  the keys of the mounts whose apps work in the old process
    ``ready_pipe``      the descriptor for the report that this process serves
    ``old_pid``         the id of the old process, which may have ended since
    """

    sockets: dict[str, list[socket.socket]] = field(default_factory=dict)
    from_systemd: bool = False
    working_mounts: frozenset[str] = frozenset()
    ready_pipe: int | None = None
    old_pid: int | None = None
    status_sockets: dict[str, list[socket.socket]] = field(default_factory=dict)

    @property
    def old_process_serves(self) -> bool:
        """Whether the old process has not ended. It is the parent of this one until then."""
        return sys.platform != "win32" and self.old_pid == os.getppid()

    def notify_ready(self) -> None:
        """Report to the old process that this one serves."""
        if self.ready_pipe is not None:
            with suppress(OSError):  # the old process has ended
                os.write(self.ready_pipe, b"ready")
            self.close_in_child()

    def close_in_child(self) -> None:
        """Close the pipe without a report."""
        if self.ready_pipe is not None:
            os.close(self.ready_pipe)
            self.ready_pipe = None


def identity(descriptor: int) -> tuple[int, int]:
    """Return device and inode of *descriptor*. Raises OSError if it is closed."""
    state = os.fstat(descriptor)
    return state.st_dev, state.st_ino


def read_inheritance() -> Inheritance:
    """Return the inheritance from a `Takeover`, empty if none is meant for this process.

    Removes its variable from the environment, so that apps do not see it. Raises `ServeError` if no `Takeover` can have
    written the variable, or if it is for this process and names other descriptors than the process has.
    """
    text = os.environ.pop(VARIABLE, "")
    if sys.platform == "win32" or not text:
        return Inheritance()
    try:
        fields = _Fields(json.loads(text))
    except (ValueError, TypeError, KeyError, RecursionError):
        found = text if len(text) <= 200 else text[:200] + "..."
        raise ServeError(
            f"{VARIABLE}: expected a text from a server that hands over its sockets, found {found!a}; remove the "
            "variable from the environment of this command"
        ) from None
    is_child = fields.pid == os.getppid()
    if problem := _problem(fields):
        if is_child:
            raise ServeError(f"{VARIABLE}: {problem}; send SIGUSR2 to the serving process again")
        logger.info("%s is ignored, because it is meant for another process: %s", VARIABLE, problem)
        return Inheritance()
    if not is_child and not fields.identities:  # without them it may be meant for a process in between
        return Inheritance()
    sockets: dict[str, list[socket.socket]] = {}
    status_sockets: dict[str, list[socket.socket]] = {}
    for position, (address, descriptor) in enumerate(fields.sockets):
        os.set_inheritable(descriptor, False)
        group = sockets if position < len(fields.sockets) - fields.status else status_sockets
        group.setdefault(address, []).append(socket.socket(fileno=descriptor))
    os.set_inheritable(fields.ready, False)
    inheritance = Inheritance(
        sockets, fields.are_systemds, frozenset(fields.working), fields.ready, fields.pid, status_sockets
    )
    close_in_children(inheritance)
    return inheritance


class _Fields:
    """The fields of the variable. Raises ValueError, TypeError or KeyError if they have other types than expected."""

    def __init__(self, fields: Any) -> None:
        self.pid = _number(fields["pid"])
        self.sockets = [(_text(address), _number(descriptor)) for address, descriptor in fields["sockets"]]
        self.ready = _number(fields["ready"])
        self.working = [_text(key) for key in fields["working"]]
        self.are_systemds = bool(fields.get("are_systemds"))
        self.status = _number(fields.get("status", 0))  # how many sockets, the last ones, are the status page's
        # Absent if the old process is of a release that did not write them.
        self.identities = [(_number(device), _number(inode)) for device, inode in fields.get("identities", ())]
        self.descriptors = [*(descriptor for _, descriptor in self.sockets), self.ready]
        if self.status > len(self.sockets):
            raise ValueError("expected at most as many sockets of the status page as there are sockets")
        if len({*self.descriptors}) < len(self.descriptors):
            raise ValueError("a descriptor is named twice")
        if self.identities and len(self.identities) != len(self.descriptors):
            raise ValueError("expected an identity for each descriptor")


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**64:
        raise ValueError("expected a number")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("expected a text")
    return value


def _problem(fields: _Fields) -> str | None:
    """Return the first difference between the descriptors of this process and those in *fields*, None without one."""
    for index, descriptor in enumerate(fields.descriptors):
        try:
            mode, found = os.fstat(descriptor).st_mode, identity(descriptor)
        except (OSError, OverflowError):
            return f"expected an open descriptor {descriptor}, found it closed"
        if descriptor == fields.ready:
            kind, is_right = "pipe", stat.S_ISFIFO(mode)
        else:
            kind, is_right = "listening socket", _is_listening(descriptor, mode)
        if not is_right:
            return f"expected descriptor {descriptor} to be a {kind}, found another"
        if fields.identities and found != fields.identities[index]:
            return f"expected descriptor {descriptor} of the old process, found another"
    return None


def _is_listening(descriptor: int, mode: int) -> bool:
    """Return whether *descriptor*, of a file with *mode*, is a stream socket that listens."""
    if not stat.S_ISSOCK(mode):
        return False
    sock = socket.socket(fileno=descriptor)
    try:
        return sock.type == socket.SOCK_STREAM and bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False
    finally:
        sock.detach()
