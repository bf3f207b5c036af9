"""The URLs in a page: its links, static files and forms, each with its line."""

from __future__ import annotations

import re
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
    """Return the HTTP links of the page in *result*, in the order of the page; an empty list if it is not HTML."""
    if not result.is_html:
        return []
    parser = _Parser(result.url)
    parser.feed(result.text)
    parser.close()
    return parser.links


class _Parser(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.page = self.base = page
        self.links: list[Link] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        if tag == "base" and "href" in values:
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

    def add(self, kind: Kind, text: str) -> None:
        text = text.strip()
        try:
            url = encoded(urljoin(self.base, text))
        except ValueError:  # brackets without an IPv6 address, or half of a surrogate pair
            return
        if text and url.startswith(("http://", "https://")):
            self.links.append(Link(self.page, self.getpos()[0], kind, text, url))
