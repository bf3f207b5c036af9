"""Who may speak for the client: nobody, until the owner says who, and about what.

Every proxy passes a client's own ``X-Forwarded-Prefix`` through untouched, unless it is told otherwise. So forwarding
headers are believed from trusted peers only, and of those only the ones that have a count. All others are removed,
before an app, or a ``ProxyFix`` inside it, can believe them.

werkzeug's ``ProxyFix`` asks nobody who the peer is and looks at no value: ``//evil.example`` for a prefix gives an open
redirect. Hence this one.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from ..errors import ConfigError
from .keys import host_name, path_of_key, wsgi_string
from .proxy_settings import COUNTED, FORWARDING, ProxySettings
from .record import KEY, RequestRecord
from .responses import OwnResponse

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_DEFAULT_PORTS = {"http": "80", "https": "443"}
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
# RFC 7239 section 4, taking unquoted values with colons and brackets too, as many proxies write addresses.
_FORWARDED = re.compile(
    r"""(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?P<text>"(?:[^"\\]|\\.)*"|[^",;\s]*)|[,;]|[ \t]+""", re.ASCII
)
# RFC 7239 section 6, taking IPv6 without brackets too.
_NODE = re.compile(
    r"(?:\[(?P<bracketed>[0-9a-f:.]+)\]|(?P<plain>[0-9.]+))(?::(?:[0-9]{1,5}|_[\w.-]+))?|[0-9a-f]*:[0-9a-f:.]*(?:%\w+)?",
    re.ASCII | re.IGNORECASE,
)
_QUOTED_PAIR = re.compile(r"\\(.)")
_ENCODED_SEPARATOR = re.compile(r"%2f|%5c|%(?![0-9a-f]{2})", re.IGNORECASE | re.ASCII)
_LONGEST_PREFIX = 1024  # bytes


class TrustedProxies:
    """WSGI middleware between the proxy and the app, which may be a dispatcher.

    *trusted* are the addresses and networks of the proxies, and ``unix`` for whoever connects over a unix socket.
    *x_for*, *x_proto*, *x_host*, *x_port* and *x_prefix* say for each of the ``X-Forwarded-`` headers how many proxies
    append to it, and *forwarded* for the header of RFC 7239; 0 does not believe it. The value taken is the one that
    many from the right; with fewer values the header is ignored. `mountpoint.wsgi.proxy_settings` says
    what happens when a setting is wrong.

    *strips* is the one fixed prefix that the proxy takes away (``/apps``): ``SCRIPT_NAME`` begins with it, and paths
    are matched as they arrive. With *restore_prefix* the forwarded prefix goes in front of the path again, so that the
    table behind is written in public paths; without, it goes in front of ``SCRIPT_NAME``.

    Raises `ConfigError` with all that is wrong. A value outside its grammar is answered 400.
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
    ) -> None:
        trust = ProxySettings(trusted, x_for, x_proto, x_host, x_port, x_prefix, forwarded, strips, restore_prefix)
        if problems := trust.problems():
            raise ConfigError(problems)
        self.app = app
        self._networks = trust.networks()
        self._trusts_unix = "unix" in trusted
        self._counts = trust.counts()
        self._strips = trust.strips_prefix()
        self._restores = restore_prefix

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            inner = self.rewrite(environ)
        except ValueError as error:
            return refusal(error)(environ, start_response)
        return self.app(inner, start_response)

    def rewrite(self, environ: WSGIEnvironment) -> WSGIEnvironment:
        """Return the environ that the app gets: *environ* itself where there is nothing to believe or to remove.

        Raises ValueError for a value of a trusted peer that is outside its grammar.
        """
        if not self._strips and environ.keys().isdisjoint(FORWARDING):
            return environ
        inner = {key: value for key, value in environ.items() if key not in FORWARDING}
        if self._counts and self._is_trusted(environ.get("REMOTE_ADDR")):
            self._believe(environ, inner)
        if self._strips:
            inner["SCRIPT_NAME"] = self._strips + inner.get("SCRIPT_NAME", "").rstrip("/")
        return inner

    def _is_trusted(self, peer: str | None) -> bool:
        if peer in ("", "localhost"):  # what gunicorn and waitress call the other end of a unix socket
            return self._trusts_unix
        address = _address(peer or "")
        return address is not None and any(address in network for network in self._networks)

    def _believe(self, environ: WSGIEnvironment, inner: WSGIEnvironment) -> None:
        """Write into *inner* what the trusted peer of *environ* says. Raises ValueError for what is no such value."""
        told = self._trusted_values(environ)
        for name in self._counts:
            if name != "x_prefix" and (header := COUNTED[name]) in environ:
                inner[header] = environ[header]
        if address := _node(told.get("for", "")):
            _set_client(inner, address)
        if scheme := told.get("proto", "").lower():
            if scheme not in _DEFAULT_PORTS:
                raise ValueError(f"{scheme!r} is neither http nor https")
            inner["wsgi.url_scheme"] = scheme
        _set_host(inner, told.get("host", ""), told.get("port", ""))
        if prefix := _prefix(told.get("prefix", "")):
            if not self._restores:
                inner["SCRIPT_NAME"] = prefix + inner.get("SCRIPT_NAME", "").rstrip("/")
            elif inner.get("PATH_INFO", "")[:1] in ("", "/"):  # else it is no path, and the dispatcher refuses it
                inner["PATH_INFO"] = prefix + inner.get("PATH_INFO", "")

    def _trusted_values(self, environ: WSGIEnvironment) -> dict[str, str]:
        """Return what is believed, by RFC 7239's names and ``port`` and ``prefix``, as it was sent.

        RFC 7239 lets anybody add names: of a ``Forwarded`` only those that it defines itself are believed.
        """
        if count := self._counts.get("forwarded"):
            elements = _forwarded(environ.get("HTTP_FORWARDED", ""))
            element = elements[-count] if len(elements) >= count else {}
            return {name: element[name] for name in ("for", "proto", "host") if name in element}
        told = {}
        for name, count in self._counts.items():
            values = environ.get(COUNTED[name], "").split(",")
            if len(values) >= count:
                told[name.removeprefix("x_")] = values[-count].strip(" \t")
        return told


