"""The URLs in a page: its links, static files and forms, each with its line."""

from __future__ import annotations

import re
from contextlib import suppress
from html.parser import HTMLParser
from typing import Literal, NamedTuple
from urllib.parse import urljoin

from .addresses import encoded
from .fetch import ProbeResult

Kind = Literal["link", "file", "form", "posted form", "redirect"]

_ATTRIBUTES: dict[str, tuple[str, Kind]] = {
    "a": ("href", "link"),
    "area": ("href", "link"),
    "iframe": ("src", "link"),
    "frame": ("src", "link"),
    "script": ("src", "file"),
    "img": ("src", "file"),
    "source": ("src", "file"),
    "video": ("src", "file"),
    "audio": ("src", "file"),
    "embed": ("src", "file"),
    "link": ("href", "file"),
}
# A browser fetches a <link> for the page if its rel is one of these; other <link> tags are hints and relations.
_FETCHED = frozenset({"stylesheet", "icon", "preload", "modulepreload", "manifest", "apple-touch-icon"})
_REFRESH = re.compile(r"^\s*[\d.]+\s*[;,]\s*url\s*=\s*[\"']?([^\"']+)", re.IGNORECASE)

_PIECE = 4_096  # characters that the parser gets at once, at least
MOST_LINKS = 2_000  # of one page; the crawl follows far fewer


class Link(NamedTuple):
    """A URL in a *page*, as written (*text*) and made absolute (*url*).

    *kind* says how the page uses it. *line* counts from 1, and is 0 for a redirect.
    """

    page: str
    line: int
    kind: Kind
    text: str
    url: str

    @property
    def is_relative(self) -> bool:
        """Whether the path depends on the URL of the page."""
        return not re.match(r"/|[A-Za-z][A-Za-z0-9+.-]*:|[?#]|$", self.text)

    def __str__(self) -> str:
        if self.kind == "redirect":
            return f"the redirect of {self.page} to {self.text}"
        return f"{self.page}, line {self.line}: {self.kind} {self.text}"


def links(result: ProbeResult) -> list[Link]:
    """Return the HTTP links of the page in *result*, in the order of the page; none if it is not HTML.

    Markup that the page does not finish is ignored, as browsers do. The time is linear in the length of the
    page, and reading stops after `MOST_LINKS`.
    """
    if not result.is_html:
        return []
    parser, text = _Parser(result.url), result.text
    # Without a close(): it would search the rest of the page again for each tag that has no end, in quadratic time.
    position = 0
    while position < len(text) and len(parser.links) < MOST_LINKS:
        # The parser reads an unfinished tag or script again with each piece. So the pieces double while one is pending.
        end = position + max(_PIECE, len(parser.rawdata))
        parser.feed(text[position:end])
        position = end
    return parser.links


class _Parser(HTMLParser):
    """Collects the links of a page. It raises nothing, whatever the page holds."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.page = self.base = page
        self.links: list[Link] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        if tag == "base" and "href" in values:
            with suppress(ValueError):  # brackets without an IPv6 address; browsers ignore such a base too
                self.base = urljoin(self.page, values["href"].strip())
        elif tag == "form":
            self.add("posted form" if values.get("method", "").lower() == "post" else "form", values.get("action", ""))
        elif tag == "meta" and values.get("http-equiv", "").lower() == "refresh":
            if match := _REFRESH.match(values.get("content", "")):
                self.add("link", match[1])
        elif tag in _ATTRIBUTES:
            name, kind = _ATTRIBUTES[tag]
            if tag != "link" or _FETCHED.intersection(values.get("rel", "").lower().split()):
                self.add(kind, values.get(name, ""))

    def parse_marked_section(self, i: int, report: bool = True) -> int:
        """Skip ``<![...>`` at *i*, as browsers do (HTML 13.2.5.42).

        `HTMLParser` expects a section of SGML there, and raises AssertionError for every other text.
        """
        end = self.rawdata.find(">", i)
        return end + 1 if end >= 0 else -1

    def add(self, kind: Kind, text: str) -> None:
        text = text.strip()
        try:
            url = encoded(urljoin(self.base, text))
        except ValueError:  # brackets without an IPv6 address, or half of a surrogate pair
            return
        if text and url.startswith(("http://", "https://")):
            self.links.append(Link(self.page, self.getpos()[0], kind, text, url))
