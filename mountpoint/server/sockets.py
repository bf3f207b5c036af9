"""Bind the listening sockets. Every way in which that can fail has an error message of its own."""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config.address import Address
from ..config.validators import hard_file_limit
from ..errors import ServeError
from ..loading.forking import close_in_children


@dataclass(slots=True, weakref_slot=True)
class BoundSocket:
    """A socket that is bound to *address*. A unix socket already listens.

    ``file``          path and inode of a unix socket's file that this process has made, else None
    ``from_systemd``  whether systemd has bound it; then ``listen`` in the file does not name it
    """

    socket: socket.socket
    address: Address
    file: tuple[Path, int] | None = None
    from_systemd: bool = False

    def __post_init__(self) -> None:
        close_in_children(self)

    def close(self) -> None:
        """Close the socket, and remove its file."""
        self.unlink()
        self.socket.close()

    def close_in_child(self) -> None:
        """Close the socket. Its file belongs to the process that has bound it."""
        self.socket.close()

    def unlink(self) -> None:
        """Remove the file of a unix socket, unless another process has replaced it."""
        if self.file:
            path, inode = self.file
            self.file = None
            try:
                if path.stat().st_ino == inode:
                    path.unlink()
            except OSError:
                pass  # the file or its folder is gone


def bind(
    addresses: Sequence[Address],
    *,
    ipv4: bool = True,
    ipv6: bool = True,
    permissions: int = 0o660,
    inherited: Mapping[str, Sequence[socket.socket]] | None = None,
) -> list[BoundSocket]:
    """Bind to each of *addresses*. A host name gets a socket for each of its IP addresses.

    *permissions* are those of a unix socket's file. *inherited* holds sockets that another process has bound, by the
    text of their address. They are used instead of new ones, and closed if *addresses* lacks their address.
    Raises `ServeError`, and closes all sockets then.
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


def wrap_systemd_sockets(sockets: Iterable[socket.socket]) -> list[BoundSocket]:
    """Return the listening *sockets* of systemd as bound sockets. Their files belong to systemd and stay."""
    bound = []
    for sock in sockets:
        name = sock.getsockname()
        if sys.platform != "win32" and sock.family == socket.AF_UNIX:
            path = os.fsdecode(name).replace("\0", "@")
            address = Address(unix=Path(path))
        else:
            address = Address(host=name[0], port=name[1])
        bound.append(BoundSocket(sock, address, from_systemd=True))
    return bound


def urls_of(sockets: Iterable[BoundSocket]) -> list[str]:
    """Return the addresses of *sockets*: URLs, or ``unix:`` and a path."""
    urls = []
    for bound in sockets:
        if bound.address.unix:
            urls.append(str(bound.address))
        else:
            host, port = bound.socket.getsockname()[:2]
            urls.append(f"http://{f'[{host}]' if ':' in host else host}:{port}/")
    return urls


def listen_error(address: Address, error: OSError) -> ServeError:
    """Return the error that tells the operator why the server cannot listen on *address*."""
    match error.errno:
        case errno.EADDRINUSE:
            why = "another program listens there already; stop it, or choose another address (listen, --listen)"
        case errno.EACCES | errno.EPERM if address.unix:
            why = f"no permission to create a socket in {address.unix.parent}; change it, or choose another folder"
        case errno.EACCES | errno.EPERM:
            why = "no permission: ports below 1024 need root; choose a higher one, and let the proxy listen on this one"
        case errno.EADDRNOTAVAIL:
            why = "this machine does not have that address; choose one of its own, such as 127.0.0.1"
        case _:
            why = error.strerror or str(error)
    return ServeError(f"cannot listen on {address}: {why}")


def _bind_tcp(address: Address, *, ipv4: bool, ipv6: bool) -> list[BoundSocket]:
    # For a text Python imports the tables of IDNA, which only other names need.
    host = address.host.encode() if address.host.isascii() else address.host
    family = socket.AF_UNSPEC if ipv4 and ipv6 else socket.AF_INET if ipv4 else socket.AF_INET6
    try:
        found = socket.getaddrinfo(host or None, address.port, family, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError):
        raise ServeError(f"cannot listen on {address}: this host name is unknown here; write an IP address") from None
    bound: list[BoundSocket] = []
    failure: OSError | None = None
    for family, _, _, _, name in dict.fromkeys(found):
        try:
            bound.append(BoundSocket(_bind_one(family, name), address))
        except OSError as error:
            failure = error
            # A host name, and "*", stand for IPv4 and IPv6, and this machine may lack one of the two.
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                break
    else:
        if bound:
            return bound
    for one in bound:
        one.close()
    assert failure is not None
    raise listen_error(address, failure)


def _bind_one(family: int, name: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # on Windows this option would let two servers share the port
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
        raise ServeError(f"cannot listen on {address}: a server on Windows cannot use unix sockets")
    try:
        if not path.parent.is_dir():
            raise ServeError(f"cannot listen on {address}: the folder {path.parent} is missing; create it")
        _remove_stale(address, path)
    except OSError as error:  # the path is too long, or a folder denies access
        raise listen_error(address, error) from None
    except ValueError:
        raise ServeError(f"cannot listen on {address}: expected a path, found a NUL character in it") from None
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(path))
        path.chmod(permissions)  # before it listens: no client can connect while it has other permissions
        sock.listen(1)  # before the apps load: a second server then sees that the socket is in use
        return BoundSocket(sock, address, (path, path.stat().st_ino))
    except OSError as error:
        sock.close()
        raise listen_error(address, error) from None


def _remove_stale(address: Address, path: Path) -> None:
    """Remove the socket file of a server that has ended.

    Raises `ServeError` if another process listens on it, or if the file is not a socket.
    """
    if sys.platform == "win32":
        return
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ServeError(f"cannot listen on {address}: a file of that name exists and is not a socket; move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a live server with a full accept queue gives EAGAIN at once
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except FileNotFoundError:
            return
        except OSError:
            pass
    raise listen_error(address, OSError(errno.EADDRINUSE, ""))


def raise_file_limit() -> None:
    """Raise the soft limit of open files to the hard limit. A connection takes up to three descriptors."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = hard_file_limit()
    if soft < limit:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
