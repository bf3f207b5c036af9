"""Follow the links of one mount, and try each correction on a URL that fails.

A URL that fails proves nothing by itself. A URL that fails, and works when it is corrected, proves the symptom. Some
apps return a page for every path, so a page counts as working only if it differs from the response to an unknown path.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..wsgi.keys import is_below
from .addresses import Origin, at_origin, encoded, origin_of, path_of, with_path
from .fetch import ProbeResult, Site
from .findings import Report
from .pages import Kind, Link, links
from .symptoms import CORRECTIONS

DEPTH = 3  # links away from the root of the mount
PAGES = 30  # pages of one mount that are read
PER_PAGE = 60  # links of one page that are followed

#: The name of a file that no app has.
_UNKNOWN = f"mountpoint-doctor-{secrets.token_hex(4)}"


@dataclass
class ServedMount:
    """One mount as *site* serves it, and the report of its findings.

    *prefix* is the public prefix of the mount: percent-encoded, empty for the root. *siblings* are the public prefixes
    of the other mounts. *allow* are the URLs and paths outside the mount that its links may lead to. *in_process* is
    the same table in this process, if *site* is on the network. *knows_prefix* is true if the app is known to have its
    prefix, so that a link without it must be hard-coded. *reads_static_url_early* is true for a Django project whose
    links to static files lack the prefix for another reason. *listen* are the addresses that the server listens on.
    """

    site: Site
    prefix: str
    report: Report
    siblings: Sequence[str] = ()
    allow: Sequence[str] = ()
    in_process: Site | None = None
    knows_prefix: bool = False
    reads_static_url_early: bool = False
    listen: Collection[Origin] = ()

    @property
    def name(self) -> str:
        """The prefix as people write it: ``/`` for the root."""
        return self.prefix or "/"

    @property
    def root(self) -> str:
        """The URL of the mount, with its slash."""
        return self.site.url(f"{self.prefix}/")

    def get(self, path: str) -> ProbeResult:
        """Return the response to *path*, a path of the site."""
        return self.site.get(self.site.url(path))

    def get_in_process(self, url: str) -> ProbeResult | None:
        """Return the response of the same table in this process to *url*, or None without a table."""
        return self.in_process.get(url) if self.in_process else None

    def probe_unknown(self, end: str = "") -> ProbeResult:
        """Return the response to an unknown path inside the mount. *end* is added to the path, such as ``.js``."""
        return self.get(f"{self.prefix}/{_UNKNOWN}{end}")

    def probe_outside(self, end: str = "") -> ProbeResult:
        """Return the response to an unknown path at the root of the site, outside every mount but the root's."""
        return self.get(f"/{_UNKNOWN}{end}")

    def probe_sibling(self, end: str = "") -> ProbeResult:
        """Return the response to an unknown path beside the mount: its last segment is replaced."""
        return self.get(f"{self.prefix.rpartition('/')[0]}/{_UNKNOWN}{end}")

    def probe_longer_word(self) -> ProbeResult:
        """Return the response to an unknown path whose first word begins with the prefix, without a slash between."""
        return self.get(f"{self.prefix}{_UNKNOWN}/")

    def works(self, result: ProbeResult, kind: Kind = "link") -> bool:
        """Whether *result* is the page or file that a link means, and not the response that every path gets."""
        return _loads(result, kind) and not result.is_like(self.probe_unknown())

    def is_allowed(self, url: str) -> bool:
        """Whether a link of the mount may lead to *url*, outside the mount: to a sibling, or to an entry of *allow*."""
        path = path_of(url)
        if origin_of(url) == self.site.origin and any(is_below(path, other) for other in self.siblings if other):
            return True
        return any(_allows(entry, url) or _allows(entry, path) for entry in map(encoded, self.allow))


def _loads(result: ProbeResult, kind: Kind) -> bool:
    """Whether a browser could use *result*. A page instead of a script or an image is an error page."""
    return not result.fails and not (kind == "file" and result.is_html)


def _allows(entry: str, address: str) -> bool:
    """Whether *entry* is *address*, or ends with a slash and is above it. The entry ``/`` allows only the root."""
    return address == entry or (entry.endswith("/") and entry != "/" and address.startswith(entry))


class Fault(NamedTuple):
    """A link that fails with *problem*, and the response *better* to its corrected URL, which works."""

    symptom: str
    link: Link
    problem: str
    better: ProbeResult

    def __str__(self) -> str:
        return f"{self.link}: {self.problem}; {path_of(self.better.url)}: {self.better.summary}"


