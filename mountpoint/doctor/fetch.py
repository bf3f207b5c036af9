"""Request one URL of one host. The number of requests is bounded, and no redirect is followed.

`HttpSite` sends the request over the network, `WsgiSite` calls an app in this process. Both return a `ProbeResult`, and
neither raises for anything that a server or an app does. A URL is requested once, and its result is kept.
"""

from __future__ import annotations

import codecs
import http.client
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from ..wsgi.keys import is_below
from ..wsgi.target import split_target
from .addresses import Origin, encoded, origin_of, path_of, target_of
from .fixes import language_of

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication, WSGIEnvironment

Headers = Sequence[tuple[str, str]]
#: Called before each request with its number, the limit, and its URL.
Progress = Callable[[int, int, str], object]

#: The default limit of requests for one run of the doctor.
REQUESTS = 200

#: The headers of a browser that opens a page: some apps send a page only to a client that asks for HTML.
BROWSER_HEADERS: Headers = (
    ("User-Agent", "Mozilla/5.0 (compatible; mountpoint-doctor)"),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("Accept-Language", "en"),
)

_TIMEOUT = 10.0  # seconds, for each step of a request
_DEADLINE = 20.0  # seconds, for a whole request after the connection is made
_LARGEST_BODY = 2**20  # bytes that are read of a response; most links of a page are near its beginning
# Python has codecs that no browser has. They raise, or take quadratic time for a long page.
_NOT_FOR_PAGES = {"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"}
_ENDLESS = "text/event-stream"  # the type of server-sent events, which have no links
_TOKENS = re.compile(rb"[A-Za-z0-9+/_=.-]{16,}")  # session tokens and nonces, which differ in every response


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The response to a request for ``url``. Without a response ``status`` is 0, and ``error`` says why."""

    url: str
    status: int = 0
    headers: Headers = ()
    body: bytes = field(default=b"", repr=False)
    error: str = ""

    def all(self, name: str) -> list[str]:
        """Return the values of every header *name*."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name: str) -> str:
        """Return the value of the first header *name*, empty if the response has none."""
        return next(iter(self.all(name)), "")

    @property
    def content_type(self) -> str:
        """The media type without its parameters, in lower case; empty if the response names none."""
        return self.header("Content-Type").partition(";")[0].strip().lower()

    @property
    def is_html(self) -> bool:
        """Whether the body is a page."""
        return self.content_type in ("text/html", "application/xhtml+xml")

    @property
    def text(self) -> str:
        """The body, decoded with its charset, UTF-8 by default."""
        charset = re.search(r"charset=[\"']?([\w-]+)", self.header("Content-Type"))
        with suppress(LookupError):
            if charset and codecs.lookup(charset[1]).name not in _NOT_FOR_PAGES:
                return self.body.decode(charset[1], errors="replace")
        return self.body.decode(errors="replace")

    @property
    def location(self) -> str:
        """The absolute URL that the response redirects to, empty if it does not redirect."""
        target = self.header("Location")
        if not 300 <= self.status < 400 or not target:
            return ""
        try:
            return urljoin(self.url, encoded(target, "latin-1"))
        except ValueError:
            return ""

    @property
    def fails(self) -> bool:
        """Whether no response came, or an error status other than 401, 405 and 429, for which the page exists."""
        return self.status == 0 or (self.status >= 400 and self.status not in (401, 405, 429))

    @property
    def summary(self) -> str:
        """The response in a few words, for a report.

        >>> ProbeResult("/x", 404, [("Content-Type", "text/html; charset=utf-8")]).summary
        '404 text/html'
        """
        if self.error:
            return f"{self.status} {self.error}" if self.status else self.error
        if self.location:
            return f"{self.status} to {self.header('Location')}"
        return f"{self.status} {self.content_type}".rstrip()

    def is_like(self, other: ProbeResult) -> bool:
        """Whether one server wrote both responses: they are equal except for their own URLs, and for tokens.

        >>> page = ProbeResult("/x", 404, body=b"/x is not here")
        >>> page.is_like(ProbeResult("/y", 404, body=b"/y is not here"))
        True
        """
        if (self.status, self.header("Content-Type")) != (other.status, other.header("Content-Type")):
            return False
        paths = [path_of(self.url), path_of(other.url)]
        own = sorted({*paths, *(path.rpartition("/")[2] for path in paths)}, key=len, reverse=True)
        return self._without(own) == other._without(own)

    def _without(self, texts: Iterable[str]) -> tuple[bytes, str]:
        """Return the body without tokens and the target of the redirect without its query, both without *texts*."""
        body, location = self.body, self.location.partition("?")[0]
        for text in filter(None, texts):
            body, location = body.replace(text.encode(), b""), location.replace(text, "")
        return _TOKENS.sub(b"", body), location


