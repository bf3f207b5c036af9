"""The systemd protocols that a server needs: socket activation, notifications, and the watchdog.

They consist of environment variables, inherited descriptors and datagrams; see sd_listen_fds(3), sd_notify(3) and
sd_watchdog_enabled(3). Without systemd every function here does nothing.
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

_FIRST_DESCRIPTOR = 3  # SD_LISTEN_FDS_START
_LISTEN_VARIABLES = ("LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES")
# systemd ignores a datagram of more than 4,096 bytes as a whole. A few lines of 500 characters, 4 bytes each, fit.
_MAX_LINE = 500

logger = logging.getLogger("mountpoint")


def inherited_sockets(environ: MutableMapping[str, str] = os.environ) -> list[socket.socket]:
    """Return the listening sockets that a ``.socket`` unit hands to this process, in the order of the unit.

    The list is empty without such a unit, or if the sockets are meant for another process. The sockets become
    non-inheritable, and their variables leave *environ*: a child process could otherwise serve on them too.
    Raises `ServeError` if one of them is not a listening stream socket.
    """
    variables = {name: environ.pop(name, "") for name in _LISTEN_VARIABLES}
    if sys.platform == "win32" or not variables["LISTEN_PID"]:
        return []
    if _decimal(variables["LISTEN_PID"]) != os.getpid():
        # The usual reason: a wrapper process stays between systemd and this one.
        logger.info(
            "the sockets from systemd are for process %s, and this is process %d, so they are ignored; ExecStart= must "
            "run mountpoint itself, and a shell script there must end in exec",
            variables["LISTEN_PID"],
            os.getpid(),
        )
        return []
    count = _decimal(variables["LISTEN_FDS"])
    if not count:
        found = variables["LISTEN_FDS"]
        raise ServeError(f'LISTEN_FDS: expected the number of sockets from systemd, 1 or more, found "{found}"')
    names = dict(enumerate(variables["LISTEN_FDNAMES"].split(":"), _FIRST_DESCRIPTOR))
    sockets: list[socket.socket] = []
    try:
        for descriptor in range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + count):
            sockets.append(_listening_socket(descriptor, names.get(descriptor, "")))
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _listening_socket(descriptor: int, name: str) -> socket.socket:
    """Return the socket at *descriptor*; raise `ServeError` unless it is a listening stream socket."""
    if sys.platform == "win32":
        raise NotImplementedError
    where = f"descriptor {descriptor}" + (f" ({name})" if name else "")
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            raise _unusable(where, "a file that is not a socket", "ListenStream=, not ListenFIFO= or ListenSpecial=,")
        os.set_inheritable(descriptor, False)
        sock = socket.socket(fileno=descriptor)  # detects family and type
    except OSError:
        raise ServeError(
            f"{where}: expected a socket from systemd, found a closed descriptor; "
            "ExecStart= must run mountpoint itself, or a program that leaves descriptors open"
        ) from None
    try:
        if sock.type != socket.SOCK_STREAM:
            raise _unusable(where, f"a socket of another type ({sock.type.name})", "ListenStream=")
        if sock.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
            raise _unusable(where, "a socket of another family", 'ListenStream= with "host:port" or "/path"')
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise _unusable(where, "a socket that does not listen", "ListenStream= and Accept=no")
    except BaseException:
        sock.close()
        raise
    return sock


def _unusable(where: str, found: str, write: str) -> ServeError:
    return ServeError(
        f"{where}: expected a listening stream socket, found {found}; write {write} in the [Socket] section of its unit"
    )


class Notifier:
    """Sends notifications to systemd, as sd_notify(3) describes. Without systemd it sends nothing.

    The address is read from *environ* once: apps share the environment of the process, and may empty it.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")

    @property
    def is_enabled(self) -> bool:
        """Whether systemd, or another service manager, asked for notifications."""
        return bool(self._address)

    def notify(self, *lines: str) -> bool:
        """Send *lines* (``READY=1``, ``STATUS=...``) as one message; return whether it was delivered.

        Never raises and never blocks. systemd reads ``MAINPID=`` before ``WATCHDOG=1``, in whichever order they come.
        So one message can name a new main process and restart the watchdog's time for it.
        """
        # "@" marks an abstract address. The third kind, "vsock:", is for a whole virtual machine.
        if sys.platform == "win32" or not self._address.startswith(("/", "@")):
            return False
        address = os.fsencode(self._address)
        # A newline, such as one in the name of a file, would start another line.
        message = "\n".join(line.replace("\n", " ")[:_MAX_LINE] for line in lines)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.sendto(message.encode(errors="replace"), b"\0" + address[1:] if address[:1] == b"@" else address)
        except OSError as error:
            logger.debug("systemd did not receive %r: %s", message, error)
            return False
        return True


def reloading_lines() -> tuple[str, str]:
    """Return the notification that begins a reload. ``READY=1`` must follow at its end, whatever its outcome.

    Type=notify-reload compares the time, in microseconds, with the time of its signal.
    """
    return "RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}"


def watchdog_interval(environ: Mapping[str, str] = os.environ) -> float | None:
    """Return the seconds between two ``WATCHDOG=1`` notifications, None without a watchdog for this process.

    This is half of WatchdogSec=, as sd_watchdog_enabled(3) recommends.
    """
    if environ.get("WATCHDOG_PID") not in (None, str(os.getpid())):
        return None
    microseconds = _decimal(environ.get("WATCHDOG_USEC", ""))
    return microseconds / 2_000_000 if microseconds else None


def successor_environ(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return *environ* for a process that takes over from this one.

    WATCHDOG_PID is left out, because it names this process: the successor would not send ``WATCHDOG=1``, and systemd
    would kill it.
    """
    return {name: value for name, value in environ.items() if name not in ("WATCHDOG_PID", *_LISTEN_VARIABLES)}


def _decimal(text: str) -> int | None:
    """Return the decimal number in *text*, None if *text* is anything else or longer than a 64-bit number."""
    return int(text) if re.fullmatch("[0-9]{1,20}", text) else None
