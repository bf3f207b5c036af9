"""The plan of a configuration: its sites, locations and settings, independent of any proxy's language.

This module knows no proxy's syntax, and the modules of the proxies read only a `Plan`. Paths in a plan are plain text,
as in the keys of the table: `percent_encoded` and `link_encoded` encode them for URLs and headers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast
from urllib.parse import quote

from ..config.address import Address
from ..config.reader import Config
from ..config.status import is_local
from ..errors import Problem, UsageError
from ..wsgi.forwarding_headers import variable
from ..wsgi.keys import host_covers, host_name, is_below, path_of_key, split_key, wsgi_string
from ..wsgi.percent import encode_path, encode_plain_path
from ..wsgi.proxy_settings import COUNTED, ProxySettings
from ..wsgi.request_id import REQUEST_ID_HEADER
from .section import matching_settings, proxy_section

Shape = Literal["keep", "strip"]

#: Features that not every proxy has: writing the header ``Forwarded``, and connecting to a unix socket.
Feature = Literal["forwarded", "unix"]

_DEFAULT_CHANNEL_TIMEOUT = 120  # seconds; waitress's default
# Paths of sockets and certificates are not quoted, so they may have only characters that are plain in all languages.
_PLAIN_PATH = re.compile(r"(?:[A-Za-z]:)?/[\w./@+=~-]*")

# Comments that several proxies share.
ANY_HOST_COMMENT = "Apps get any Host that a client sends, and use it in links. --server-name limits this to one host."
OTHER_HOSTS_COMMENT = "Rejects requests for other hosts: an app would use the client's Host in its links."
CLEARED_COMMENT = "Cleared: not counted under [proxy], so a client could forge them."
PASSED_COMMENTS = (
    "[proxy] believes these from this proxy. Set each one where the proxy authenticates the user; until then it is",
    "cleared, or a client could choose it.",
)

#: The forwarding headers that a configuration clears unless they are counted. mountpoint removes all of rule 22 itself:
#: these are the ones that an app would most often believe if mountpoint were replaced by another server.
_CLEARED = (
    *("Forwarded", "Front-End-Https", "X-Forwarded-By", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port"),
    *("X-Forwarded-Prefix", "X-Forwarded-Proto", "X-Forwarded-Protocol", "X-Forwarded-Scheme", "X-Forwarded-Server"),
    *("X-Forwarded-Ssl", "X-Forwarded-User", "X-Original-URL", "X-Real-IP", "X-Remote-User", "X-Rewrite-URL"),
    *("X-Scheme", "X-Script-Name", "X-Url-Scheme", "Remote-User"),
)


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """The options of the command line."""

    server_name: str = ""
    shape: Shape = "keep"
    tls: tuple[str, str] | None = None  # the files of the certificate and the key
    upstreams: Sequence[Address] = ()
    standalone: bool = False
    proxy_version: str = ""  # such as "2.6"; empty for the newest


@dataclass(frozen=True, slots=True)
class Location:
    """One mount at the proxy: a request below ``public_path`` is forwarded below ``upstream_path``.

    Neither path ends with a slash; the root is the empty string. ``prefix_header`` is the value of
    ``X-Forwarded-Prefix``, empty if the proxy does not send it.
    """

    key: str
    public_path: str
    upstream_path: str
    prefix_header: str = ""

    @property
    def is_stripped(self) -> bool:
        """Whether the proxy removes a prefix from the path."""
        return self.public_path != self.upstream_path

    @property
    def exact_target(self) -> str | None:
        """The upstream path for a request for exactly ``public_path``, without a slash at its end.

        mountpoint redirects the client to the slash form, or passes the request to the app. It is None if the proxy has
        to redirect instead: after ``/apps`` is stripped from ``/apps``, no path is left.
        """
        return self.public_path if self.prefix_header else self.upstream_path or None


@dataclass(frozen=True, slots=True)
class Site:
    """The locations of one host, longest path first.

    ``name`` is a host name, a wildcard such as ``*.example.com``, or empty for every host.
    """

    name: str
    locations: Sequence[Location]

    @property
    def has_root(self) -> bool:
        """Whether every path belongs to a mount."""
        return any(not location.public_path for location in self.locations)


@dataclass(frozen=True, slots=True)
class Plan:
    """The content of a proxy's configuration. ``settings`` is the ``[proxy]`` that the file needs for it."""

    file: str
    shape: Shape
    sites: Sequence[Site]
    upstreams: Sequence[Address]
    tls: tuple[str, str] | None
    standalone: bool
    settings: ProxySettings
    file_has_settings: bool
    gives_request_ids: bool  # whether mountpoint takes X-Request-ID from the proxy
    body_limit: int  # bytes
    read_timeout: int  # seconds
    idle_timeout: int  # seconds
    proxy_version: tuple[int, ...] | None  # None for the newest
    health_port: int | None  # of the status page, for checks of several upstreams; None if the proxy cannot reach it

    @property
    def serves_any_host(self) -> bool:
        return any(not site.name for site in self.sites)

    @property
    def sends_prefix(self) -> bool:
        """Whether the proxy sends the prefix that it strips in ``X-Forwarded-Prefix``."""
        return bool(self.settings.x_prefix)

    @property
    def stripped_prefix(self) -> str:
        """The one prefix that the proxy strips from every path, or the empty string."""
        return path_of_key(self.settings.strips)

    def uncounted_headers(self, *, clears_request_id: bool = False) -> list[str]:
        """Return the names of the forwarding headers to clear that ``settings`` neither counts nor passes on.

        *clears_request_id* is for a proxy that makes no id of its own, if mountpoint takes ids from it.
        """
        used = {COUNTED[name] for name in self.settings.counts()} | self.settings.passed()
        names = [*_CLEARED, REQUEST_ID_HEADER] if clears_request_id and self.gives_request_ids else _CLEARED
        return sorted(name for name in names if variable(name) not in used)

    def passed_headers(self) -> list[str]:
        """Return the names of the headers that ``settings`` passes on, or reads the user from."""
        settings = self.settings
        counted = {COUNTED[name] for name in settings.counts()}
        names = {variable(name): name for name in (*settings.pass_headers, settings.user_header) if name}
        return sorted(name for key, name in names.items() if key not in counted)


