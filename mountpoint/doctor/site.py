"""Everything that is asked of one mount by its address: its root, its links, its edges, its cookies."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urljoin

from ..wsgi.keys import is_below
from .addresses import origin_of, path_of
from .crawl import Crawl, Place
from .fetch import ProbeResult, WsgiSite
from .findings import Certainty
from .pages import links

_HOPS = 10  # redirects in a row
# What of a failing root belongs to the proxy: the status that says that nothing answered behind it.
_NOBODY_BEHIND = (502, 503, 504)


class Cookie(NamedTuple):
    """A cookie that the page at ``url`` set; ``path`` is None if it named none."""

    name: str
    path: str | None
    url: str

    @property
    def effective_path(self) -> str:
        """The path that a browser keeps it for (RFC 6265 section 5.1.4)."""
        return self.path or posixpath.dirname(path_of(self.url))

    def reaches(self, path: str) -> bool:
        """Whether a browser returns it to *path*."""
        own = self.effective_path
        return path == own or path.startswith(own if own.endswith("/") else f"{own}/")


def examine(place: Place) -> Crawl | None:
    """Look at one mount and add what is found to its report; return its crawl, or None if its root fails."""
    first = _follow_root(place)
    if first is None:
        return None
    if first.fails:
        _say_why_it_fails(place, first)
        return None
    crawl = Crawl(place)
    crawl.run(place.root)
    _say_of_links(crawl)
    _say_of_files(crawl, first)
    if place.prefix:
        _look_without_slash(place)
        _look_for_boundary(crawl)
    _say_of_cookies(place)
    if crawl.posted:
        place.report.skip(f"{place.prefix or '/'}: {crawl.posted} forms that are posted: nothing is submitted")
    if crawl.elsewhere:
        place.report.skip(f"{place.prefix or '/'}: {crawl.elsewhere} links to other hosts")
    if crawl.is_cut:
        place.report.skip(f"{place.prefix or '/'}: pages past the bounds of depth and number")
    return crawl


# ------------------------------------------------------------------------------------------------------------ its root


def _follow_root(place: Place) -> ProbeResult | None:
    """Return what the mount's root leads to, or None, and a finding, if that is a circle."""
    answer, chain = place.site.get(place.root), [place.root]
    while answer.location and origin_of(answer.location) == place.site.origin:
        if answer.location in chain or len(chain) > _HOPS:
            _say_of_loop(place, answer)
            return None
        chain.append(answer.location)
        answer = place.site.get(answer.location)
    if answer.location and len(chain) == 1:
        return answer  # to elsewhere: its own crawl tells of it
    return answer if is_below(path_of(answer.url), place.prefix) else place.site.get(place.root)


def _say_of_loop(place: Place, answer: ProbeResult) -> None:
    stray = place.probe_unknown()
    evidence = [f"{path_of(answer.url)}: {answer.summary}", f"{path_of(stray.url)}: {stray.summary}"]
    symptom = "loop"
    if stray.location == stray.url:
        symptom = "loop-scheme"
    elif answer.location == answer.url == place.root:
        symptom = "loop-slash"
    in_process = _answer_in_process(place, place.root)
    is_proxys = (
        in_process is not None and in_process.status == 200
    )  # what is told the scheme, and gets the slash, has a page
    place.report.add(symptom, "sure" if is_proxys else "likely", place.prefix, evidence)


def _say_why_it_fails(place: Place, first: ProbeResult) -> None:
    report, prefix = place.report, place.prefix
    evidence = [f"{path_of(first.url)}: {first.summary}"]
    if isinstance(place.site, WsgiSite):  # an app need not have a page at its root
        report.add("failing", "note" if first.status == 404 else "likely", prefix, evidence)
        return
    in_process = _answer_in_process(place, place.root)
    if in_process is not None and in_process.status == first.status:  # the app's own answer, which is said already
        return
    if first.status in _NOBODY_BEHIND:
        report.add("app-down", "likely", prefix, evidence)
        return
    if prefix:
        twice = place.site.get(place.site.url(f"{prefix}{prefix}/"))
        if not twice.fails and not twice.is_like(place.probe_unknown()):
            evidence.append(f"{path_of(twice.url)}: {twice.summary}: one prefix is taken away, the other is expected")
            report.add("proxy-strips", "sure", prefix, evidence)
            return
        beyond = place.probe_outside()
        evidence.append(f"{path_of(beyond.url)}: {beyond.summary}, {_by_whom(first, beyond)}")
        if first.is_like(beyond):
            report.add("no-location", "likely", prefix, evidence)
            return
        if first.status == 404:
            report.add("proxy-keeps", "likely", prefix, evidence)
            return
    report.add("failing", "likely", prefix, evidence)