class OutOfRequests(Exception):
    """The limit of requests is reached."""


class Site:
    """One origin that answers requests, at most *limit* of them."""

    def __init__(self, origin: Origin, limit: int, progress: Progress | None = None) -> None:
        self.origin = origin
        self.limit = limit
        self.requests = 0
        #: The ``Server`` header of the proxy, as far as it is known.
        self.server = ""
        self._progress = progress
        self._results: dict[str, ProbeResult] = {}

    def url(self, path: str) -> str:
        """Return the URL of *path*."""
        return f"{self.origin}{path}"

    def may_request(self, url: str) -> bool:
        """Whether *url* is at the host of this site: at its port, or at 80 or 443, where a wrong link may lead."""
        origin = origin_of(url)
        return origin is not None and origin.host == self.origin.host and origin.port in (self.origin.port, 80, 443)

    def get(self, url: str) -> ProbeResult:
        """Return the response to a GET of *url*, from memory if there was one before.

        Raises `OutOfRequests`, and ValueError if *url* is at another host.
        """
        if url not in self._results:
            self._results[url] = self.request("GET", url)
        return self._results[url]

    def request(self, method: str, url: str, headers: Headers = (), body: Iterable[bytes] | None = None) -> ProbeResult:
        """Send one request, even if *url* was requested before. Raises as `get` does."""
        if not self.may_request(url):
            raise ValueError(f"{url} is not at {self.origin.host}")
        if self.requests >= self.limit:
            raise OutOfRequests
        self.requests += 1
        if self._progress:
            self._progress(self.requests, self.limit, url)
        result = self._send(method, url, headers, body)
        # Some proxies pass on the Server header of the app, and name themselves only in their own responses. So the
        # name of a known proxy takes precedence over the name that was seen first.
        names = [name for name in (self.server, *result.all("Server")) if name]
        self.server = next((name for name in names if language_of(name) != "words"), "".join(names[:1]))
        return result

    def results(self) -> list[ProbeResult]:
        """Return the result of every `get`."""
        return list(self._results.values())

    def _send(self, method: str, url: str, headers: Headers, body: Iterable[bytes] | None) -> ProbeResult:
        raise NotImplementedError


class HttpSite(Site):
    """A site on the network. Each request has its own connection; proxies in environment variables are not used."""

    def _send(self, method: str, url: str, headers: Headers, body: Iterable[bytes] | None) -> ProbeResult:
        origin = origin_of(url)
        assert origin is not None
        connect = http.client.HTTPSConnection if origin.scheme == "https" else http.client.HTTPConnection
        connection = connect(origin.host.strip("[]"), origin.port, timeout=_TIMEOUT)
        try:
            connection.connect()
            with _deadline(connection.sock) as is_over:
                try:
                    result = _exchange(connection, method, url, headers, body)
                except (OSError, http.client.HTTPException, ValueError):
                    if not is_over():
                        raise
                # http.client may take the end of the connection for the end of the header.
                return ProbeResult(url, error=f"no complete response within {_DEADLINE:g} s") if is_over() else result
        except ssl.SSLCertVerificationError as error:
            return ProbeResult(url, error=f"the certificate is not valid: {error.verify_message}")
        except (OSError, http.client.HTTPException, ValueError) as error:
            return ProbeResult(url, error=f"no response: {_reason(error)}")
        finally:
            connection.close()


