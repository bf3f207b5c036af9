"""Follow what one mount links to, and try each correction on what fails.

An address that fails is evidence of nothing by itself; one that fails, and works when it is corrected, is. What works
is told from what an app answers to anything: to a path that nobody can have.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..wsgi.keys import is_below
from .addresses import at_origin, encoded, origin_of, path_of, with_path
from .fetch import ProbeResult, Site
from .findings import Report
from .pages import Kind, Link, links
from .symptoms import CORRECTIONS

DEPTH = 3  # links away from the mount's root
PAGES = 30  # pages of one mount that are read
PER_PAGE = 60  # different addresses of one page that are looked at

_NOBODYS = f"mountpoint-doctor-{secrets.token_hex(4)}"


@dataclass
class Place:
    """What is looked at: a mount by its public *prefix*, which is percent-encoded, and empty for the root.

    *siblings* are the public prefixes of other mounts, *allow* the addresses that may leave the mount; *in_process* is
    the same table in process. *is_told* says that whatever is behind is known to have told the app of its prefix.
    """

    site: Site
    prefix: str
    report: Report
    siblings: Sequence[str] = ()
    allow: Sequence[str] = ()
    in_process: Site | None = None
    is_told: bool = False

    @property
    def root(self) -> str:
        """The address of the mount, with its slash."""
        return self.site.url(f"{self.prefix}/")

    def probe_unknown(self, end: str = "") -> ProbeResult:
        """Return what is answered below the mount to a path that nobody has."""
        return self.site.get(self.site.url(f"{self.prefix}/{_NOBODYS}{end}"))

    def probe_outside(self, end: str = "") -> ProbeResult:
        """Return what is answered outside all mounts to a path that nobody has."""
        return self.site.get(self.site.url(f"/{_NOBODYS}{end}"))

    def probe_sibling(self, end: str = "") -> ProbeResult:
        """Return what is answered beside the mount, one segment up, to a path that nobody has."""
        return self.site.get(self.site.url(f"{self.prefix.rpartition('/')[0]}/{_NOBODYS}{end}"))

    def works(self, answer: ProbeResult, kind: Kind = "link") -> bool:
        """Whether *answer* is what its address stands for, and not what is answered to anything."""
        if answer.fails or (kind == "file" and answer.is_html):
            return False
        return not answer.is_like(self.probe_unknown())

    def is_allowed(self, url: str) -> bool:
        """Whether *url* may leave the mount: it is a sibling's, or listed."""
        path = path_of(url)
        if origin_of(url) == self.site.origin and any(is_below(path, other) for other in self.siblings if other):
            return True
        return any(_matches(url, item) or _matches(path, item) for item in map(encoded, self.allow))


def _matches(address: str, item: str) -> bool:
    """Whether *item* is *address*, or, with a slash at its end, lies above it. The site's root is above nothing."""
    return address == item or (item.endswith("/") and item != "/" and address.startswith(item))


class Fault(NamedTuple):
    """An address that fails, and the corrected one that works."""

    symptom: str
    link: Link
    bad: str  # what became of the address
    better: ProbeResult

    def __str__(self) -> str:
        return f"{self.link}: {self.bad}; {path_of(self.better.url)}: {self.better.summary}"