def _by_whom(one: ProbeResult, other: ProbeResult) -> str:
    return "by the same hand" if one.is_like(other) else "by another hand"


# ----------------------------------------------------------------------------------------------------------- its links


def _say_of_links(crawl: Crawl) -> None:
    place = crawl.place
    grades: tuple[Certainty, Certainty] = ("sure", "likely")
    for faults, certainty in zip((crawl.faults, crawl.guesses), grades, strict=True):
        for fault in faults:
            symptom = fault.symptom
            if symptom == "prefix-missing" and (crawl.carried or place.is_told):
                symptom = "prefix-hard-coded"
            fills = {"host": place.site.origin.host}
            place.report.add(symptom, certainty, place.prefix, [str(fault)], fills)


def _say_of_files(crawl: Crawl, first: ProbeResult) -> None:
    """Say of the addresses that no correction mends, whether the proxy gives them to the wrong hands."""
    place = crawl.place
    same = [place.site.get(url) for url in sorted(crawl.files)]
    same = [
        answer for answer in same if answer.is_html and answer.is_like(first) and answer.is_like(place.probe_unknown())
    ]
    if same:
        evidence = [f"{path_of(answer.url)}: the page of {path_of(first.url)}" for answer in same]
        place.report.add("same-page", _settled(place, same[-1].url), place.prefix, evidence)
        return
    for link, answer in crawl.dead:
        suffix = posixpath.splitext(path_of(link.url))[1]
        if link.kind == "file" and suffix and is_below(path_of(link.url), place.prefix) and _is_stolen(place, suffix):
            evidence = [f"{link}: {answer.summary}, as any {suffix} anywhere; not as other paths of the mount"]
            place.report.add("assets-stolen", _settled(place, link.url), place.prefix, evidence)
        else:
            place.report.add("dead-link", "note", place.prefix, [f"{link}: {answer.summary}"])


def _is_stolen(place: Place, suffix: str) -> bool:
    ours = place.probe_unknown(suffix)
    return ours.is_like(place.probe_outside(suffix)) and not ours.is_like(place.probe_unknown())


def _settled(place: Place, url: str) -> Certainty:
    """``sure`` if the app alone has a file at *url*, which fails through the proxy; else ``likely``."""
    answer = _answer_in_process(place, url)
    return "likely" if answer is None or answer.fails or answer.is_html else "sure"


def _answer_in_process(place: Place, url: str) -> ProbeResult | None:
    """Return what the same table answers in process, if there is one."""
    return place.in_process.get(url) if place.in_process else None


# ----------------------------------------------------------------------------------------------------------- its edges


def _look_without_slash(place: Place) -> None:
    """Ask for the prefix without its slash, with a query that has to survive."""
    site, report, prefix = place.site, place.report, place.prefix
    bare = site.url(prefix)
    answer = site.get(bare)
    evidence = [f"{prefix}: {answer.summary}"]
    if answer.location:
        _look_at_slash_redirect(place, answer)
    elif answer.fails:
        report.add("slash-404", "likely", prefix, evidence)
    elif answer.status == 200:
        for link in links(answer):
            if not link.is_relative or link.kind == "posted form" or origin_of(link.url) != site.origin:
                continue
            wrong, right = site.get(link.url), site.get(urljoin(place.root, link.text))
            if (wrong.fails or (link.kind == "file" and wrong.is_html)) and place.works(right, link.kind):
                report.add(
                    "slash-200",
                    "sure",
                    prefix,
                    [*evidence, f"{link}: {wrong.summary}; {path_of(right.url)}: {right.summary}"],
                )
                return
        report.add("slash-200", "note", prefix, [*evidence, "no relative link was seen to break"])


