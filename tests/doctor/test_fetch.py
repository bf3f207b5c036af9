"""Requests over the network: each URL once, one host, a bounded number. And the parts of a URL."""

from __future__ import annotations

import contextlib
import http.server
import select
import socket
import threading
from collections.abc import Iterator

import pytest

from mountpoint.doctor import fetch
from mountpoint.doctor.addresses import Origin, at_origin, checked_url, origin_of
from mountpoint.doctor.fetch import HttpSite, OutOfRequests, ProbeResult
from mountpoint.errors import UsageError


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """Yield the URL of a server that redirects every request to another host, and the list of the targets it got."""
    targets: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            targets.append(self.requestline.split()[1])
            self.send_response(302)
            self.send_header("Location", "http://elsewhere.invalid/")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}", targets
        httpd.shutdown()
        thread.join()


def site_at(url: str, limit: int = 10) -> HttpSite:
    return HttpSite(checked_url(url)[0], limit)


def test_a_url_is_requested_once_and_its_redirect_is_not_followed(server):
    url, targets = server
    site = site_at(url)
    assert site.get(f"{url}/a").location == site.get(f"{url}/a").location == "http://elsewhere.invalid/"
    assert (targets, site.requests) == (["/a"], 1)


@pytest.mark.parametrize("target", ["//x", "/a//b?q", "/%2e%2e/x", "/?a=//b"])
def test_path_and_query_are_sent_byte_for_byte(server, target):
    url, targets = server
    site_at(url).get(url + target)
    assert targets == [target]
    assert at_origin(Origin("https", "example.com", 443), url + target) == f"https://example.com{target}"


def test_the_limit_of_requests_holds(server):
    url, targets = server
    site = site_at(url, limit=2)
    site.get(f"{url}/a")
    site.get(f"{url}/b")
    with pytest.raises(OutOfRequests):
        site.get(f"{url}/c")
    assert targets == ["/a", "/b"]


@pytest.mark.parametrize("url", ["http://elsewhere.invalid/", "http://127.0.0.1:22/", "ftp://127.0.0.1/", "//x"])
def test_no_other_host_and_no_other_service_is_requested(server, url):
    with pytest.raises(ValueError, match=r"is not at 127\.0\.0\.1"):
        site_at(server[0]).get(url)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://Example.com/", Origin("http", "example.com", 80)),
        ("https://example.com:8443/x", Origin("https", "example.com", 8443)),
        ("http://[::1]:80/", Origin("http", "[::1]", 80)),
        ("http://example.com:99999/", None),
        ("ftp://example.com/", None),
        ("http://a,b/", None),
        ("/x", None),
    ],
)
def test_the_origin_of_a_url(url, origin):
    assert origin_of(url) == origin


@pytest.mark.parametrize("text", ["example.com/a", "", "/a", "ftp://example.com/", "http://", "http://exa mple.com/"])
def test_text_that_is_not_an_http_url_is_rejected(text):
    with pytest.raises(UsageError, match="expected"):
        checked_url(text)


@pytest.mark.parametrize(
    ("charset", "body", "text"),
    [
        ("latin-1", b"\xe4", "\xe4"),
        ('"UTF-8"', b"\xc3\xa4", "\xe4"),
        ("unknown", b"\xc3\xa4", "\xe4"),
        ("hex", b"\xc3\xa4", "\xe4"),  # not a text encoding
        ("idna", b"\xc3\xa4", "\xe4"),  # the rest are codecs of Python that no browser has
        ("punycode", b"\xc3\xa4", "\xe4"),
        ("undefined", b"\xc3\xa4", "\xe4"),
        ("Unicode_Escape", b"\\n", "\\n"),
        ("utf-8", b"\xff", "\ufffd"),
    ],
)
def test_any_charset_of_a_page_gives_its_text(charset, body, text):
    result = ProbeResult("http://a/", 200, [("Content-Type", f"text/html; charset={charset}")], body)
    assert result.text == text


# -------------------------------------------------------------------------------------------- a server that never ends


@contextlib.contextmanager
def dripping(start: bytes, drop: bytes, received: list[bytes] | None = None) -> Iterator[str]:
    """Yield the URL of a server that sends *start*, and then *drop* again and again until the client closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            with sock, contextlib.suppress(ConnectionError):
                request = sock.recv(65_536)
                if received is not None:
                    received.append(request)
                sock.sendall(start)
                while True:
                    sock.sendall(drop)
                    if select.select([sock], [], [], 0.01)[0] and not sock.recv(65_536):
                        return

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        thread.join()


@pytest.mark.parametrize(
    ("start", "drop"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        (b"HTTP/1.1 200 OK\r\n", b"X: x\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 100 Continue\r\nX: ", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x"),
    ],
)
def test_a_response_that_never_ends_has_a_deadline(monkeypatch, start, drop):
    monkeypatch.setattr(fetch, "_DEADLINE", 0.15)
    with dripping(start, drop) as url:
        result = site_at(url).get(url)
    assert (result.status, result.fails) == (0, True)
    # http.client bounds the number of headers and the length of a line; it may reach that bound first.
    assert result.error.startswith(("no complete response within 0.15 s", "no response: got more than"))


def test_a_body_that_never_ends_is_read_until_its_deadline(monkeypatch):
    monkeypatch.setattr(fetch, "_TIMEOUT", 0.1)
    with dripping(b"HTTP/1.1 200 OK\r\n\r\n", b"x") as url:
        result = site_at(url).get(url)
    assert (result.status, result.body[:1], result.error) == (200, b"x", "")


def test_events_of_a_server_are_not_read(monkeypatch):
    monkeypatch.setattr(fetch, "_TIMEOUT", 0.1)
    with dripping(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n", b": x\n\n") as url:
        result = site_at(url).get(url)
    assert (result.status, result.body, result.error) == (200, b"", "")


def test_pages_are_requested_as_a_browser_requests_them():
    seen = []

    def app(environ, start_response):
        seen.append(environ["HTTP_ACCEPT"])
        start_response("200 OK", [])
        return []

    fetch.WsgiSite(app, Origin("http", "localhost", 80), 10).get("http://localhost/")
    received = []
    with dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"", received) as url:
        site_at(url).get(url)
    assert seen == [dict(fetch.BROWSER_HEADERS)["Accept"]]
    assert seen[0].startswith("text/html,")
    assert f"Accept: {seen[0]}\r\n".encode() in received[0]