def _exchange(
    connection: http.client.HTTPConnection, method: str, url: str, headers: Headers, body: Iterable[bytes] | None
) -> ProbeResult:
    """Send one request on *connection*, and return its response. Raises OSError, `HTTPException` and ValueError."""
    connection.putrequest(method, target_of(url), skip_accept_encoding=True)
    for name, value in (*BROWSER_HEADERS, ("Connection", "close"), *headers):
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("Transfer-Encoding", "chunked")
    # A server that rejects a body may close the connection before it has read all of it.
    with suppress(BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
        connection.endheaders(body, encode_chunked=body is not None)
    response = connection.getresponse()
    return ProbeResult(url, response.status, response.getheaders(), _body(response))


@contextmanager
def _deadline(sock: socket.socket) -> Iterator[Callable[[], bool]]:
    """Shut *sock* down if the block takes longer than `_DEADLINE`; yield a function that says whether it did.

    The time-out of a socket counts from the last byte. A server that sends one byte of its header now and then, or a
    "100 Continue" after the other, would never reach it.
    """
    over = threading.Event()

    def shut_down() -> None:
        over.set()
        with suppress(OSError):  # the server has closed the connection
            socket.socket.shutdown(sock, socket.SHUT_RDWR)  # not that of SSLSocket, which drops its TLS state first

    timer = threading.Timer(_DEADLINE, shut_down)
    timer.daemon = True
    timer.start()
    try:
        yield over.is_set
    finally:
        timer.cancel()


def _body(response: http.client.HTTPResponse) -> bytes:
    """Return the beginning of the body, bounded in bytes and in seconds: a response may never end."""
    if response.headers.get_content_type() == _ENDLESS:
        return b""
    deadline = time.monotonic() + _TIMEOUT
    body = bytearray()
    while len(body) < _LARGEST_BODY and time.monotonic() < deadline and (data := response.read1(65_536)):
        body += data
    return bytes(body)


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text if text[:2].isupper() else text[:1].lower() + text[1:]


class WsgiSite(Site):
    """A WSGI app in this process, called as if it stood behind a proxy that strips the prefix *strips*.

    `werkzeug.test` makes the environ and calls the app. It does not do four things, which are done here:

    - `EnvironBuilder` takes ``//x`` for a host, and replaces bytes that are not UTF-8. So the path, the query and
      ``REQUEST_URI`` are set byte for byte, as ``serve`` sets them.
    - `EnvironBuilder` splits the host ``[::1]`` at its first colon. So the name and port of the server are set.
    - `run_wsgi_app` reads one chunk of the body, or all of it. An endless body has to be read up to a bound.
    - `run_wsgi_app` raises the exception of the app, also one that the app passes to ``start_response``. A server
      would respond with 500, and so does this site.
    """

    def __init__(self, app: WSGIApplication, origin: Origin, limit: int, strips: str = "") -> None:
        super().__init__(origin, limit)
        self._app = app
        self.strips = strips

    def may_request(self, url: str) -> bool:
        """Whether *url* is at the host of this site; in this process every port is the app's."""
        origin = origin_of(url)
        return origin is not None and origin.host == self.origin.host

    def _send(self, method: str, url: str, headers: Headers, body: Iterable[bytes] | None) -> ProbeResult:
        from werkzeug.test import EnvironBuilder

        origin = origin_of(url)
        assert origin is not None
        request_target = target_of(url)
        try:
            target = split_target(request_target)
        except ValueError as error:
            return ProbeResult(url, 400, error=str(error))
        if not is_below(target.path_info, self.strips):
            return ProbeResult(url, 404)  # the proxy does not forward it
        builder = EnvironBuilder(
            method=method,
            base_url=str(origin),
            headers=[*BROWSER_HEADERS, *headers],
            data=b"".join(body or ()),
            environ_overrides={
                "PATH_INFO": target.path_info.removeprefix(self.strips) or "/",
                "QUERY_STRING": target.query,
                "REQUEST_URI": request_target,
                "RAW_URI": request_target,
                "SERVER_NAME": origin.host,
                "SERVER_PORT": str(origin.port),
                "REMOTE_ADDR": "127.0.0.1",
            },
        )
        try:
            return self._call(url, builder.get_environ())
        except Exception as error:
            return ProbeResult(url, 500, error=f"the app raised {type(error).__name__}: {error}")

    def _call(self, url: str, environ: WSGIEnvironment) -> ProbeResult:
        from werkzeug.test import run_wsgi_app

        chunks, status, headers = run_wsgi_app(self._app, environ)
        deadline = time.monotonic() + _TIMEOUT
        body = bytearray()
        is_endless = ProbeResult(url, headers=list(headers)).content_type == _ENDLESS
        try:
            for chunk in () if is_endless else chunks:
                body += chunk
                if len(body) > _LARGEST_BODY or time.monotonic() > deadline:
                    break
        finally:
            if close := getattr(chunks, "close", None):
                close()
        return ProbeResult(url, int(status[:3]), list(headers), bytes(body))
