"""The little of systemd's protocols that a server needs: sockets that it hands over, messages to it, its watchdog.

All of it is environment variables, descriptors and datagrams; see sd_listen_fds(3), sd_notify(3),
sd_watchdog_enabled(3). Where systemd is not there, all of it is nothing.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import stat
import sys
import time
from collections.abc import Mapping, MutableMapping

from ..errors import ServeError

_FIRST = 3  # SD_LISTEN_FDS_START: what comes after stdin, stdout and stderr
_LISTEN_VARIABLES = ("LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES")
# systemd ignores a datagram of more than 4096 bytes, READY=1 and all; a few lines of up to 4 bytes a character fit.
_LONGEST_LINE = 500

logger = logging.getLogger("mountpoint")


def inherited_sockets(environ: MutableMapping[str, str] = os.environ) -> list[socket.socket]:
    """Return the listening sockets that a ``.socket`` unit hands to this process, in the unit's order.

    None if there are none, or if they are meant for another process. They are not passed on: children do not inherit
    them, and the variables that speak of them leave *environ*, since a child that believed them would serve on its
    own descriptors. Raises `ServeError` if one is no listening stream socket.
    """
    variables = {name: environ.pop(name, "") for name in _LISTEN_VARIABLES}
    if sys.platform == "win32" or not variables["LISTEN_PID"]:
        return []
    if _number(variables["LISTEN_PID"]) != os.getpid():
        # The usual reason is a wrapper that stays between systemd and us.
        logger.info(
            "the sockets of systemd are for process %s, this is %d: they are not used; ExecStart= must run "
            "mountpoint itself, a shell script there must end in exec",
            variables["LISTEN_PID"],
            os.getpid(),
        )
        return []
    count = _number(variables["LISTEN_FDS"])
    if not count:
        found = variables["LISTEN_FDS"]
        raise ServeError(f'LISTEN_FDS: expected how many sockets systemd hands over, from 1 on, found "{found}"')
    names = dict(enumerate(variables["LISTEN_FDNAMES"].split(":"), _FIRST))
    sockets: list[socket.socket] = []
    try:
        for descriptor in range(_FIRST, _FIRST + count):
            sockets.append(_listening_socket(descriptor, names.get(descriptor, "")))
    except BaseException:
        for one in sockets:
            one.close()
        raise
    return sockets


def _listening_socket(descriptor: int, name: str) -> socket.socket:
    """Return the socket at *descriptor*; raise `ServeError` if it is none that can be connected to."""
    if sys.platform == "win32":
        raise NotImplementedError
    where = f"descriptor {descriptor}" + (f" ({name})" if name else "")
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            raise _unusable(where, "no socket", "ListenStream=, and no ListenFIFO= or ListenSpecial=")
        os.set_inheritable(descriptor, False)
        one = socket.socket(fileno=descriptor)  # which finds out its family and type
    except OSError:
        raise ServeError(
            f"{where}: expected a socket of systemd, found that it is not open; "
            "ExecStart= must run mountpoint itself, or what closes no descriptors"
        ) from None
    try:
        if one.type != socket.SOCK_STREAM:
            raise _unusable(where, f"a socket of another type ({one.type.name})", "ListenStream=")
        if one.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
            raise _unusable(where, "one of another family", 'ListenStream= with "host:port" or "/path"')
        if not one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise _unusable(where, "one that does not listen", "ListenStream= and Accept=no")
    except BaseException:
        one.close()
        raise
    return one


def _unusable(where: str, found: str, write: str) -> ServeError:
    return ServeError(
        f"{where}: expected a listening stream socket, found {found}; write {write} in the [Socket] section of its unit"
    )


class Notifier:
    """Tells systemd how this process is, as sd_notify(3) has it; without systemd it says nothing.

    The address is taken from *environ* once: apps share the process's environment, and may empty it.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")

    @property
    def is_there(self) -> bool:
        """Whether this process runs under systemd, or something else that wants to be told."""
        return bool(self._address)

    def notify(self, *lines: str) -> bool:
        """Send *lines* (``READY=1``, ``STATUS=...``) as one message; return whether systemd has got it.

        Never raises and never waits. systemd reads ``MAINPID=`` before ``WATCHDOG=1``, wherever it stands, so that
        one message names a new main process and gives it the whole of WatchdogSec=.
        """
        # Abstract addresses are written with an @. "vsock:" is for a whole virtual machine.
        if sys.platform == "win32" or not self._address.startswith(("/", "@")):
            return False
        address = os.fsencode(self._address)
        # A line that had a newline, in a file's name say, would be two.
        message = "\n".join(line.replace("\n", " ")[:_LONGEST_LINE] for line in lines)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.sendto(message.encode(errors="replace"), b"\0" + address[1:] if address[:1] == b"@" else address)
        except OSError as error:
            logger.debug("systemd was not told %r: %s", message, error)
            return False
        return True


def reloading() -> tuple[str, str]:
    """Return the lines that begin a reload; ``READY=1`` must end it, whether or not the new table is taken.

    Type=notify-reload compares the time, in microseconds, with that of its signal.
    """
    return "RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}"


def watchdog_interval(environ: Mapping[str, str] = os.environ) -> float | None:
    """Return after how many seconds ``WATCHDOG=1`` is to be sent each time, or None if nobody waits for it.

    Half of WatchdogSec=, as sd_watchdog_enabled(3) recommends.
    """
    if environ.get("WATCHDOG_PID") not in (None, str(os.getpid())):
        return None
    microseconds = _number(environ.get("WATCHDOG_USEC", ""))
    return microseconds / 2_000_000 if microseconds else None


def successor_environ(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return *environ* for a process that takes over from this one.

    WATCHDOG_PID names this one: with it the successor would send nothing, and be killed for that.
    """
    return {name: value for name, value in environ.items() if name not in ("WATCHDOG_PID", *_LISTEN_VARIABLES)}


def _number(text: str) -> int | None:
    """Return the decimal number that *text* is, None if it is none, or is longer than one of 64 bits."""
    return int(text) if re.fullmatch("[0-9]{1,20}", text) else None
