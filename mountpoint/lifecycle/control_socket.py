"""The file of a control socket: one server at a time holds it.

A server binds its socket under a temporary name, and renames it. So the path always leads to a socket that listens:
a command never finds a gap while a server replaces the socket of another one.
"""

from __future__ import annotations

import sys

assert sys.platform != "win32"  # `control` imports this module elsewhere only

import fcntl
import os
import socket
import stat
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_BACKLOG = 64
_MODE = 0o600
_GIVES_WAY = 0o700
_LOCK_SECONDS = 1.0  # after which the lock of a folder is ignored: another user may hold it for ever


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that listens on a path: its id, 0 if the system does not tell, and whether it gives way."""

    pid: int
    gives_way: bool = False


class ControlSocket:
    """A listening socket at *path*, once `claim` has succeeded."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket: socket.socket | None = None
        self._identity: tuple[int, int] | None = None  # device and inode of the file

    @property
    def is_held(self) -> bool:
        """Whether the path leads to this socket."""
        try:
            state = self.path.lstat()
        except OSError:
            return False
        return self._identity == (state.st_dev, state.st_ino)

    def claim(self, may_replace: Callable[[int], bool]) -> Holder | None:
        """Listen at the path, or return the process that listens there already.

        A process that gives way is replaced, and so is one if *may_replace* returns True for its id. The socket of a
        process that has ended is replaced too. Raises OSError if the path cannot be used.
        """
        with _locked(self.path.parent):
            if self.is_held:
                return None
            holder = find_holder(self.path)
            if holder is not None and not holder.gives_way and not may_replace(holder.pid):
                return holder
            self._listen()
        return None

    def give_way(self) -> None:
        """Let another server replace the socket. Until then this one answers.

        The mode of the file says so, because a server that starts must not wait for an answer of this one.
        """
        with suppress(OSError), _locked(self.path.parent):
            if self.is_held:
                self.path.chmod(_GIVES_WAY)

    def unlink(self) -> None:
        """Remove the file, if it still is this socket's. No further client connects then."""
        if self.socket is not None:
            with suppress(OSError), _locked(self.path.parent):
                if self.is_held:
                    self.path.unlink()

    def release(self) -> None:
        """Remove the file, and close the socket."""
        self.unlink()
        self.close()

    def close(self) -> None:
        """Close the socket. Its file stays."""
        self._identity = None
        sock, self.socket = self.socket, None
        if sock is not None:
            sock.close()

    def _listen(self) -> None:
        temporary = self.path.with_name(f".{os.urandom(4).hex()}")
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.bind(os.fsencode(temporary))
            try:
                temporary.chmod(_MODE)  # before it listens: until then the kernel refuses all connections
                sock.listen(_BACKLOG)
                state = temporary.lstat()
                temporary.rename(self.path)
            except BaseException:
                temporary.unlink()
                raise
        except BaseException:
            sock.close()
            raise
        self.close()
        self.socket, self._identity = sock, (state.st_dev, state.st_ino)


def find_holder(path: Path) -> Holder | None:
    """Return the process that listens at *path*, None without one. Raises OSError if the file is another one."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(f"{path} exists and is not a socket; move it away, or choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fsencode(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return None
        except BlockingIOError:  # its queue of connections is full
            return Holder(0, mode == stat.S_IFSOCK | _GIVES_WAY)
        return Holder(peer(probe)[0], mode == stat.S_IFSOCK | _GIVES_WAY)


def peer(sock: socket.socket) -> tuple[int, int | None]:
    """Return the process and the user at the other end of *sock*: 0 and None where the system does not tell."""
    if sys.platform == "linux":
        data = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII"))
        pid, user, _ = struct.unpack("iII", data)
        return pid, user
    if sys.platform == "darwin":
        return sock.getsockopt(0, 2), None  # SOL_LOCAL, LOCAL_PEERPID
    return 0, None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of *folder*, so that two servers that start at once do not both replace a stale socket."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:  # the folder may be written to and not read
        yield
        return
    try:
        deadline = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    break
                time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)
