"""Rewrite environ from the forwarding headers of trusted proxies, and remove all other forwarding headers.

By default every proxy passes a client's own ``X-Forwarded-Prefix`` through. So this middleware uses a forwarding header
only if it comes from a trusted peer and has a count in the settings. It removes all others, before an app, or a
``ProxyFix`` inside the app, can trust them.

werkzeug's ``ProxyFix`` is not enough: it checks neither the peer nor the values, so ``//evil.example`` as a prefix
gives an open redirect.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from ..errors import ConfigError
from .forwarding_headers import forwarding_variables, variable
from .keys import host_name, path_of_key, wsgi_string
from .proxy_settings import COUNTED, ProxySettings
from .record import RECORD_KEY, RequestRecord
from .responses import OwnResponse

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_DEFAULT_PORTS = {"http": "80", "https": "443"}
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
# RFC 7239 section 4. Unquoted values may hold colons and brackets too, because many proxies write addresses so.
_FORWARDED = re.compile(
    r"""(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?P<text>"(?:[^"\\]|\\.)*"|[^",;\s]*)|[,;]|[ \t]+""", re.ASCII
)
# RFC 7239 section 6. IPv6 addresses may lack the brackets.
_NODE = re.compile(
    r"(?:\[(?P<bracketed>[0-9a-f:.]+)\]|(?P<plain>[0-9.]+))(?::(?:[0-9]{1,5}|_[\w.-]+))?|[0-9a-f]*:[0-9a-f:.]*(?:%\w+)?",
    re.ASCII | re.IGNORECASE,
)
_HIDDEN = re.compile(r"(?:unknown|_[\w.-]+)(?::(?:[0-9]{1,5}|_[\w.-]+))?|", re.ASCII | re.IGNORECASE)
_QUOTED_PAIR = re.compile(r"\\(.)")
_ENCODED_SEPARATOR = re.compile(r"%2f|%5c|%(?![0-9a-f]{2})", re.IGNORECASE | re.ASCII)
_LONGEST_PREFIX = 1024  # bytes
_MOST_KNOWN = 1024  # addresses whose check is remembered
_LONGEST_KNOWN = 64  # characters of such an address


class TrustedProxies:
    """WSGI middleware between the proxy and the app, which may be a dispatcher.

    *trusted* lists the addresses and networks of the proxies, and ``unix`` for every peer on a unix socket. *x_for*,
    *x_proto*, *x_host*, *x_port* and *x_prefix* are counts: how many proxies append to that ``X-Forwarded-`` header.
    *forwarded* is the count of the header of RFC 7239. A header with the count 0 is removed. With the count *n*, the
    *n*-th value from the right is used, and the header is ignored if it has fewer values.
    `mountpoint.wsgi.proxy_settings` explains what a wrong setting leads to.

    *strips* is the one fixed prefix that the proxy strips, such as ``/apps``. ``SCRIPT_NAME`` then begins with it, and
    the paths in the table do not. With *restore_prefix*, the forwarded prefix goes back in front of ``PATH_INFO``, so
    that the table can be written in public paths. Otherwise it goes in front of ``SCRIPT_NAME``.

    *pass_headers* names headers that the app gets from a trusted peer as they are, such as ``X-Forwarded-Groups``.
    *user_header* is the one in which the proxy tells the user that it has authenticated: it becomes ``REMOTE_USER``.
    From any other peer these headers are removed too, whatever their names are.

    Raises `ConfigError`, which names every wrong setting. A malformed value from a trusted proxy gets the response 400.
    """

    def __init__(  # noqa: PLR0913 - the settings of [proxy], by their names
        self,
        app: WSGIApplication,
        *,
        trusted: Sequence[str] = (),
        x_for: int = 0,
        x_proto: int = 0,
        x_host: int = 0,
        x_port: int = 0,
        x_prefix: int = 0,
        forwarded: int = 0,
        strips: str = "",
        restore_prefix: bool = False,
        pass_headers: Sequence[str] = (),
        user_header: str = "",
    ) -> None:
        settings = ProxySettings(
            trusted=trusted,
            x_for=x_for,
            x_proto=x_proto,
            x_host=x_host,
            x_port=x_port,
            x_prefix=x_prefix,
            forwarded=forwarded,
            strips=strips,
            restore_prefix=restore_prefix,
            pass_headers=pass_headers,
            user_header=user_header,
        )
        if problems := settings.problems():
            raise ConfigError(problems)
        self.app = app
        self._networks = settings.networks()
        self._trusts_unix = "unix" in trusted
        self._counts = settings.counts()
        self._strips = settings.strips_prefix()
        self._restores = restore_prefix
        self._passed = settings.passed()
        self._kept = self._passed.union(COUNTED[name] for name in self._counts if name != "x_prefix")
        self._is_trusted = lru_cache(_MOST_KNOWN)(self._check_peer)
        self._user = variable(user_header) if user_header else ""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            inner = self.rewrite(environ)
        except ValueError as error:
            return bad_header_response(error)(environ, start_response)
        return self.app(inner, start_response)

    def rewrite(self, environ: WSGIEnvironment) -> WSGIEnvironment:
        """Return the environ that the app gets: *environ* itself if there is nothing to rewrite or to remove.

        Raises ValueError if a trusted proxy sends a malformed value.
        """
        removed = forwarding_variables(environ)
        if self._passed:
            removed += self._passed & environ.keys()
        if not self._strips and not removed:
            return environ
        inner = dict(environ)
        for name in removed:
            inner.pop(name, None)  # a name can be in the list twice
        if (self._counts or self._passed) and self.is_trusted(environ.get("REMOTE_ADDR")):
            self._apply_headers(environ, inner)
        if self._strips:
            inner["SCRIPT_NAME"] = self._strips + inner.get("SCRIPT_NAME", "").rstrip("/")
        return inner

    def is_trusted(self, peer: str | None) -> bool:
        """Whether *peer*, the address of a connection, is that of a trusted proxy."""
        return self._is_trusted(peer)

    def _check_peer(self, peer: str | None) -> bool:
        if peer in ("", "localhost"):  # the peer of a unix socket, as gunicorn and waitress write it
            return self._trusts_unix
        address = _address(peer or "")
        return address is not None and any(address in network for network in self._networks)

    def _apply_headers(self, environ: WSGIEnvironment, inner: WSGIEnvironment) -> None:
        """Rewrite *inner* from the counted headers of *environ*. Raises ValueError for a malformed value.

        The app keeps the counted headers, except for the prefix: a ``ProxyFix`` in the app would apply it again.
        """
        values = self._trusted_values(environ)
        for header in self._kept:
            if header in environ:
                inner[header] = environ[header]
        if user := _valid_user(environ.get(self._user, "")):
            inner["REMOTE_USER"] = user
        if "for" in values and (address := _client_address(values["for"], may_hide="forwarded" in self._counts)):
            _set_client(inner, address)
        if scheme := values.get("proto", "").lower():
            if scheme not in _DEFAULT_PORTS:
                raise ValueError(f"{scheme!r} is neither http nor https")
            inner["wsgi.url_scheme"] = scheme
        _set_host(inner, values.get("host", ""), values.get("port", ""))
        if prefix := _parse_prefix(values.get("prefix", "")):
            if not self._restores:
                inner["SCRIPT_NAME"] = prefix + inner.get("SCRIPT_NAME", "").rstrip("/")
            elif inner.get("PATH_INFO", "")[:1] in ("", "/"):  # else the dispatcher responds 400
                inner["PATH_INFO"] = prefix + inner.get("PATH_INFO", "")

    def _trusted_values(self, environ: WSGIEnvironment) -> dict[str, str]:
        """Return the counted values as they were sent, by the names ``for``, ``proto``, ``host``, ``port``, ``prefix``.

        RFC 7239 allows extensions, so a client could add a ``prefix`` to ``Forwarded``: from there, only the names that
        the RFC itself defines are used.
        """
        if count := self._counts.get("forwarded"):
            elements = _forwarded_elements(environ.get("HTTP_FORWARDED", ""))
            element = elements[-count] if len(elements) >= count else {}
            return {name: element[name] for name in ("for", "proto", "host") if name in element}
        found = {}
        for name, count in self._counts.items():
            text = environ.get(COUNTED[name], "").strip(" \t")
            values = text.split(",") if text else []
            if len(values) >= count:
                found[name.removeprefix("x_")] = values[-count].strip(" \t")
        return found


def bad_header_response(error: ValueError) -> OwnResponse:
    """Return the response to a request for which `TrustedProxies.rewrite` raised *error*."""
    return OwnResponse("400 Bad Request", f"a forwarding header is wrong: {error}")


def _forwarded_elements(value: str) -> list[dict[str, str]]:
    """Return the elements of a ``Forwarded`` header, the nearest proxy last (RFC 7239 section 4). Raises ValueError."""
    elements: list[dict[str, str]] = [{}]
    place = 0
    needs_separator = False
    while place < len(value):
        token = _FORWARDED.match(value, place)
        if token is None or (token["name"] and needs_separator):
            raise ValueError("Forwarded is not a list of name=value with commas and semicolons between")
        place = token.end()
        if name := (token["name"] or "").lower():
            if name in elements[-1]:
                raise ValueError("a name occurs twice in one element of Forwarded")
            text = token["text"]
            elements[-1][name] = _QUOTED_PAIR.sub(r"\1", text[1:-1]) if text[:1] == '"' else text
            needs_separator = True
        elif token[0] in (",", ";"):
            needs_separator = False
            if token[0] == ",":
                elements.append({})
    return [element for element in elements if element]  # empty elements do not count (RFC 9110 section 5.6.1)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _client_address(text: str, *, may_hide: bool) -> str | None:
    """Return the address of a node (RFC 7239 section 6) without its port, or None if the proxy hides it.

    Only ``Forwarded`` *may hide* it, as ``unknown`` or ``_name``. Raises ValueError for every other text: without an
    address, the client would have the address of the proxy, which apps and rate limits treat as a friend.
    """
    address = _address_of_node(text) if len(text) <= _LONGEST_KNOWN else _address_of_node.__wrapped__(text)
    if address:
        return address
    if may_hide and _HIDDEN.fullmatch(text):
        return None
    raise ValueError(f"{text!r} is not the address of a client")


@lru_cache(_MOST_KNOWN)  # a client sends many requests
def _address_of_node(text: str) -> str | None:
    match = _NODE.fullmatch(text)
    address = _address(match["bracketed"] or match["plain"] or text) if match else None
    return str(address) if address else None


def _valid_user(text: str) -> str:
    """Return the name of the user, empty if the proxy tells none. Raises ValueError if it is not one name."""
    user = text.strip(" \t")
    if "," in user:  # servers join two headers so, and one of them could be the client's
        raise ValueError("two users, or a user with a comma")
    return user


def _set_client(inner: WSGIEnvironment, address: str) -> None:
    inner["REMOTE_ADDR"] = address
    if "REMOTE_HOST" in inner:
        inner["REMOTE_HOST"] = address
    inner.pop("REMOTE_PORT", None)  # the port of the proxy's connection
    record: RequestRecord | None = inner.get(RECORD_KEY)
    if record is not None:
        record.remote_addr = address


def _set_host(inner: WSGIEnvironment, host: str, port: str) -> None:
    """Rebuild ``Host``. A port in *host* wins over *port*. The default port of the scheme is left out."""
    if host and host_name(host) is None:
        raise ValueError(f"{host!r} is not a host")
    name, own_port = _split_port(host or inner.get("HTTP_HOST", ""))
    port = _parse_port(port)
    if host:
        port = _parse_port(own_port) or port
    elif not port:
        return
    elif host_name(name) is None:  # the client's own Host, which has not been validated yet
        name = ""
    default = _DEFAULT_PORTS.get(inner["wsgi.url_scheme"], "")
    if name:
        inner["HTTP_HOST"] = name if port in ("", default) else f"{name}:{port}"
        inner["SERVER_NAME"] = name
    inner["SERVER_PORT"] = port or default


def _parse_port(text: str) -> str:
    """Return the port *text*, without leading zeros; empty if *text* is. Raises ValueError if it is not a port."""
    if text and not (_PORT.fullmatch(text) and 0 < int(text) < 65_536):
        raise ValueError(f"{text!r} is not a port")
    return text.lstrip("0")


def _split_port(host: str) -> tuple[str, str]:
    name, colon, port = host.rpartition(":")
    return (name, port) if colon and not port.endswith("]") else (host, "")


def _parse_prefix(text: str) -> str:
    """Return a forwarded prefix in the form of ``SCRIPT_NAME``, empty for the root. Raises ValueError."""
    if len(text) > _LONGEST_PREFIX:
        raise ValueError(f"the prefix has more than {_LONGEST_PREFIX} bytes")
    if _ENCODED_SEPARATOR.search(text):
        raise ValueError("the prefix has an encoded slash or backslash, or a percent sign that encodes nothing")
    decoded = unquote_to_bytes(text.encode("latin-1")).decode()  # UnicodeDecodeError is a ValueError
    return wsgi_string(path_of_key(decoded))
