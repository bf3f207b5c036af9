"""What a proxy's configuration has to say of a table, in no proxy's language yet.

Nothing here knows a syntax; nothing in the modules that do looks into the file again. Paths are text, as the keys of
the table are; `encoded` makes of one what stands in a URL or a header.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from ..config.address import Address
from ..config.reader import Config
from ..errors import Problem, UsageError
from ..wsgi.keys import host_name, path_of_key, split_key
from ..wsgi.proxy_settings import COUNTED, FORWARDING, ProxySettings
from .section import matching_settings, section

Shape = Literal["keep", "strip"]

# Of waitress, where the file does not say otherwise.
_BODY_LIMIT = 1_073_741_824  # bytes
_CHANNEL_TIMEOUT = 120  # seconds
# Paths of sockets and certificates go into five languages: characters that are plain in all of them, and no others.
_PLAIN_PATH = re.compile(r"(?:[A-Za-z]:)?/[\w./@+=~-]*")
_NOT_PLAIN = re.compile(r"[^\w/.~*-]")


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """What the command line asks for."""

    server_name: str = ""
    shape: Shape = "keep"
    tls: tuple[str, str] | None = None
    upstreams: Sequence[Address] = ()
    standalone: bool = False


@dataclass(frozen=True, slots=True)
class Location:
    """One mount as the proxy sees it: requests below ``public`` go on to below ``inner``.

    Neither path ends in a slash, and the root is empty. ``prefix`` is the value of ``X-Forwarded-Prefix``, where what
    is stripped is told.
    """

    key: str
    public: str
    inner: str
    prefix: str = ""

    @property
    def strips(self) -> bool:
        """Whether the path changes on its way."""
        return self.public != self.inner

    @property
    def slashless(self) -> str | None:
        """The path to which exactly ``public`` goes, which mountpoint redirects, or hands to the app, as it should.

        None if the proxy itself has to redirect it: of ``/apps`` nothing is left that could be asked for.
        """
        return self.public if self.prefix else self.inner or None


@dataclass(frozen=True, slots=True)
class Site:
    """What is served at a host: ``name`` is a name, ``*.`` and a domain, or empty for every host; longest first."""

    name: str
    locations: Sequence[Location]

    @property
    def has_root(self) -> bool:
        """Whether every path belongs to some mount."""
        return any(not location.public for location in self.locations)


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a configuration says. ``trust`` is the ``[proxy]`` that goes with it; ``fits`` says if it is there."""

    file: str
    shape: Shape
    sites: Sequence[Site]
    upstreams: Sequence[Address]
    tls: tuple[str, str] | None
    standalone: bool
    trust: ProxySettings
    fits: bool
    body_limit: int  # bytes
    read_timeout: int  # seconds
    idle_timeout: int  # seconds

    @property
    def is_open(self) -> bool:
        """Whether every host is served."""
        return any(not site.name for site in self.sites)

    @property
    def tells_prefix(self) -> bool:
        """Whether what is stripped is told in ``X-Forwarded-Prefix``."""
        return bool(self.trust.x_prefix)

    @property
    def strips(self) -> str:
        """The one prefix that is stripped everywhere, or empty."""
        return path_of_key(self.trust.strips)

    def cleared(self) -> list[str]:
        """Return the names of the forwarding headers that nobody counts."""
        counted = {COUNTED[name] for name in self.trust.counts()}
        return sorted(_header(name) for name in FORWARDING - counted)