def _look_at_slash_redirect(place: Place, answer: ProbeResult) -> None:
    site, target = place.site, answer.location
    evidence = f"{place.prefix}: {answer.summary}"
    if origin_of(target) == site.origin:
        if not is_below(path_of(target), place.prefix) and site.get(target).fails:
            right = site.get(place.root)
            evidence += f": {site.get(target).summary}; {path_of(right.url)}: {right.summary}"
            place.report.add("slash-elsewhere", "sure", place.prefix, [evidence])
        return
    if path_of(target) != f"{place.prefix}/":
        return
    if not site.may_ask(target):
        place.report.add("slash-elsewhere", "likely", place.prefix, [f"{evidence}: not asked"])
    elif (there := site.get(target)).fails:
        right = site.get(place.root)
        evidence += f": {there.summary}; {right.url}: {right.summary}"
        place.report.add("slash-elsewhere", "sure", place.prefix, [evidence])


def _look_for_boundary(crawl: Crawl) -> None:
    """Ask for a longer word than the prefix: whatever answers, it must not be the mount."""
    place = crawl.place
    site, prefix = place.site, place.prefix
    for page in crawl.pages[1:]:
        path = path_of(page.url)
        if page.status == 200 and is_below(path, prefix) and path not in (prefix, f"{prefix}/") and place.works(page):
            longer = site.get(site.url(prefix + path[len(prefix) + 1 :]))
            if longer.status == 200 and longer.is_like(page) and not longer.is_like(place.probe_sibling()):
                evidence = f"{path_of(longer.url)}: {longer.summary}, the page of {path}"
                place.report.add("no-boundary", "sure", prefix, [evidence])
                return
            break
    ours, beside = place.probe_unknown(), place.probe_sibling()
    longer = site.get(site.url(prefix + path_of(ours.url)[len(prefix) + 1 :]))
    # By another hand than other words are; and other words are all answered alike, or that would say nothing.
    if not ours.is_like(beside) and not longer.is_like(beside) and place.probe_sibling("x").is_like(beside):
        evidence = f"{path_of(longer.url)}: {longer.summary}; {path_of(beside.url)}: {beside.summary}, by another hand"
        place.report.add("no-boundary", "likely", prefix, [evidence])


# --------------------------------------------------------------------------------------------------------- its cookies


def cookies_of(answer: ProbeResult) -> Iterator[Cookie]:
    """Yield the cookies that *answer* sets."""
    for value in answer.all("Set-Cookie"):
        pair, *attributes = value.split(";")
        paths = [found[1].strip() for item in attributes if (found := re.match(r"(?i)\s*path\s*=(.*)", item))]
        yield Cookie(
            pair.partition("=")[0].strip(), paths[-1] if paths and paths[-1].startswith("/") else None, answer.url
        )


def cookies_below(place: Place) -> list[Cookie]:
    """Return the cookies that the mount was seen to set, each name and path once."""
    found: dict[tuple[str, str], Cookie] = {}
    for answer in place.site.answers():
        origin = origin_of(answer.url)
        if origin and origin.host == place.site.origin.host and is_below(path_of(answer.url), place.prefix):
            for cookie in cookies_of(answer):
                found.setdefault((cookie.name, cookie.effective_path), cookie)
    return list(found.values())


def _say_of_cookies(place: Place) -> None:
    report, prefix = place.report, place.prefix
    for cookie in cookies_below(place):
        page = path_of(cookie.url)
        if cookie.path is None:
            if not cookie.reaches(f"{prefix}/") and page != prefix:
                evidence = f"{cookie.name}, set by {page}: returned below {cookie.effective_path} only"
                report.add("cookie-pathless", "likely", prefix, [evidence])
        elif not cookie.reaches(page):
            evidence = f"{cookie.name}; Path={cookie.path}, set by {page}"
            report.add("cookie-path", "likely", prefix, [evidence])
