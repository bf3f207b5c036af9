"""Which proxies to trust, and for which headers: the settings, validated before the first request.

A wrong setting has one of these effects:

- ``trusted`` is too wide, such as a network with clients in it: clients choose their address, scheme, host and prefix.
- ``trusted`` is too narrow: no header is used, and apps see the address and the scheme of the proxy.
- A count is too high: the value is one that the client wrote, so clients choose it.
- A count is too low: the value describes one of the proxies, so every client appears with the address of a proxy.
- A counted header is not set by the proxy: the client's own header passes through, so clients choose it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from ..errors import Problem
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

#: Every header in which proxies describe the client, as keys of environ.
FORWARDING = frozenset(COUNTED.values()) | {
    "HTTP_X_FORWARDED_BY",
    "HTTP_X_FORWARDED_SERVER",
    "HTTP_X_REAL_IP",
    "HTTP_X_SCRIPT_NAME",
}

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

    def counts(self) -> dict[str, int]:
        """Return the counts that are set, by name."""
        return {name: count for name in COUNTED if (count := getattr(self, name))}

    def networks(self) -> list[Network]:
        """Return ``trusted`` without ``unix``. Raises ValueError if an item is not a network."""
        return [_network(item) for item in self.trusted if item != "unix"]

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
        try:
            self.strips_prefix()
        except ValueError as error:
            found.append(Problem("strips", str(error)))
        return found

    def _contradictions(self) -> list[Problem]:
        found = []
        counts = self.counts()
        if counts and not self.trusted:
            message = "is set, but trusted is empty; write the addresses of your proxies, such as "
            message += 'trusted = ["127.0.0.1"]'
            found += [Problem(name, message) for name in counts]
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
