"""What a page names, and what is asked of whom."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest

from mountpoint.doctor.addresses import Origin, checked_url, origin_of
from mountpoint.doctor.fetch import HttpSite, OutOfRequests, ProbeResult
from mountpoint.doctor.findings import Report
from mountpoint.doctor.fixes import FIXES, fix, language_of
from mountpoint.doctor.pages import links
from mountpoint.doctor.symptoms import CORRECTIONS, SYMPTOMS
from mountpoint.errors import UsageError


def page(text: str, url: str = "http://example.com/a/") -> ProbeResult:
    return ProbeResult(url, 200, [("Content-Type", "text/html; charset=utf-8")], text.encode())


@pytest.mark.parametrize(
    ("text", "kind", "url"),
    [
        ('<a href="x">', "link", "http://example.com/a/x"),
        ('<A HREF="/x#part">', "link", "http://example.com/x"),
        ('<base href="/b/"><a href=x>', "link", "http://example.com/b/x"),
        ('<script src="x.js"></script>', "file", "http://example.com/a/x.js"),
        ('<link rel="Stylesheet" href="x.css">', "file", "http://example.com/a/x.css"),
        ('<img src="räv.png">', "file", "http://example.com/a/r%C3%A4v.png"),
        ('<form action="/f">', "form", "http://example.com/f"),
        ('<form action="/f" method=POST>', "posted form", "http://example.com/f"),
        ('<meta http-equiv="refresh" content="5; url=/next">', "link", "http://example.com/next"),
        ('<a href="//other.example/x">', "link", "http://other.example/x"),
        ('<a href="?q=a b">', "link", "http://example.com/a/?q=a%20b"),
    ],
)
def test_an_address_of_a_page(text, kind, url):
    assert [(link.kind, link.url) for link in links(page(text))] == [(kind, url)]


@pytest.mark.parametrize(
    "text",
    [
        '<a href="mailto:a@example.com">',
        '<a href="javascript:x()">',
        "<a>",
        '<a href="">',
        '<link rel="canonical" href="/x">',
        '<a href="http://[x">',
        "<!-- <a href=/x> -->",
        "<script>'<a href=/x>'</script>",
    ],
)
def test_what_is_no_address_of_a_page(text):
    assert links(page(text)) == []


def test_a_link_knows_its_line():
    assert [link.line for link in links(page("<p>\n\n<a href=x>\n<img\nsrc=y>"))] == [3, 4]


def test_what_is_no_html_has_no_links():
    assert links(ProbeResult("http://example.com/", 200, [("Content-Type", "text/plain")], b"<a href=x>")) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe<a href=\x80>",
        b"<a href='\x00\x01'>",
        b"<" * 5000,
        b"<a " + b"x=" * 5000,
        b"&#xD800;<a href=&#xD800;>",
    ],
)
def test_no_bytes_make_it_raise(body):
    links(ProbeResult("http://example.com/", 200, [("Content-Type", "text/html; charset=nonsense")], body))


# -------------------------------------------------------------------------------------------------------------- asking


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str]]]:
    """A server that redirects everything to another host, and the targets that it was asked for."""
    targets: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            targets.append(self.path)
            self.send_response(302)
            self.send_header("Location", "http://elsewhere.invalid/")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", targets
        server.shutdown()
        thread.join()


def test_an_address_is_asked_for_once_and_redirects_are_not_followed(asked):
    url, targets = asked
    site = HttpSite(checked_url(url)[0], 10)
    assert site.get(f"{url}/a").location == site.get(f"{url}/a").location == "http://elsewhere.invalid/"
    assert (targets, site.made) == (["/a"], 1)


def test_no_more_is_asked_than_allowed(asked):
    url, targets = asked
    site = HttpSite(checked_url(url)[0], 2)
    site.get(f"{url}/a")
    site.get(f"{url}/b")
    with pytest.raises(OutOfRequests):
        site.get(f"{url}/c")
    assert targets == ["/a", "/b"]


@pytest.mark.parametrize("url", ["http://elsewhere.invalid/", "http://127.0.0.1:22/", "ftp://127.0.0.1/", "//x"])
def test_nobody_else_is_asked(asked, url):
    with pytest.raises(ValueError, match=r"is not at 127\.0\.0\.1"):
        HttpSite(checked_url(asked[0])[0], 10).get(url)


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
def test_the_origin_of_an_address(url, origin):
    assert origin_of(url) == origin


@pytest.mark.parametrize("text", ["example.com/a", "", "/a", "ftp://example.com/", "http://", "http://exa mple.com/"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(UsageError, match="expected"):
        checked_url(text)


# --------------------------------------------------------------------------------------------------------- as data


def test_each_symptom_has_a_fix_and_each_fix_words():
    assert FIXES.keys() == SYMPTOMS.keys()
    assert all(languages["words"] for languages in FIXES.values())
    assert {correction.symptom for correction in CORRECTIONS} <= SYMPTOMS.keys()


@pytest.mark.parametrize(
    ("server", "language"),
    [
        ("nginx/1.22.1", "nginx"),
        ("nginx", "nginx"),
        ("Apache/2.4.65 (Debian)", "apache"),
        ("Caddy", "caddy"),
        ("waitress", "words"),
        ("", "words"),
    ],
)
def test_the_language_is_that_of_who_names_itself(server, language):
    assert language_of(server) == language
    assert fix("no-location", server, {"prefix": "/a"}) == FIXES["no-location"][language].replace("<prefix>", "/a")


def test_a_fix_of_several_lines_is_printed_as_such():
    report = Report("http://example.com/a/", server="Caddy")
    report.add("slash-404", "sure", "/a", ["/a: 404"])
    lines = report.as_text().splitlines()
    start = lines.index("  fix: handle /a {  # mountpoint redirects it, query and all")
    assert lines[start + 1 : start + 3] == ["           reverse_proxy APP", "       }"]