def refusal(error: ValueError) -> OwnResponse:
    """Return the response to a request whose forwarding headers `TrustedProxies.rewrite` refuses with *error*."""
    return OwnResponse("400 Bad Request", f"a forwarding header is wrong: {error}")


def _forwarded(value: str) -> list[dict[str, str]]:
    """Return the elements of a ``Forwarded`` header, the nearest proxy last (RFC 7239 section 4). Raises ValueError."""
    elements: list[dict[str, str]] = [{}]
    place = 0
    needs_separator = False
    while place < len(value):
        token = _FORWARDED.match(value, place)
        if token is None or (token["name"] and needs_separator):
            raise ValueError("Forwarded is not made of name=value, with commas and semicolons between")
        place = token.end()
        if name := (token["name"] or "").lower():
            if name in elements[-1]:
                raise ValueError("a name stands twice in one element of Forwarded")
            text = token["text"]
            elements[-1][name] = _QUOTED_PAIR.sub(r"\1", text[1:-1]) if text[:1] == '"' else text
            needs_separator = True
        elif token[0] in (",", ";"):
            needs_separator = False
            if token[0] == ",":
                elements.append({})
    return [element for element in elements if element]  # an empty one is none (RFC 9110 section 5.6.1)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _node(text: str) -> str | None:
    """Return the address in *text*, a node of RFC 7239 section 6, port or not; None for ``unknown`` and the like."""
    match = _NODE.fullmatch(text)
    address = _address(match["bracketed"] or match["plain"] or text) if match else None
    return str(address) if address else None


def _set_client(inner: WSGIEnvironment, address: str) -> None:
    inner["REMOTE_ADDR"] = address
    if "REMOTE_HOST" in inner:
        inner["REMOTE_HOST"] = address
    inner.pop("REMOTE_PORT", None)  # was the proxy's
    record: RequestRecord | None = inner.get(KEY)
    if record is not None:
        record.remote_addr = address


def _set_host(inner: WSGIEnvironment, host: str, port: str) -> None:
    """Rebuild ``Host``. A port in the forwarded host goes before the forwarded port; the scheme's own is left out."""
    if host and host_name(host) is None:
        raise ValueError(f"{host!r} is not a host")
    name, own_port = _split_port(host or inner.get("HTTP_HOST", ""))
    port = _port(port)
    if host:
        port = _port(own_port) or port
    elif not port:
        return
    elif host_name(name) is None:  # the client's own, which nobody has looked at yet
        name = ""
    default = _DEFAULT_PORTS.get(inner["wsgi.url_scheme"], "")
    if name:
        inner["HTTP_HOST"] = name if port in ("", default) else f"{name}:{port}"
        inner["SERVER_NAME"] = name
    inner["SERVER_PORT"] = port or default


def _port(text: str) -> str:
    """Return the port in *text* as it is written shortest, empty for none. Raises ValueError if it is none."""
    if text and not (_PORT.fullmatch(text) and 0 < int(text) < 65_536):
        raise ValueError(f"{text!r} is not a port")
    return text.lstrip("0")


def _split_port(host: str) -> tuple[str, str]:
    name, colon, port = host.rpartition(":")
    return (name, port) if colon and not port.endswith("]") else (host, "")


def _prefix(text: str) -> str:
    """Return a forwarded prefix as it stands in ``SCRIPT_NAME``, empty for none. Raises ValueError if it is no path."""
    if len(text) > _LONGEST_PREFIX:
        raise ValueError(f"a prefix of more than {_LONGEST_PREFIX} bytes")
    if _ENCODED_SEPARATOR.search(text):
        raise ValueError("an encoded slash, or a percent sign that encodes nothing, in the prefix")
    decoded = unquote_to_bytes(text.encode("latin-1")).decode()  # UnicodeDecodeError is a ValueError
    return wsgi_string(path_of_key(decoded))
