"""The section ``[status]``: the address of the status page, and the key that protects it."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .address import Address, listen_address
from .key import Key
from .validators import echo_key

_MAKE_A_KEY = 'python3 -c "import secrets; print(secrets.token_hex())"'

#: The keys of ``[status]``.
STATUS_KEYS: Mapping[str, Key] = {
    "listen": Key(
        listen_address,
        'Where the [status page](status.md) listens: `"host:port"`, `"[ipv6]:port"`, `"*:port"` or `"unix:/path"` (a '
        "relative path starts at the file's folder). The page has a listener of its own, so no proxy exposes it by "
        "accident.",
        "none: the server has no status page",
    ),
    "key": Key(
        echo_key,
        "The key that the page, `/status.json` and `/metrics` ask for: as a bearer token, or as the password of Basic "
        "authentication. It has at least 32 hex digits or 22 characters of base64. Every address needs one, except "
        "loopback addresses and unix sockets.",
        "none: every client that reaches the address sees the page",
    ),
}


@dataclass(frozen=True, slots=True)
class StatusConfig:
    """The section ``[status]``. Without ``listen`` the server has no status page. Without ``key`` it needs no key."""

    listen: Address | None = None
    key: str = field(default="", repr=False)


def take_status(
    values: Mapping[str, Any],
    present: Collection[str],
    folder: Path,
    server: Collection[Address],
    report: Callable[[str, str], None],
) -> StatusConfig:
    """Return the section with the valid *values*, of the keys *present* in the file.

    *folder* is that of the file. *server* are the addresses of ``[server]``, which the page cannot share. Calls
    *report* with a key and a message for each problem.
    """
    status = StatusConfig(**values)
    if "listen" not in present:
        if present:
            report("listen", 'expected an address, found none; write listen = "127.0.0.1:8081"')
        return status
    listen = status.listen
    if listen is None:  # it is reported as invalid already
        return status
    if listen.unix:
        listen = Address(unix=folder / listen.unix)
    if listen in server and (listen.unix or listen.port):  # port 0 is another port each time
        report("listen", f'expected another address than server.listen, found "{listen}" in both; choose another port')
    if "key" not in present and not is_local(listen):
        report(
            "key",
            f'expected a key, because other machines can reach {listen}, found none; write listen = "127.0.0.1:'
            f'{listen.port}", or a key, which this command makes: {_MAKE_A_KEY}',
        )
    return replace(status, listen=listen)


def is_local(address: Address) -> bool:
    """Whether only programs of this machine can connect to *address*. A host name other than localhost may be any."""
    if address.unix or address.host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(address.host).is_loopback
    except ValueError:  # a name, or "" for every interface
        return False