def make_plan(
    config: Config, options: RenderOptions, *, unsupported: Collection[Feature] = (), has_versions: bool = False
) -> Plan:
    """Return the plan for the table of *config*, for a proxy that lacks the *unsupported* features.

    *has_versions* says that the configuration depends on the version of the proxy.
    Raises `UsageError` with every problem of the options.
    """
    problems: list[Problem] = []
    name = _server_name(options.server_name, problems)
    addresses = options.upstreams or config.server.listen[:1]  # all addresses of `listen` lead to the same process
    upstreams = [_upstream(address, problems, can_use_unix="unix" not in unsupported) for address in addresses]
    if len(set(upstreams)) < len(upstreams):
        problems.append(Problem("--upstream", "expected each address once, found one twice"))
    tls = _tls(options.tls, problems)
    version = _version(options.proxy_version, problems, has_versions=has_versions)
    if problems:
        raise UsageError(problems)
    settings = matching_settings(
        config.proxy,
        upstreams,
        strip=options.shape == "strip",
        is_https=options.tls is not None,
        can_send_forwarded="forwarded" not in unsupported,
    )
    adjustments = config.server.adjustments
    status = config.status.listen
    channel_timeout = cast("int", adjustments.get("channel_timeout", _DEFAULT_CHANNEL_TIMEOUT))
    return Plan(
        file=str(config.file),
        shape=options.shape,
        sites=tuple(_sites(config, name, settings)),
        upstreams=tuple(upstreams),
        tls=tls,
        standalone=options.standalone,
        settings=settings,
        file_has_settings=settings == config.proxy,
        gives_request_ids=config.server.request_id,
        body_limit=cast("int", adjustments["max_request_body_size"]),
        # At least drain_timeout, or the proxy would cut off requests that mountpoint still finishes.
        read_timeout=max(60, math.ceil(config.server.drain_timeout)),
        # Shorter than mountpoint's own, or the proxy could send a request on a connection that mountpoint is closing.
        idle_timeout=max(1, min(60, channel_timeout // 2)),
        proxy_version=version,
        health_port=None if status is None or is_local(status) else status.port or None,
    )


# --------------------------------------------------------------------------------------- text in every proxy's language


def percent_encoded(path: str) -> str:
    """Return *path* percent-encoded, except for letters, digits and ``/-._~``."""
    return encode_plain_path(wsgi_string(path))


def link_encoded(path: str) -> str:
    """Return *path* as apps write it in links: percent-encoded where RFC 3986 section 3.3 requires it."""
    return encode_path(wsgi_string(path))


def regex_literal(text: str, *, ascii_only: bool = True) -> str:
    r"""Return a regular expression, for PCRE or Go, that matches exactly *text*.

    Each special character is written as ``\x{..}``, so that it also has no meaning in the proxy's own language.
    Letters outside ASCII are kept if *ascii_only* is false.

    >>> print(regex_literal("/a.b/{caf\u00e9}"))
    /a\x{2E}b/\x{7B}caf\x{E9}\x{7D}
    """
    special = re.compile(r"[^\w/~-]", re.ASCII if ascii_only else 0)
    return special.sub(lambda match: f"\\x{{{ord(match[0]):X}}}", text)


def comment_safe(text: str) -> str:
    """Return *text* for a comment: characters that a proxy could interpret are percent-encoded, letters are not."""
    return re.sub(r"[^\w/.~*-]", lambda match: quote(match[0], safe=""), text)


def heading(plan: Plan, *lines: str) -> list[str]:
    """Return the comment at the top: *lines*, and the section ``[proxy]`` if the file has a different one."""
    if plan.stripped_prefix:
        action = f"strips {comment_safe(plan.stripped_prefix)} from each path"
    elif plan.shape == "strip":
        action = "strips the prefix of each mount"
    else:
        action = "keeps the prefix of each mount"
    head = [f"Made by mountpoint proxy-config from {comment_safe(plan.file)}. It {action}.", *lines]
    if not plan.file_has_settings:
        head += ["", "Put this section into the file, or mountpoint does not trust the headers that are set here:", ""]
        head += [f"    {line}" for line in proxy_section(plan.settings).splitlines()]
    return [f"# {line}".rstrip() for line in head]


# ------------------------------------------------------------------------------------------------- sites and locations


def _sites(config: Config, server_name: str, settings: ProxySettings) -> Iterator[Site]:
    paths_by_host: dict[str, list[tuple[str, str]]] = {}  # (key, path) of each mount
    for mount in config.mounts:
        host, path = split_key(mount.key)
        paths_by_host.setdefault(host, []).append((mount.key, path))
    names = {host for host in paths_by_host if host}
    if server_name or "" in paths_by_host:
        names.add(server_name)
    # Exact names, then wildcards with the longest first, then every host: in some languages the first match wins.
    for name in sorted(names, key=lambda name: (not name, name.startswith("*."), -len(name), name)):
        locations: list[Location] = []
        for host in _covering_hosts(name, paths_by_host):
            # A path that belongs to a more specific host never reaches the mounts of this one.
            taken = [location.public_path for location in locations]
            for key, path in paths_by_host[host]:
                location = _location(key, path, settings)
                if not any(is_below(location.public_path, prefix) for prefix in taken):
                    locations.append(location)
        if locations:
            yield Site(name, tuple(sorted(locations, key=lambda found: (-len(found.public_path), found.public_path))))


def _covering_hosts(name: str, hosts: Iterable[str]) -> list[str]:
    """Return those of *hosts* that cover *name*, in the order in which `MountTable` looks them up."""
    return sorted((host for host in hosts if host_covers(host, name)), key=lambda host: (host != name, -len(host)))


def _location(key: str, path: str, settings: ProxySettings) -> Location:
    if settings.x_prefix:
        return Location(key, public_path=path, upstream_path="", prefix_header=percent_encoded(path))
    return Location(key, public_path=path_of_key(settings.strips) + path, upstream_path=path)


# ------------------------------------------------------------------------------------------------------------- options


def _server_name(text: str, problems: list[Problem]) -> str:
    name = text.lower().removesuffix(".")
    if text and host_name(name.removeprefix("*.")) != name.removeprefix("*."):
        problems.append(
            Problem("--server-name", f'expected a name without a port, such as www.example.com, found "{text}"')
        )
    return name


def _upstream(address: Address, problems: list[Problem], *, can_use_unix: bool) -> Address:
    """Return the address at which the proxy connects to mountpoint, which listens at *address*."""

    def report(message: str) -> None:
        problems.append(Problem("--upstream", message))

    if address.unix:
        path = address.unix.absolute()
        if not can_use_unix:
            report("this proxy cannot connect to a unix socket; write host:port")
        elif not _PLAIN_PATH.fullmatch(path.as_posix()):
            report(f'expected a path without spaces and special characters, found "{path}"')
        return Address(unix=path)
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)  # noqa: S104
    if not address.port:
        report(f'expected a port, found "{address}", which stands for any free port; write --upstream host:port')
    if host_name(f"[{host}]" if ":" in host else host) is None:
        report(f'expected a host or an address, found "{host}"')
    return Address(host, address.port)


def _version(text: str, problems: list[Problem], *, has_versions: bool) -> tuple[int, ...] | None:
    if not text:
        return None
    if not has_versions:
        problems.append(Problem("--proxy-version", "leave it out: the configuration is the same for every version"))
    elif not re.fullmatch(r"v?[0-9]{1,4}(\.[0-9]{1,4}){1,2}", text, re.ASCII):
        problems.append(Problem("--proxy-version", f'expected a version such as "2.6", found "{text}"'))
    else:
        return tuple(map(int, text.removeprefix("v").split(".")))
    return None


def _tls(files: tuple[str, str] | None, problems: list[Problem]) -> tuple[str, str] | None:
    if files is None:
        return None
    certificate, key = (Path(file).absolute().as_posix() for file in files)
    for file in (certificate, key):
        if not _PLAIN_PATH.fullmatch(file):
            problems.append(Problem("--tls", f'expected a path without spaces and special characters, found "{file}"'))
    return certificate, key
