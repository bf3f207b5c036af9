"""The links, static files and forms that the doctor finds in a page."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from mountpoint.doctor.fetch import ProbeResult
from mountpoint.doctor.pages import links


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
def test_a_link_of_a_page_is_found_and_made_absolute(text, kind, url):
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
def test_text_that_is_not_an_http_link_of_the_page_is_ignored(text):
    assert links(page(text)) == []


@pytest.mark.parametrize("rest", ["<![<p>", "<![x[y]]>", "<a href=y", "<!-- <a href=y>", "</a", "<?x", "<!", "&"])
def test_markup_that_cannot_be_read_ends_the_page(rest):
    assert [link.text for link in links(page("<a href=x>" + rest))] == ["x"]


def test_each_unfinished_tag_does_not_search_the_page_again(monkeypatch):
    searches = []
    check = HTMLParser.check_for_whole_start_tag
    monkeypatch.setattr(
        HTMLParser, "check_for_whole_start_tag", lambda self, at: searches.append(at) or check(self, at)
    )
    assert links(page("<a " * 1000)) == []
    assert len(searches) < 5


def test_a_link_has_the_line_of_its_tag():
    assert [link.line for link in links(page("<p>\n\n<a href=x>\n<img\nsrc=y>"))] == [3, 4]


def test_a_response_that_is_not_html_has_no_links():
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
def test_no_body_raises_an_exception(body):
    links(ProbeResult("http://example.com/", 200, [("Content-Type", "text/html; charset=nonsense")], body))
