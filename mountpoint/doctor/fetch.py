"""Asking for pages: one host, a bounded number of requests, nothing followed.

`HttpSite` asks over the network, `WsgiSite` an app in this process; both answer with a `ProbeResult`, and never
raise for what a server does. An address is asked for once, its answer kept.
"""

from __future__ import annotations

import http.client
import io
import re
import ssl
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit, urlunsplit

from ..wsgi.keys import is_below
from ..wsgi.target import split_target
from .addresses import Origin, encoded, origin_of, path_of
from .fixes import language_of

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

Headers = Sequence[tuple[str, str]]

_TIMEOUT = 10.0  # seconds, for each step of a request
_LARGEST_BODY = 2**20  # bytes that are read of an answer; a page's links are mostly at its beginning
_CHANGING = re.compile(rb"[A-Za-z0-9+/_=.-]{16,}")  # tokens and nonces, which differ in each answer


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What an address answered. ``status`` is 0, and ``error`` says why, where nothing did."""

    url: str
    status: int = 0
    headers: Headers = ()
    body: bytes = field(default=b"", repr=False)
    error: str = ""

    def all(self, name: str) -> list[str]:
        """Return the values of every header *name*."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name: str) -> str:
        """Return the value of the first header *name*, empty if there is none."""
        return next(iter(self.all(name)), "")

    @property
    def is_html(self) -> bool:
        return self.header("Content-Type").partition(";")[0].strip().lower() in ("text/html", "application/xhtml+xml")

    @property
    def text(self) -> str:
        charset = re.search(r"charset=[\"']?([\w-]+)", self.header("Content-Type"))
        try:
            return self.body.decode(charset[1] if charset else "utf-8", errors="replace")
        except LookupError:
            return self.body.decode(errors="replace")

    @property
    def location(self) -> str:
        """The absolute address that it redirects to, empty if it does not."""
        target = self.header("Location")
        if not 300 <= self.status < 400 or not target:
            return ""
        try:  # a header comes as latin-1, whatever its bytes were
            return urljoin(self.url, encoded(target, "latin-1"))
        except ValueError:
            return ""

    @property
    def fails(self) -> bool:
        """Whether nobody gets anything here. What asks for a password, or for another method, is there."""
        return self.status == 0 or (self.status >= 400 and self.status not in (401, 405, 429))

    @property
    def summary(self) -> str:
        if self.error:
            return f"{self.status} {self.error}" if self.status else self.error
        if self.location:
            return f"{self.status} to {self.header('Location')}"
        kind = self.header("Content-Type").partition(";")[0].strip()
        return f"{self.status} {kind}".rstrip()

    def is_like(self, other: ProbeResult) -> bool:
        """Whether the same hand wrote both: equal but for their own addresses, and for tokens."""
        if (self.status, self.header("Content-Type")) != (other.status, other.header("Content-Type")):
            return False
        paths = [path_of(self.url), path_of(other.url)]
        own = sorted({*paths, *(path.rpartition("/")[2] for path in paths)}, key=len, reverse=True)
        return self._without(own) == other._without(own)

    def _without(self, texts: Iterable[str]) -> tuple[bytes, str]:
        body, location = self.body, self.location.partition("?")[0]
        for text in filter(None, texts):
            body, location = body.replace(text.encode(), b""), location.replace(text, "")
        return _CHANGING.sub(b"", body), location


class OutOfRequests(Exception):
    """The stated number of requests has been made."""


class Site:
    """One origin that answers; the base of both kinds."""

    def __init__(self, origin: Origin, limit: int, progress: Callable[[int, int, str], object] | None = None) -> None:
        self.origin = origin
        self.limit = limit
        self.made = 0
        self.server = ""  # what named itself in ``Server``
        self._progress = progress
        self._known: dict[str, ProbeResult] = {}

    def url(self, path: str) -> str:
        """Return the address of *path*."""
        return f"{self.origin}{path}"

    def may_ask(self, url: str) -> bool:
        """Whether *url* is at our host: at its own port, or at those that a lost port or scheme leads to."""
        origin = origin_of(url)
        return origin is not None and origin.host == self.origin.host and origin.port in (self.origin.port, 80, 443)

    def get(self, url: str, headers: Headers = ()) -> ProbeResult:
        """Return what *url* answers. Raises `OutOfRequests`; never asks another host."""
        if headers:
            return self.ask("GET", url, headers)
        if url not in self._known:
            self._known[url] = self.ask("GET", url, ())
        return self._known[url]

    def ask(self, method: str, url: str, headers: Headers, body: Iterable[bytes] | None = None) -> ProbeResult:
        """Make one request, whatever was asked before."""
        if not self.may_ask(url):
            raise ValueError(f"{url} is not at {self.origin.host}")
        if self.made >= self.limit:
            raise OutOfRequests
        self.made += 1
        if self._progress:
            self._progress(self.made, self.limit, url)
        answer = self._ask(method, url, headers, body)
        # Some proxies hand on the name of what is behind them, and give their own where they answer themselves.
        names = [name for name in (self.server, *answer.all("Server")) if name]
        self.server = next((name for name in names if language_of(name) != "words"), "".join(names[:1]))
        return answer

    def answers(self) -> list[ProbeResult]:
        """Return every answer that is kept."""
        return list(self._known.values())

    def _ask(self, method: str, url: str, headers: Headers, body: Iterable[bytes] | None) -> ProbeResult:
        raise NotImplementedError