@dataclass
class Crawl:
    """What became of the links of one mount."""

    place: Place
    faults: list[Fault] = field(default_factory=list)
    guesses: list[Fault] = field(default_factory=list)  # the corrected address works; the other could not be asked
    dead: list[tuple[Link, ProbeResult]] = field(default_factory=list)
    carried: int = 0  # addresses with the prefix, written so, that work
    pages: list[ProbeResult] = field(default_factory=list)
    files: set[str] = field(default_factory=set)  # every address at which a static file was looked for
    posted: int = 0
    elsewhere: int = 0
    is_cut: bool = False
    _judged: set[tuple[str, Kind]] = field(default_factory=set)
    _queue: deque[tuple[str, int]] = field(default_factory=deque)

    def run(self, start: str) -> None:
        """Follow links from *start*, breadth first, to the bounds above."""
        self._queue.append((start, 0))
        seen = {start}
        while self._queue:
            url, depth = self._queue.popleft()
            if len(self.pages) == PAGES:
                self.is_cut = True
                return
            answer = self.place.site.get(url)
            self.pages.append(answer)
            named = [*_redirect(answer), *links(answer)]
            self.is_cut = self.is_cut or len(named) > PER_PAGE
            for link in named[:PER_PAGE]:
                if (link.url, link.kind) in self._judged:
                    continue
                self._judged.add((link.url, link.kind))
                followed = self._judge(link)
                if followed and followed not in seen and link.kind != "file":
                    if depth == DEPTH:
                        self.is_cut = True
                    else:
                        seen.add(followed)
                        self._queue.append((followed, depth + 1))

    def _judge(self, link: Link) -> str | None:
        """Look at *link*, and return the address of the page that it means, if that is the mount's own."""
        place, origin = self.place, origin_of(link.url)
        if link.kind == "posted form":
            self.posted += 1
            return None
        if origin is None or place.is_allowed(link.url):
            return None
        if origin == place.site.origin:
            return self._own(link)
        if origin.host == place.site.origin.host:
            secure = place.site.origin.scheme == "https" and origin.scheme == "http"
            return self._moved(link, "http-links" if secure else "port-lost")
        if _is_private(origin.host):
            return self._private(link, origin.host)
        self.elsewhere += 1
        return None

    def _own(self, link: Link) -> str | None:
        place = self.place
        answer = self._ask(link.url, link.kind)
        below = is_below(path_of(link.url), place.prefix)
        if not answer.fails and not (link.kind == "file" and answer.is_html):
            if below and place.prefix and not link.is_relative and path_of(link.url) != path_of(link.page):
                self.carried += 1
            return link.url if below else None
        better = self._corrected(link.url, link.kind)
        if better is None:
            self.dead.append((link, answer))
            return None
        self.faults.append(Fault(better[0], link, answer.summary, better[1]))
        return better[1].url

    def _corrected(self, url: str, kind: Kind) -> tuple[str, ProbeResult] | None:
        """Return the symptom of *url*, which fails, and the answer of the corrected address, if one works."""
        for symptom, correct in CORRECTIONS:
            if path := correct(path_of(url), self.place.prefix):
                answer = self._ask(with_path(url, path), kind)
                if self.place.works(answer, kind):
                    return symptom, answer
        return None

    def _ask(self, url: str, kind: Kind) -> ProbeResult:
        if kind == "file":
            self.files.add(url)
        return self.place.site.get(url)

    def _here(self, link: Link) -> ProbeResult | None:
        """Return the answer of the path of *link* at our own origin, corrected where it has to be, if that works."""
        url = at_origin(self.place.site.origin, link.url)
        answer = self._ask(url, link.kind)
        if self.place.works(answer, link.kind) and is_below(path_of(url), self.place.prefix):
            return answer
        better = self._corrected(url, link.kind)
        if better is None:
            return None
        self.faults.append(Fault(better[0], link, answer.summary, better[1]))
        return better[1]

    def _moved(self, link: Link, symptom: str) -> str | None:
        """Look at a *link* to another scheme or port of our own host."""
        here = self._here(link)
        if here is None:
            return None
        if not self.place.site.may_ask(link.url):
            self.guesses.append(Fault(symptom, link, "another port, which was not asked", here))
            return here.url
        answer = self.place.site.get(link.url)
        if symptom == "http-links" and link.kind == "file":
            self.faults.append(Fault(symptom, link, "browsers block it on an https page", here))
        elif answer.fails:
            self.faults.append(Fault(symptom, link, answer.summary, here))
        elif symptom == "http-links":
            self.guesses.append(Fault(symptom, link, answer.summary, here))
        return here.url

    def _private(self, link: Link, host: str) -> str | None:
        """Look at a *link* to a host that only the server can reach. It is not asked: it may be ours, and is not it."""
        here = self._here(link)
        if here is None:
            return None
        own = self.place.site.origin.host
        if _is_private(own) and ("." in host or ":" in host):  # who asks from here may reach it
            self.guesses.append(Fault("private-host", link, f"{host} is private", here))
        else:
            self.faults.append(Fault("private-host", link, f"nobody else reaches {host}", here))
        return here.url


def _redirect(answer: ProbeResult) -> Iterator[Link]:
    if answer.location:
        yield Link(answer.url, 0, "redirect", answer.header("Location"), answer.location)


def _is_private(host: str) -> bool:
    """Whether *host* is a loopback or private address, or a name that no public DNS has."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_private
    except ValueError:
        return "." not in host or host.endswith((".local", ".localhost", ".internal"))
