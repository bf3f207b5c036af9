"""Which proxies to trust, and for which headers: the settings, validated before the first request.

A wrong setting has one of these effects:

- ``trusted`` is too wide, such as a network with clients in it: clients choose their address, scheme, host and prefix.
- ``trusted`` is too narrow: no header is used, and apps see the address and the scheme of the proxy.
- A count is too high: the value is one that the client wrote, so clients choose it.
- A count is too low: the value is one that the nearest proxy saw, so every client has the address of another proxy.
- A counted header is not set by the proxy: the client's own header passes through, so clients choose it. The same
  holds for a header in ``pass_headers`` and for ``user_header``, with which clients choose who they are.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from ..errors import Problem
from .forwarding_headers import variable
from .keys import path_of_key, wsgi_string

#: The header of each count, as a key of environ.
COUNTED = {
    "x_for": "HTTP_X_FORWARDED_FOR",
    "x_proto": "HTTP_X_FORWARDED_PROTO",
    "x_host": "HTTP_X_FORWARDED_HOST",
    "x_port": "HTTP_X_FORWARDED_PORT",
    "x_prefix": "HTTP_X_FORWARDED_PREFIX",
    "forwarded": "HTTP_FORWARDED",
}

#: The keys of ``[proxy]`` whose field has another name: ``pass`` is a word of Python.
FILE_KEYS = {"pass_headers": "pass", "user_header": "user"}

_HEADER = re.compile(r"[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*", re.ASCII)
#: Headers that every client needs, or whose value the server itself uses.
_NOT_OF_A_PROXY = frozenset(
    (
        "accept",
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "host",
        "origin",
        "range",
        "referer",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    )
)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """The settings of `TrustedProxies` and of ``[proxy]``. They may be wrong: `problems` validates them."""

    trusted: Sequence[str] = ()
    x_for: int = 0
    x_proto: int = 0
    x_host: int = 0
    x_port: int = 0
    x_prefix: int = 0
    forwarded: int = 0
    strips: str = ""
    restore_prefix: bool = False
    pass_headers: Sequence[str] = ()
    user_header: str = ""

    def counts(self) -> dict[str, int]:
        """Return the counts that are set, by name."""
        return {name: count for name in COUNTED if (count := getattr(self, name))}

    def networks(self) -> list[Network]:
        """Return ``trusted`` without ``unix``. Raises ValueError if an item is not a network."""
        return [_network(item) for item in self.trusted if item != "unix"]

    def passed(self) -> frozenset[str]:
        """Return the keys of environ that a trusted peer may send, and no other: ``pass_headers``, ``user_header``."""
        return frozenset(map(variable, (*self.pass_headers, *filter(None, [self.user_header]))))

    def strips_prefix(self) -> str:
        """Return ``strips`` in the form of ``SCRIPT_NAME``. Raises ValueError if it is not a path."""
        return wsgi_string(path_of_key(self.strips))

    def problems(self) -> list[Problem]:
        """Return all mistakes. The key of each problem is the name of its setting."""
        return self.wrong_values() or self._contradictions()

    def wrong_values(self) -> list[Problem]:
        """Return the mistakes in single values, without comparing them to each other."""
        found = []
        if isinstance(self.trusted, str):
            found.append(Problem("trusted", f'expected a list, found a string; write ["{self.trusted}"]'))
        for item in () if found else self.trusted:
            try:
                if item != "unix":
                    _network(item)
            except ValueError as error:
                found.append(Problem("trusted", str(error)))
        for name in COUNTED:
            count = getattr(self, name)
            if isinstance(count, bool) or not isinstance(count, int) or count < 0:
                found.append(Problem(name, f"expected a number of proxies, 0 or more, found {count!r}"))
        if isinstance(self.pass_headers, str):
            text = self.pass_headers
            found.append(Problem("pass_headers", f'expected a list, found a string; write ["{text}"]'))
        else:
            found += [Problem("pass_headers", wrong) for name in self.pass_headers if (wrong := _wrong_header(name))]
        if self.user_header != "" and (wrong := _wrong_header(self.user_header)):
            found.append(Problem("user_header", wrong))
        try:
            self.strips_prefix()
        except ValueError as error:
            found.append(Problem("strips", str(error)))
        return found

    def _contradictions(self) -> list[Problem]:
        found = []
        counts = self.counts()
        if (counts or self.passed()) and not self.trusted:
            message = "is set, but trusted is empty; write the addresses of your proxies, such as "
            message += 'trusted = ["127.0.0.1"]'
            found += [Problem(name, message) for name in (*counts, *FILE_KEYS) if getattr(self, name)]
        if variable(self.user_header) in COUNTED.values():
            found.append(Problem("user_header", f"{self.user_header} does not hold a user; name another header"))
        if self.x_prefix and COUNTED["x_prefix"] in self.passed():
            found.append(
                Problem("pass_headers", "X-Forwarded-Prefix excludes x_prefix: the app would apply the prefix again")
            )
        if self.forwarded and len(counts) > 1:
            others = ", ".join(name for name in counts if name != "forwarded")
            found.append(Problem("forwarded", f"cannot be combined with {others}; keep the ones that your proxy sets"))
        if self.strips and self.x_prefix:
            found.append(
                Problem(
                    "strips", "cannot be combined with x_prefix: the prefix is either fixed or in a header; keep one"
                )
            )
        if self.strips and self.restore_prefix:
            found.append(
                Problem("strips", "cannot be combined with restore_prefix; keep the one that your proxy needs")
            )
        if self.restore_prefix and not self.x_prefix:
            found.append(Problem("restore_prefix", "needs the prefix from a header; write x_prefix = 1 too"))
        return found


def _wrong_header(name: object) -> str:
    """Return what is wrong with *name* as the name of a header that only a proxy sends, the empty string if nothing."""
    if not isinstance(name, str) or not _HEADER.fullmatch(name):
        words = name.removeprefix("HTTP_").split("_") if isinstance(name, str) else []
        better = "-".join(word.capitalize() for word in words)
        hint = f'; write "{better}"' if _HEADER.fullmatch(better) else ""
        return f'expected the name of a header, such as "X-Forwarded-User", found {name!r}{hint}'
    if name.lower() in _NOT_OF_A_PROXY:
        return f"expected a header that only the proxy sends, found {name}, which clients send themselves"
    return ""


def _network(text: object) -> Network:
    hint = ""
    if isinstance(text, str):  # ip_network accepts integers too
        try:
            return _unmapped(ipaddress.ip_network(text))
        except ValueError:
            with suppress(ValueError):  # the address is inside the network, but not its first one
                hint = f'; write "{ipaddress.ip_network(text, strict=False)}"'
    raise ValueError(f'expected an address, a network such as "10.0.0.0/8", or "unix", found {text!r}{hint}')


def _unmapped(network: Network) -> Network:
    """Return an IPv4-mapped *network* of IPv6 as an IPv4 network, since the addresses of peers are mapped back too."""
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    # The first 96 bits of a mapped address end in 1, so a network that begins with one has at least these bits.
    return network if mapped is None else ipaddress.IPv4Network((mapped, network.prefixlen - 96))
