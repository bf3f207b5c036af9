"""The parts of a URL: its origin decides which server gets the request, and its path names the page on that server."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

from ..errors import Problem, UsageError
from ..wsgi.keys import host_name
from ..wsgi.percent import encode_url

_DEFAULT_PORTS = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """The server of a URL: scheme, host in lower case, port (RFC 6454).

    >>> str(Origin("https", "example.com", 443))
    'https://example.com'
    """

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        port = "" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}"


def origin_of(url: str) -> Origin | None:
    """Return the origin of *url*, or None if *url* is not absolute, not HTTP, or has a wrong host or port."""
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
    """Return the path of *url*; an empty path is ``/``."""
    return urlsplit(url).path or "/"


def target_of(url: str) -> str:
    """Return the path and query of *url*, as a request line has them (RFC 9112 section 3.2.1).

    Not by `urlunsplit`, which in newer versions of Python writes ``////x`` for the path ``//x``.

    >>> target_of("http://example.com//x?q#top")
    '//x?q'
    """
    parts = urlsplit(url)
    return f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"


def with_path(url: str, path: str) -> str:
    """Return *url* with *path* instead of its own, and without its fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def at_origin(origin: Origin, url: str) -> str:
    """Return the URL at *origin* with the path and query of *url*."""
    return str(origin) + target_of(url)


def encoded(url: str, encoding: str = "utf-8") -> str:
    """Return *url* as a browser sends it: percent-encoded, without its fragment.

    The *encoding* of a header's value is latin-1: that is how `http.client` decodes the bytes of every header.
    """
    return encode_url(url.strip(), encoding)


def checked_url(text: str) -> tuple[Origin, str]:
    """Return the origin and the path of *text*, an option of the user. Raises `UsageError` if it is not an HTTP URL."""
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