@dataclass
class Crawl:
    """The links of one mount, each requested once, and sorted by their results."""

    served: ServedMount
    faults: list[Fault] = field(default_factory=list)
    #: The corrected URL works; the link itself was not requested, or it works for the doctor.
    suspected: list[Fault] = field(default_factory=list)
    #: Links that fail, with the response; no correction of them works.
    dead: list[tuple[Link, ProbeResult]] = field(default_factory=list)
    #: The number of working links that are written with the prefix.
    prefixed: int = 0
    pages: list[ProbeResult] = field(default_factory=list)
    #: Every URL that was requested for a static file.
    files: set[str] = field(default_factory=set)
    posted_forms: int = 0
    external: int = 0
    #: Whether a bound left out pages or links.
    is_truncated: bool = False
    _seen_links: set[tuple[str, Kind]] = field(default_factory=set)
    _queue: deque[tuple[str, int]] = field(default_factory=deque)

    def run(self, start: str) -> None:
        """Follow links from *start*, breadth first, within the bounds of depth, pages and links for each page."""
        self._queue.append((start, 0))
        enqueued = {start}
        while self._queue:
            url, depth = self._queue.popleft()
            if len(self.pages) == PAGES:
                self.is_truncated = True
                return
            page = self.served.site.get(url)
            self.pages.append(page)
            found = [*_redirect(page), *links(page)]
            self.is_truncated = self.is_truncated or len(found) > PER_PAGE
            for link in found[:PER_PAGE]:
                if (link.url, link.kind) in self._seen_links:
                    continue
                self._seen_links.add((link.url, link.kind))
                target = self._check(link)
                if target and target not in enqueued and link.kind != "file":
                    if depth == DEPTH:
                        self.is_truncated = True
                    else:
                        enqueued.add(target)
                        self._queue.append((target, depth + 1))

    def _check(self, link: Link) -> str | None:
        """Check *link*; return the URL that it means, corrected if necessary, or None if that is outside the mount."""
        served, origin = self.served, origin_of(link.url)
        if link.kind == "posted form":
            self.posted_forms += 1
            return None
        if origin is None or served.is_allowed(link.url):
            return None
        if origin == served.site.origin:
            return self._check_same_origin(link)
        if origin in served.listen:
            return self._check_listen_address(link)
        if origin.host == served.site.origin.host:
            is_downgrade = served.site.origin.scheme == "https" and origin.scheme == "http"
            return self._check_other_port(link, "http-links" if is_downgrade else "port-lost")
        if _is_private(origin.host):
            return self._check_private_host(link, origin.host)
        self.external += 1
        return None

    def _check_same_origin(self, link: Link) -> str | None:
        served = self.served
        result = self._get(link.url, link.kind)
        is_inside = is_below(path_of(link.url), served.prefix)
        if _loads(result, link.kind):
            if is_inside and served.prefix and not link.is_relative and path_of(link.url) != path_of(link.page):
                self.prefixed += 1
            return link.url if is_inside else None
        better = self._correct(link, link.url, result)
        if better is None:
            self.dead.append((link, result))
            return None
        return better.url

    def _check_other_port(self, link: Link, symptom: str) -> str | None:
        """Check a *link* to another scheme or port of the site's own host."""
        better = self._at_own_origin(link)
        if better is None:
            return None
        if not self.served.site.may_request(link.url):
            self.suspected.append(Fault(symptom, link, "not requested, since its port is not the site's", better))
            return better.url
        result = self.served.site.get(link.url)
        if symptom == "http-links" and link.kind == "file":
            self.faults.append(Fault(symptom, link, "browsers block it on an https page", better))
        elif result.fails:
            self.faults.append(Fault(symptom, link, result.summary, better))
        elif symptom == "http-links":
            self.suspected.append(Fault(symptom, link, result.summary, better))
        return better.url

    def _check_private_host(self, link: Link, host: str) -> str | None:
        """Check a *link* to a host that only the server can reach. It is not requested: here it may be another host."""
        better = self._at_own_origin(link)
        if better is None:
            return None
        own = self.served.site.origin.host
        if _is_private(own) and ("." in host or ":" in host):  # clients of a private site may reach a private address
            self.suspected.append(Fault("private-host", link, f"{host} is a private address", better))
        else:
            self.faults.append(Fault("private-host", link, f"clients cannot reach {host}", better))
        return better.url

    def _check_listen_address(self, link: Link) -> str:
        """Report a *link* to an address that mountpoint listens on. Clients reach mountpoint through the proxy."""
        better = self._at_own_origin(link) or self.served.site.get(at_origin(self.served.site.origin, link.url))
        self.faults.append(Fault("private-host", link, "mountpoint listens there, and clients use the proxy", better))
        return better.url

    def _at_own_origin(self, link: Link) -> ProbeResult | None:
        """Return the response to the path of *link* at the site's own origin, or to its correction; None if both fail.

        A path that needs a correction is a fault as well.
        """
        url = at_origin(self.served.site.origin, link.url)
        result = self._get(url, link.kind)
        if self.served.works(result, link.kind) and is_below(path_of(url), self.served.prefix):
            return result
        return self._correct(link, url, result)

    def _correct(self, link: Link, url: str, result: ProbeResult) -> ProbeResult | None:
        """Try each correction on *url*, which *link* means and which fails with *result*.

        The first that works is a fault. Return the response to the corrected URL, or None if no correction works.
        """
        for symptom, correct in CORRECTIONS:
            if path := correct(path_of(url), self.served.prefix):
                better = self._get(with_path(url, path), link.kind)
                if self.served.works(better, link.kind):
                    self.faults.append(Fault(symptom, link, result.summary, better))
                    return better
        return None

    def _get(self, url: str, kind: Kind) -> ProbeResult:
        if kind == "file":
            self.files.add(url)
        return self.served.site.get(url)


def _redirect(result: ProbeResult) -> Iterator[Link]:
    if result.location:
        yield Link(result.url, 0, "redirect", result.header("Location"), result.location)


def _is_private(host: str) -> bool:
    """Whether *host* is a loopback or private address, or a name that is not in the public DNS."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_private
    except ValueError:
        return "." not in host or host.endswith((".local", ".localhost", ".internal"))
