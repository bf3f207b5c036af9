"""Sockets to listen on: bound here, so that each way in which it can fail gets a sentence of its own."""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config.address import Address
from ..errors import ServeError


@dataclass(slots=True)
class BoundSocket:
    """A socket that is bound; of a unix socket, which listens already, the *file* that we made: its path and inode.

    One that *is_systemds* stands for no ``listen`` of the file, and stays when that changes.
    """

    socket: socket.socket
    address: Address
    file: tuple[Path, int] | None = None
    is_systemds: bool = False

    def close(self) -> None:
        """Close the socket, and remove its file."""
        self.unlink()
        self.socket.close()

    def unlink(self) -> None:
        """Remove the file of a unix socket, if it is still the one that we made."""
        if self.file:
            path, inode = self.file
            self.file = None
            try:
                if path.stat().st_ino == inode:
                    path.unlink()
            except OSError:
                pass  # it is gone already, or its folder is


def bind(
    addresses: Sequence[Address],
    *,
    ipv4: bool = True,
    ipv6: bool = True,
    permissions: int = 0o660,
    inherited: Mapping[str, Sequence[socket.socket]] | None = None,
) -> list[BoundSocket]:
    """Bind a socket to each of *addresses*: one for each address that a host name stands for.

    *permissions* are those of the file of a unix socket. *inherited* are sockets that another process has bound, by the
    text of their address; those are taken in the place of new ones, and what is not among *addresses* is closed.
    Raises `ServeError`, with nothing left bound.
    """
    bound: list[BoundSocket] = []
    inherited = inherited or {}
    for text in inherited.keys() - set(map(str, addresses)):
        for sock in inherited[text]:
            sock.close()
    try:
        for address in addresses:
            if str(address) in inherited:
                bound += [BoundSocket(sock, address) for sock in inherited[str(address)]]
            elif address.unix:
                bound.append(_bind_unix(address, address.unix, permissions))
            else:
                bound.extend(_bind_tcp(address, ipv4=ipv4, ipv6=ipv6))
    except BaseException:
        for one in bound:
            one.close()
        raise
    return bound


def bound_by_systemd(sockets: Iterable[socket.socket]) -> list[BoundSocket]:
    """Return *sockets*, which listen already, as if they had been bound here; they stay systemd's, files and all."""
    bound = []
    for one in sockets:
        name = one.getsockname()
        if sys.platform != "win32" and one.family == socket.AF_UNIX:
            path = os.fsdecode(name).replace("\0", "@")
            address = Address(unix=Path(path))
        else:
            address = Address(host=name[0], port=name[1])
        bound.append(BoundSocket(one, address, is_systemds=True))
    return bound


def cannot_listen(address: Address, error: OSError) -> ServeError:
    """Return what is to be said of *error*, which came of listening on *address*."""
    match error.errno:
        case errno.EADDRINUSE:
            why = "another program listens there already; stop it, or choose another address (listen, --listen)"
        case errno.EACCES | errno.EPERM if address.unix:
            why = f"no permission to make a socket in {address.unix.parent}; mend it, or choose another folder"
        case errno.EACCES | errno.EPERM:
            why = "no permission: ports below 1024 are for root; choose one above, and let the proxy listen on this one"
        case errno.EADDRNOTAVAIL:
            why = "this machine has no such address; choose one that it has, 127.0.0.1 say"
        case _:
            why = error.strerror or str(error)
    return ServeError(f"cannot listen on {address}: {why}")


def _bind_tcp(address: Address, *, ipv4: bool, ipv6: bool) -> list[BoundSocket]:
    family = socket.AF_UNSPEC if ipv4 and ipv6 else socket.AF_INET if ipv4 else socket.AF_INET6
    try:
        found = socket.getaddrinfo(address.host or None, address.port, family, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError):
        raise ServeError(f"cannot listen on {address}: no such host is known here; write an address") from None
    bound: list[BoundSocket] = []
    failure: OSError | None = None
    for family, _, _, _, name in dict.fromkeys(found):
        try:
            bound.append(BoundSocket(_bind_one(family, name), address))
        except OSError as error:
            failure = error
            # A name or "*" stands for IPv4 and IPv6, and one of the two may be missing here.
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                break
    else:
        if bound:
            return bound
    for one in bound:
        one.close()
    assert failure is not None
    raise cannot_listen(address, failure)


def _bind_one(family: int, name: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere it would let two servers share the port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(name)
    except OSError:
        sock.close()
        raise
    return sock


def _bind_unix(address: Address, path: Path, permissions: int) -> BoundSocket:
    if sys.platform == "win32":
        raise ServeError(f"cannot listen on {address}: Windows has no unix sockets for servers")
    try:
        if not path.parent.is_dir():
            raise ServeError(f"cannot listen on {address}: the folder {path.parent} is missing; make it")
        _remove_stale(address, path)
    except OSError as error:  # a name that is too long, or a folder that is not permitted
        raise cannot_listen(address, error) from None
    except ValueError:
        raise ServeError(f"cannot listen on {address}: expected a path, found a NUL in it") from None
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(path))
        # Nobody can connect before it listens, so that there is no moment with other permissions.
        path.chmod(permissions)
        sock.listen(1)  # now, so that who starts while our apps are loaded sees that somebody lives here
        return BoundSocket(sock, address, (path, path.stat().st_ino))
    except OSError as error:
        sock.close()
        raise cannot_listen(address, error) from None


def _remove_stale(address: Address, path: Path) -> None:
    """Remove the socket that a server left behind; raise `ServeError` if one listens there, or if it is no socket."""
    if sys.platform == "win32":
        return
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ServeError(f"cannot listen on {address}: there is a file of that name which is no socket; move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # one whose queue is full lives too
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except FileNotFoundError:
            return
        except OSError:
            pass
    raise cannot_listen(address, OSError(errno.EADDRINUSE, ""))
