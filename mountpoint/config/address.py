"""Addresses to listen on: ``"host:port"``, ``"[ipv6]:port"``, ``"*:port"`` or ``"unix:/path"``."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

from .validators import toml_text

_FORMS = 'expected "host:port", "[ipv6]:port", "*:port" or "unix:/path"'
_TCP = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+(?:%\w+)?)\]|(?P<host>[^\s:/\[\]]+)):(?P<port>[0-9]+)")


class Address(NamedTuple):
    """Where to listen: a TCP *host* and *port*, or a unix socket.

    An empty host stands for every interface, port 0 for any free port.

    >>> str(Address("::1", 8080)), str(Address("", 8080)), str(Address(unix=Path("/run/m.sock")))
    ('[::1]:8080', '*:8080', 'unix:/run/m.sock')
    """

    host: str = ""
    port: int = 0
    unix: Path | None = None

    def __str__(self) -> str:
        if self.unix:
            return f"unix:{self.unix}"
        return f"{f'[{self.host}]' if ':' in self.host else self.host or '*'}:{self.port}"


def listen_address(value: Any) -> Address:
    """Return the address that *value* of ``listen`` names. Raises ValueError, which names the probable spelling.

    >>> listen_address("*:8080")
    Address(host='', port=8080, unix=None)
    """
    if not isinstance(value, str):
        hint = f'; write "127.0.0.1:{value}"' if type(value) is int and 0 <= value <= 65535 else ""
        raise ValueError(f"{_FORMS}, found {toml_text(value)}{hint}")
    if value.startswith("unix:"):
        if sys.platform == "win32":
            raise ValueError(f'expected "host:port", found "{value}"; Python has no unix sockets on Windows')
        if not (path := value.removeprefix("unix:")):
            raise ValueError(f'{_FORMS}, found "{value}" without a path')
        return Address(unix=Path(path))
    match = _TCP.fullmatch(value)
    if match is None:
        likely = _likely_address(value)
        hint = f'; write "{likely}"' if likely else ""
        raise ValueError(f'{_FORMS}, found "{value}"{hint}')
    if len(match["port"]) > 5 or int(match["port"]) > 65535:
        raise ValueError(f'expected a port from 0 to 65535, found "{value}"')
    host = match["ipv6"] or match["host"]
    return Address("" if host == "*" else host, int(match["port"]))


def _likely_address(text: str) -> str:
    """Return the address that a malformed *text* probably means, or the empty string."""
    if re.fullmatch(r":?[0-9]+", text):
        return f"127.0.0.1:{text.lstrip(':')}"
    if text.startswith("/"):
        return f"unix:{text}"
    if re.fullmatch(r"[^\s:/\[\]]+|\[[0-9A-Fa-f:.]+\]", text):
        return f"{text}:8080"
    if scheme := re.match(r"https?://([^/]+)", text):
        return scheme[1] if re.search(r":[0-9]+$", scheme[1]) else f"{scheme[1]}:8080"
    return ""
