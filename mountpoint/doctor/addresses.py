"""Addresses: what of a URL decides who is asked, and what is asked for."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

from ..errors import Problem, UsageError
from ..wsgi.keys import host_name
from ..wsgi.percent import encode_url

_DEFAULT_PORTS = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """Where requests go: scheme, host in lower case, port."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        port = "" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}"


def origin_of(url: str) -> Origin | None:
    """Return the origin of *url*, or None if it has none that can be asked over HTTP."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    host = host_name(parts.netloc.rpartition("@")[2])
    if parts.scheme not in _DEFAULT_PORTS or host is None:
        return None
    return Origin(parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme])


def path_of(url: str) -> str:
    """Return the path of *url*, at least a slash."""
    return urlsplit(url).path or "/"


def with_path(url: str, path: str) -> str:
    """Return *url* with another *path*."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def at_origin(origin: Origin, url: str) -> str:
    """Return the path and query of *url* at *origin*."""
    parts = urlsplit(url)
    return str(origin) + urlunsplit(("", "", parts.path or "/", parts.query, ""))


def encoded(url: str, encoding: str = "utf-8") -> str:
    """Return *url* as a browser sends it, without its fragment. A header's *encoding* is latin-1, whatever it holds."""
    return encode_url(url.strip(), encoding)


def checked_url(text: str) -> tuple[Origin, str]:
    """Return origin and path of *text*, which a person wrote. Raises `UsageError` if it is no address of HTTP."""
    try:
        url = encoded(text)
    except UnicodeEncodeError:
        url = ""
    origin = origin_of(url)
    if origin is None:
        hint = f'; write "https://{text}"' if text and "://" not in text and origin_of(f"https://{text}") else ""
        raise UsageError(
            [Problem("--url", f'expected "https://host/path" or "http://host/path", found "{text}"{hint}')]
        )
    return origin, path_of(url)