def make_plan(
    config: Config, options: RenderOptions, *, speaks_forwarded: bool = True, speaks_unix: bool = True
) -> Plan:
    """Return the plan of *options* for the table of *config*. Raises `UsageError` with all that cannot be meant.

    A proxy that cannot write ``Forwarded``, or connect to a unix socket, says so.
    """
    problems: list[Problem] = []
    name = _server_name(options.server_name, problems)
    own = [] if options.upstreams else [config.server.listen[0]]  # one process needs one address
    upstreams = [_upstream(address, problems, speaks_unix=speaks_unix) for address in options.upstreams or own]
    if len(set(upstreams)) < len(upstreams):
        problems.append(Problem("--upstream", "expected each address once, found one twice"))
    tls = _tls(options.tls, problems)
    if problems:
        raise UsageError(problems)
    trust = matching_settings(
        config.proxy,
        upstreams,
        strip=options.shape == "strip",
        is_https=options.tls is not None,
        speaks_forwarded=speaks_forwarded,
    )
    limits = config.server.adjustments
    channel_timeout = limits.get("channel_timeout", _CHANNEL_TIMEOUT)
    body_limit = limits.get("max_request_body_size", _BODY_LIMIT)
    assert isinstance(channel_timeout, int) and isinstance(body_limit, int)  # noqa: PT018
    return Plan(
        file=str(config.file),
        shape=options.shape,
        sites=tuple(_sites(config, name, trust)),
        upstreams=tuple(upstreams),
        tls=tls,
        standalone=options.standalone,
        trust=trust,
        fits=trust == config.proxy,
        body_limit=body_limit,
        # No shorter than the drain: what mountpoint still finishes must not be cut off here.
        read_timeout=max(60, math.ceil(config.server.drain_timeout)),
        # Shorter than mountpoint's: who closes first is never sent a request into a connection that is closing.
        idle_timeout=max(1, min(60, channel_timeout // 2)),
    )


# ---------------------------------------------------------------------------------------------------------- the table


def _sites(config: Config, name: str, trust: ProxySettings) -> Iterator[Site]:
    places: dict[str, list[tuple[str, str]]] = {}
    for mount in config.mounts:
        host, path = split_key(mount.key)
        places.setdefault(host, []).append((mount.key, path))
    names = {host for host in places if host}
    if name or "" in places:
        names.add(name)
    # Names before wildcards, these longest first, and whoever else comes last: for the languages where the first wins.
    for host in sorted(names, key=lambda host: (not host, host.startswith("*."), -len(host), host)):
        locations: list[Location] = []
        for place in _asked(host, places):
            # What a place that is asked earlier owns never gets to this one.
            before = [location.public for location in locations]
            found = (_location(key, path, trust) for key, path in places[place])
            locations += [location for location in found if not any(_owns(path, location.public) for path in before)]
        if locations:
            yield Site(host, tuple(sorted(locations, key=lambda location: (-len(location.public), location.public))))


def _asked(host: str, places: Iterable[str]) -> list[str]:
    """Return the *places* that are asked for a request to *host*, in their order: see `MountTable`."""
    wildcards = [place for place in places if place.startswith("*.") and place != host and host.endswith(place[1:])]
    candidates = [host, *sorted(wildcards, key=len, reverse=True), ""]
    return [place for place in dict.fromkeys(candidates) if place in places]


def _owns(prefix: str, path: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}/")


def _location(key: str, path: str, trust: ProxySettings) -> Location:
    if trust.x_prefix:
        return Location(key, public=path, inner="", prefix=encoded(path))
    return Location(key, public=path_of_key(trust.strips) + path, inner=path)


# -------------------------------------------------------------------------------------------------------- the options


def _server_name(text: str, problems: list[Problem]) -> str:
    name = text.lower().removesuffix(".")
    if text and host_name(name.removeprefix("*.")) != name.removeprefix("*."):
        problems.append(
            Problem("--server-name", f'expected a name without a port, www.example.com say, found "{text}"')
        )
    return name


def _upstream(address: Address, problems: list[Problem], *, speaks_unix: bool) -> Address:
    """Return where *address*, at which mountpoint listens, is met; what is wrong with it goes into *problems*."""

    def wrong(message: str) -> None:
        problems.append(Problem("--upstream", message))

    if address.unix:
        path = address.unix.absolute()
        if not speaks_unix:
            wrong("this proxy connects to no unix socket; write host:port")
        elif not _PLAIN_PATH.fullmatch(path.as_posix()):
            wrong(f'expected a path without spaces and special characters, found "{path}"')
        return Address(unix=path)
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)  # noqa: S104
    if not address.port:
        wrong(f'expected a port, found "{address}", which listens on any that is free; write --upstream host:port')
    if host_name(f"[{host}]" if ":" in host else host) is None:
        wrong(f'expected a host or an address, found "{host}"')
    return Address(host, address.port)


def _tls(files: tuple[str, str] | None, problems: list[Problem]) -> tuple[str, str] | None:
    if files is None:
        return None
    certificate, key = (Path(file).absolute().as_posix() for file in files)
    problems += [
        Problem("--tls", f'expected a path without spaces and special characters, found "{file}"')
        for file in (certificate, key)
        if not _PLAIN_PATH.fullmatch(file)
    ]
    return certificate, key


# ---------------------------------------------------------------------------------------- for all languages alike

#: Comments.
ANY_HOST = "Whatever Host a client sends reaches the apps, and their links: better name the site, --server-name."
OTHER_HOSTS = "A Host that is not ours never reaches an app, which would make links of it."
CLEARED = "A client could send these. Nobody sets them here, so nobody shall be believed."


def encoded(path: str) -> str:
    """Return *path* percent-encoded: letters, digits, ``/``, ``-``, ``.``, ``_``, ``~`` and ``%``, and nothing else."""
    return quote(path, safe="/")


def link_encoded(path: str) -> str:
    """Return *path* as it stands in the links of apps: encoded but for what RFC 3986 lets stand in a path."""
    return quote(path, safe="/!$&'()*+,;=:@")


def readable(text: str) -> str:
    """Return *text* for a comment: what could mean something to any language is percent-encoded, letters are not."""
    return _NOT_PLAIN.sub(lambda match: quote(match[0], safe=""), text)


def heading(plan: Plan, *lines: str) -> list[str]:
    """Return the comment at the top: *lines*, and the section ``[proxy]`` where the file's own does not fit."""
    how = {"keep": "keeping the prefixes", "strip": "stripping the prefixes"}[plan.shape]
    if plan.strips:
        how = f"stripping {readable(plan.strips)}"
    head = [f"mountpoint {readable(plan.file)}, {how}.", *lines]
    if not plan.fits:
        head += ["", "The file has to say, so that what is sent here is believed:", ""]
        head += [f"    {line}" for line in section(plan.trust).splitlines()]
    return [f"# {line}".rstrip() for line in head]


def _header(name: str) -> str:
    words = name.removeprefix("HTTP_").split("_")
    return "-".join("IP" if word == "IP" else word.capitalize() for word in words)
