"""Which ``[proxy]`` goes with a configuration: what it sends is believed, of whom it comes from, and nothing else."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
from collections.abc import Sequence

from ..config.address import Address
from ..wsgi.keys import path_of_key
from ..wsgi.proxy_settings import ProxySettings

#: Stands for an address that only the owner knows.
_UNKNOWN = "192.0.2.1"


def matching_settings(
    trust: ProxySettings, upstreams: Sequence[Address], *, strip: bool, is_https: bool, speaks_forwarded: bool
) -> ProxySettings:
    """Return the ``[proxy]`` that fits: *trust* itself, if it does."""
    strips = trust.strips if strip and path_of_key(trust.strips) else ""
    tells_prefix = strip and not strips
    names = {name for name in trust.counts() if name != "x_prefix"}
    if "forwarded" in names and (tells_prefix or not speaks_forwarded):
        names.clear()  # it excludes X-Forwarded-Prefix, and has nothing in its place
    if not names:
        names = {"x_for", "x_proto"}
    if is_https and "forwarded" not in names:
        names.add("x_proto")  # or apps would write http:// into their links
    if tells_prefix:
        names.add("x_prefix")
    return ProxySettings(
        trusted=_trusted(trust.trusted, upstreams),
        strips=strips,
        restore_prefix=tells_prefix,
        **dict.fromkeys(names, 1),  # each is set afresh: it has one value, whatever the client sent
    )


def _trusted(given: Sequence[str], upstreams: Sequence[Address]) -> Sequence[str]:
    """Return *given*, and what it lacks of the addresses from which this proxy will come."""
    needed = {peer for upstream in upstreams if not _is_trusted(peer := _peer(upstream), given)}
    return [*given, *sorted(needed)] if needed else given


def _peer(upstream: Address) -> str:
    """Return the address from which a proxy on this machine comes to *upstream*."""
    if upstream.unix:
        return "unix"
    if upstream.host == "localhost":
        return "127.0.0.1"
    try:
        return upstream.host if ipaddress.ip_address(upstream.host).is_loopback else _UNKNOWN
    except ValueError:
        return _UNKNOWN


def _is_trusted(peer: str, given: Sequence[str]) -> bool:
    if peer in ("unix", _UNKNOWN):
        return peer in given or (peer == _UNKNOWN and any(item != "unix" for item in given))
    networks = ProxySettings(given).networks()
    return any(ipaddress.ip_address(peer) in network for network in networks)


def section(trust: ProxySettings) -> str:
    """Return *trust* as the section ``[proxy]`` of the file."""
    lines = ["[proxy]"]
    for field in dataclasses.fields(trust):
        value = getattr(trust, field.name)
        if value:
            written = json.dumps(list(value) if field.name == "trusted" else value, ensure_ascii=False)
            told = "  # write the address from which this proxy comes" if _UNKNOWN in written else ""
            lines.append(f"{field.name} = {written}{told}")
    return "\n".join(lines)