class HttpSite(Site):
    """A site on the network. Each request has a connection of its own, and no proxy of the environment's is asked."""

    def _ask(self, method: str, url: str, headers: Headers, body: Iterable[bytes] | None) -> ProbeResult:
        origin = origin_of(url)
        assert origin is not None
        parts = urlsplit(url)
        target = urlunsplit(("", "", parts.path or "/", parts.query, ""))
        connection = (
            http.client.HTTPSConnection(origin.host.strip("[]"), origin.port, timeout=_TIMEOUT)
            if origin.scheme == "https"
            else http.client.HTTPConnection(origin.host.strip("[]"), origin.port, timeout=_TIMEOUT)
        )
        try:
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in (("User-Agent", "mountpoint-doctor"), ("Accept", "*/*"), ("Connection", "close")):
                connection.putheader(name, value)
            for name, value in headers:
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Transfer-Encoding", "chunked")
            # Who refuses a body need not read it to its end.
            with suppress(BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
                connection.endheaders(body, encode_chunked=body is not None)
            response = connection.getresponse()
            return ProbeResult(url, response.status, response.getheaders(), _body(response))
        except ssl.SSLCertVerificationError as error:
            return ProbeResult(url, error=f"its certificate is refused: {error.verify_message}")
        except (OSError, http.client.HTTPException, ValueError) as error:
            return ProbeResult(url, error=f"no answer: {_reason(error)}")
        finally:
            connection.close()


def _body(response: http.client.HTTPResponse) -> bytes:
    """Return the body as far as it is looked at: an answer may go on for ever, and slowly."""
    deadline = time.monotonic() + _TIMEOUT
    body = bytearray()
    while len(body) < _LARGEST_BODY and time.monotonic() < deadline and (data := response.read1(65_536)):
        body += data
    return bytes(body)


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text if text[:2].isupper() else text[:1].lower() + text[1:]


class WsgiSite(Site):
    """An app in this process, as it would be behind a proxy that takes *strips* away from each path."""

    def __init__(self, app: WSGIApplication, origin: Origin, limit: int, strips: str = "") -> None:
        super().__init__(origin, limit)
        self._app = app
        self._strips = strips

    def may_ask(self, url: str) -> bool:
        """Whether *url* is at our host: its port is nobody else's here."""
        origin = origin_of(url)
        return origin is not None and origin.host == self.origin.host

    def _ask(self, method: str, url: str, headers: Headers, body: Iterable[bytes] | None) -> ProbeResult:
        parts = urlsplit(url)
        try:
            target = split_target(urlunsplit(("", "", parts.path or "/", parts.query, "")))
        except ValueError as error:
            return ProbeResult(url, 400, error=str(error))
        path = target.path_info
        if not is_below(path, self._strips):
            return ProbeResult(url, 404)  # it never gets past the proxy
        environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": path.removeprefix(self._strips) or "/",
            "QUERY_STRING": target.query,
            "SERVER_NAME": self.origin.host,
            "SERVER_PORT": str(self.origin.port),
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": parts.netloc,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": parts.scheme,
            "wsgi.input": io.BytesIO(b"".join(body or ())),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        environ |= {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers}
        try:
            return self._call(url, environ)
        except Exception as error:
            return ProbeResult(url, 500, error=f"the app raised {type(error).__name__}: {error}")

    def _call(self, url: str, environ: dict[str, Any]) -> ProbeResult:
        started: list[tuple[str, Headers]] = []
        chunks: list[bytes] = []

        def start_response(status: str, headers: Headers, exc_info: object = None) -> Callable[[bytes], object]:
            started[:] = [(status, headers)]
            return chunks.append

        iterable = self._app(environ, start_response)
        size = 0
        try:
            for chunk in iterable:
                chunks.append(chunk)
                size += len(chunk)
                if size > _LARGEST_BODY:
                    break
        finally:
            if close := getattr(iterable, "close", None):
                close()
        status, headers = started[0]
        return ProbeResult(url, int(status[:3]), list(headers), b"".join(chunks))
