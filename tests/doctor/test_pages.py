"""The links, static files and forms that the doctor finds in a page."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountpoint.doctor.addresses import origin_of, path_of
from mountpoint.doctor.fetch import ProbeResult
from mountpoint.doctor.pages import MOST_LINKS, links


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


@pytest.mark.parametrize("section", ["<![<p>", "<![x[y]]>", "<![CDATA[y]]>", "<![if !IE]>", "<!x[y>", "<![>", "<!>"])
def test_links_behind_a_section_of_sgml_are_found(section):
    assert [link.text for link in links(page(f"<a href=x>{section}<a href=z>"))] == ["x", "z"]


@pytest.mark.parametrize("rest", ["<![", "<![x[", "<a href=y", "<!-- <a href=y>", "</a", "<?x", "<!", "&"])
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


def test_a_script_longer_than_a_piece_hides_no_link():
    script = "<script>" + "x < y;\n" * 30_000 + "</script>"
    assert [(link.text, link.line) for link in links(page(f"<a href=x>{script}<a href=y>"))] == [
        ("x", 1),
        ("y", 30_001),
    ]


def test_a_base_that_is_not_a_url_is_ignored():
    assert [link.url for link in links(page('<base href="http://[x"><a href=y>'))] == ["http://example.com/a/y"]


def test_a_page_of_links_alone_is_read_to_a_bound():
    assert MOST_LINKS <= len(links(page("<a href=x>" * 10 * MOST_LINKS))) < 2 * MOST_LINKS


PARTS = [
    "<",
    ">",
    "</",
    "<!",
    "<![",
    "<!--",
    "-->",
    "]]>",
    "<?",
    "<a ",
    "<a href=",
    "<base href=",
    "<script>",
    "</script",
]
PARTS += [
    "<meta http-equiv=refresh content='0;url=",
    "<form action=",
    "'",
    '"',
    "=",
    "&",
    "&#",
    "&#x",
    "&amp",
    ";",
    "/",
]
PARTS += [
    "http://",
    "//",
    "[",
    "]",
    "::",
    "%",
    "%zz",
    "\\",
    "@",
    ":99999",
    "?",
    "#",
    ".",
    "\x00",
    "\n",
    "\u2100",
    "\ud800",
]


@given(st.lists(st.sampled_from(PARTS) | st.text(max_size=3), max_size=30).map("".join))
def test_no_tag_soup_raises_an_exception(soup):
    result = ProbeResult(
        "http://example.com/a/", 200, [("Content-Type", "text/html")], soup.encode("utf-8", "surrogatepass")
    )
    for link in links(result):
        assert origin_of(link.url) is None or path_of(link.url).startswith("/")
        assert str(link)


def test_a_page_is_read_in_linear_time(monkeypatch):
    """Each pattern is one that a parser may search to the end of the page, again for each time that it occurs."""
    read = []
    feed = HTMLParser.feed
    monkeypatch.setattr(
        HTMLParser, "feed", lambda self, data: (read.append(len(self.rawdata + data)), feed(self, data))
    )
    for pattern in ("<a ", "<a x='", '<a x="', "<script>", "<!--", "<![", "<?", "</", "<a x=y ", "&"):
        read.clear()
        links(page(pattern * (60_000 // len(pattern))))
        assert sum(read) < 300_000, pattern


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
