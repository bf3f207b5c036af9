"""The section ``[proxy]`` that matches a configuration: it trusts this proxy, and counts the headers that it sets."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
from collections.abc import Sequence

from ..config.address import Address
from ..wsgi.keys import path_of_key
from ..wsgi.proxy_settings import FILE_KEYS, ProxySettings

#: A placeholder for an address that only the operator knows (RFC 5737 reserves it for documentation).
_UNKNOWN = "192.0.2.1"


def matching_settings(
    settings: ProxySettings, upstreams: Sequence[Address], *, strip: bool, is_https: bool, can_send_forwarded: bool
) -> ProxySettings:
    """Return the ``[proxy]`` for a proxy in front of *upstreams*; it equals *settings* if those match already."""
    strips = settings.strips if strip and path_of_key(settings.strips) else ""
    sends_prefix = strip and not strips
    names = {name for name in settings.counts() if name != "x_prefix"}
    if "forwarded" in names and (sends_prefix or not can_send_forwarded):
        names.clear()  # Forwarded cannot carry a prefix, and excludes X-Forwarded-Prefix
    if not names:
        names = {"x_for", "x_proto"}
    if is_https and "forwarded" not in names:
        names.add("x_proto")  # or apps would write http:// in their links
    if sends_prefix:
        names.add("x_prefix")
    return ProxySettings(
        trusted=_trusted(settings.trusted, upstreams),
        strips=strips,
        restore_prefix=sends_prefix,
        pass_headers=settings.pass_headers,
        user_header=settings.user_header,
        **dict.fromkeys(names, 1),  # the proxy replaces the client's headers, so each has one value
    )


def proxy_section(settings: ProxySettings) -> str:
    """Return *settings* as the section ``[proxy]`` of ``mounts.toml``."""
    lines = ["[proxy]"]
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if value:
            toml = json.dumps(list(value) if isinstance(value, list | tuple) else value, ensure_ascii=False)
            comment = "  # replace this with the address from which the proxy connects" if _UNKNOWN in toml else ""
            lines.append(f"{FILE_KEYS.get(field.name, field.name)} = {toml}{comment}")
    return "\n".join(lines)


def _trusted(trusted: Sequence[str], upstreams: Sequence[Address]) -> Sequence[str]:
    """Return *trusted* and the addresses from which this proxy will connect, unless they are trusted already."""
    missing = {peer for upstream in upstreams if not _is_trusted(peer := _peer(upstream), trusted)}
    return [*trusted, *sorted(missing)] if missing else trusted


def _peer(upstream: Address) -> str:
    """Return the address from which a proxy on this machine connects to *upstream*."""
    if upstream.unix:
        return "unix"
    if upstream.host == "localhost":
        return "127.0.0.1"
    try:
        return upstream.host if ipaddress.ip_address(upstream.host).is_loopback else _UNKNOWN
    except ValueError:
        return _UNKNOWN


def _is_trusted(peer: str, trusted: Sequence[str]) -> bool:
    if peer == "unix":
        return "unix" in trusted
    if peer == _UNKNOWN:  # then an address that the operator wrote is probably the one
        return any(item != "unix" for item in trusted)
    networks = ProxySettings(trusted).networks()
    return any(ipaddress.ip_address(peer) in network for network in networks)
