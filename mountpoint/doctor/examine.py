"""Examine one mount from outside, by its URL: its root, its links, the ends of its prefix and its cookies."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from urllib.parse import urljoin

from ..wsgi.keys import is_below
from .addresses import origin_of, path_of
from .crawl import Crawl, Fault, ServedMount
from .fetch import ProbeResult, WsgiSite
from .findings import Certainty
from .mapping import report_changed_path
from .pages import links
from .redirects import follow

_NO_UPSTREAM = (502, 503, 504)  # the status of a proxy that gets no response from the server behind it


class Cookie(NamedTuple):
    """A cookie that the page at ``url`` sets. ``path`` is None if the header names none."""

    name: str
    path: str | None
    url: str

    @property
    def effective_path(self) -> str:
        """The path that a browser keeps the cookie for (RFC 6265 section 5.1.4).

        >>> Cookie("seen", None, "http://example.com/a/b/page").effective_path
        '/a/b'
        """
        return self.path or posixpath.dirname(path_of(self.url))

    def reaches(self, path: str) -> bool:
        """Whether a browser returns the cookie to *path* (RFC 6265 section 5.1.4)."""
        own = self.effective_path
        return path == own or path.startswith(own if own.endswith("/") else f"{own}/")


def examine(served: ServedMount) -> None:
    """Examine one mount, and add the findings to its report."""
    root = _follow_root(served)
    if root is None:
        return
    if root.fails:
        _report_failing_root(served, root)
        return
    if _is_empty_default(served, root):
        evidence = f"{path_of(root.url)}: {root.summary}, the response that unknown paths of the site get"
        served.report.add("no-location", "likely", served.prefix, [evidence])
        return
    crawl = Crawl(served)
    crawl.run(served.root)
    _report_links(crawl)
    _report_files(crawl, root)
    if served.prefix:
        _probe_without_slash(served)
        _probe_boundary(crawl)
    _report_cookies(served)
    if crawl.posted_forms:
        served.report.skip(f"{served.name}: forms that are posted ({crawl.posted_forms}): the doctor submits nothing")
    if crawl.external:
        served.report.skip(f"{served.name}: links to other hosts ({crawl.external})")
    if crawl.is_truncated:
        served.report.skip(f"{served.name}: pages and links beyond the bounds of the crawl")


# ------------------------------------------------------------------------------------------------------------ its root


def _follow_root(served: ServedMount) -> ProbeResult | None:
    """Return the page that the root of the mount leads to, or None, with a finding, if its redirects form a loop."""
    result, chain, is_loop = follow(served.site, served.root)
    if is_loop:
        _report_loop(served, result, chain)
        return None
    if result.location and len(chain) == 1:
        return result  # to another origin: the crawl checks that link
    return result if is_below(path_of(result.url), served.prefix) else served.site.get(served.root)


def _is_empty_default(served: ServedMount, root: ProbeResult) -> bool:
    """Whether *root* is the empty response with which Caddy answers for every path that no site of it handles."""
    if root.body or not served.prefix or isinstance(served.site, WsgiSite):
        return False
    page = served.get_in_process(served.root)
    return root.status == 200 and root.is_like(served.probe_outside()) and (page is None or not root.is_like(page))


def _report_loop(served: ServedMount, result: ProbeResult, chain: Sequence[str]) -> None:
    in_process = follow(served.in_process, served.root) if served.in_process else None
    if in_process and in_process.is_loop:  # the app's own fault, which is reported already
        return
    unknown = served.probe_unknown()
    evidence = [f"{path_of(url)}: {served.site.get(url).summary}" for url in chain]
    symptom = "loop"
    if unknown.location == unknown.url:
        symptom = "loop-scheme"
    elif served.prefix and {served.site.url(served.prefix), served.root} <= {*chain}:
        symptom = "loop-bare-prefix"
    elif result.location == result.url == served.root:
        # If the page is at the prefix without the slash, the path arrives with one slash too many.
        bare = served.get(served.prefix)
        has_page = served.prefix and bare.status == 200 and not bare.is_like(served.probe_outside())
        symptom = "path-changed" if has_page else "loop-slash"
    if symptom != "loop-bare-prefix":
        evidence.append(f"{path_of(unknown.url)}: {unknown.summary}")
    # In this process the app gets the scheme and the slash. If it has a page there, the proxy loses them.
    is_certain = isinstance(served.site, WsgiSite) or (in_process is not None and in_process.result.status == 200)
    served.report.add(symptom, "sure" if is_certain else "likely", served.prefix, evidence)


def _report_failing_root(served: ServedMount, root: ProbeResult) -> None:
    report, prefix = served.report, served.prefix
    evidence = [f"{path_of(root.url)}: {root.summary}"]
    if isinstance(served.site, WsgiSite):
        _report_failing_app(served, root)
        return
    in_process = follow(served.in_process, served.root) if served.in_process else None
    if in_process and in_process.result.status == root.status:  # the app's own fault, which is reported already
        return
    if root.status in _NO_UPSTREAM:
        report.add("app-down", "likely", prefix, evidence)
        return
    if prefix:
        if in_process is None and report_changed_path(served):  # with a table it has been tried before
            return
        outside = served.probe_outside()
        is_same = root.is_like(outside)
        evidence.append(
            f"{path_of(outside.url)}: {outside.summary}, {'the same response' if is_same else 'another response'}"
        )
        if is_same:
            report.add("no-location", "likely", prefix, evidence)
            return
        if root.status == 404:
            # A mount of the table expects its prefix, so the proxy cannot be wrong to keep it, unless `strips` is set.
            is_expected = isinstance(served.in_process, WsgiSite) and not served.in_process.strips
            report.add("path-changed" if is_expected else "proxy-keeps", "likely", prefix, evidence)
            return
    report.add("failing", "likely", prefix, evidence)


def _report_failing_app(served: ServedMount, root: ProbeResult) -> None:
    """Report that the root of an app in this process fails, and whether its pages are below a second prefix."""
    prefix, evidence = served.prefix, [f"{path_of(root.url)}: {root.summary}"]
    if prefix:
        doubled, unknown = (
            served.get(f"{prefix}{prefix}/"),
            served.get(f"{prefix}{path_of(served.probe_unknown('/').url)}"),
        )
        if not follow(served.site, doubled.url).fails and not doubled.is_like(unknown):
            evidence.append(f"{path_of(doubled.url)}: {doubled.summary}")
            served.report.add("own-prefix", "sure", prefix, evidence)
            return
    # 404 is a note, since an app need not have a page at its root.
    served.report.add("failing", "note" if root.status == 404 else "likely", prefix, evidence)


# ----------------------------------------------------------------------------------------------------------- its links


def _report_links(crawl: Crawl) -> None:
    served = crawl.served
    graded: tuple[tuple[Certainty, list[Fault]], ...] = (("sure", crawl.faults), ("likely", crawl.suspected))
    for certainty, faults in graded:
        for fault in faults:
            symptom = fault.symptom
            if symptom == "prefix-missing" and (crawl.prefixed or served.knows_prefix):
                is_static = fault.link.kind == "file" and served.reads_static_url_early
                symptom = "static-url" if is_static else "prefix-hard-coded"
            fills = {"host": served.site.origin.host}
            served.report.add(symptom, certainty, served.prefix, [str(fault)], fills)


def _report_files(crawl: Crawl, root: ProbeResult) -> None:
    """Report the links that fail even when they are corrected, and whether the proxy is the cause."""
    served = crawl.served
    same = [served.site.get(url) for url in sorted(crawl.files)]
    same = [
        result for result in same if result.is_html and result.is_like(root) and result.is_like(served.probe_unknown())
    ]
    if same:
        evidence = [f"{path_of(result.url)}: the page of {path_of(root.url)}" for result in same]
        served.report.add("same-page", _certainty_of(served, same[-1].url), served.prefix, evidence)
        return
    for link, result in crawl.dead:
        suffix = posixpath.splitext(path_of(link.url))[1]
        if link.kind == "file" and suffix and is_below(path_of(link.url), served.prefix) and _is_stolen(served, suffix):
            evidence = [
                f"{link}: {result.summary}, as for any {suffix} file of the site; other paths of the mount differ"
            ]
            served.report.add("assets-stolen", _certainty_of(served, link.url), served.prefix, evidence)
        else:
            served.report.add("dead-link", "note", served.prefix, [f"{link}: {result.summary}"])


def _is_stolen(served: ServedMount, suffix: str) -> bool:
    """Whether an unknown file with *suffix* gets the same response inside and outside the mount, but no other path."""
    inside = served.probe_unknown(suffix)
    return inside.is_like(served.probe_outside(suffix)) and not inside.is_like(served.probe_unknown())


def _certainty_of(served: ServedMount, url: str) -> Certainty:
    """Return ``sure`` if the app in this process has *url*, a file that fails through the proxy; else ``likely``."""
    in_process = served.get_in_process(url)
    return "likely" if in_process is None or in_process.fails or in_process.is_html else "sure"


# ------------------------------------------------------------------------------------------------- ends of its prefix


def _probe_without_slash(served: ServedMount) -> None:
    """Request the prefix without its slash: it has to redirect to the slash, or the page's relative links break."""
    site, report, prefix = served.site, served.report, served.prefix
    result = served.get(prefix)
    evidence = [f"{prefix}: {result.summary}"]
    if result.location:
        _report_slash_redirect(served, result)
    elif result.fails or (not result.body and result.is_like(served.probe_outside())):
        report.add("slash-404", "likely", prefix, evidence)
    elif result.status == 200:
        for link in links(result):
            if not link.is_relative or link.kind == "posted form" or origin_of(link.url) != site.origin:
                continue
            wrong, right = site.get(link.url), site.get(urljoin(served.root, link.text))
            if (wrong.fails or (link.kind == "file" and wrong.is_html)) and served.works(right, link.kind):
                evidence.append(f"{link}: {wrong.summary}; {path_of(right.url)}: {right.summary}")
                report.add("slash-200", "sure", prefix, evidence)
                return
        report.add("slash-200", "note", prefix, [*evidence, "no relative link of the page fails"])


def _report_slash_redirect(served: ServedMount, result: ProbeResult) -> None:
    site, target = served.site, result.location
    evidence = f"{served.prefix}: {result.summary}"
    if origin_of(target) == site.origin:
        if not is_below(path_of(target), served.prefix) and site.get(target).fails:
            right = site.get(served.root)
            evidence += f": {site.get(target).summary}; {path_of(right.url)}: {right.summary}"
            served.report.add("slash-elsewhere", "sure", served.prefix, [evidence])
        return
    if path_of(target) != f"{served.prefix}/":
        return
    if not site.may_request(target):
        served.report.add("slash-elsewhere", "likely", served.prefix, [f"{evidence}: not requested"])
    elif (there := site.get(target)).fails:
        right = site.get(served.root)
        evidence += f": {there.summary}; {right.url}: {right.summary}"
        served.report.add("slash-elsewhere", "sure", served.prefix, [evidence])


def _probe_boundary(crawl: Crawl) -> None:
    """Request a path whose first word only begins like the prefix (``/shopcart``): the mount must not get it."""
    served, prefix = crawl.served, crawl.served.prefix
    for page in crawl.pages[1:]:
        path = path_of(page.url)
        if page.status == 200 and is_below(path, prefix) and path not in (prefix, f"{prefix}/") and served.works(page):
            longer = served.get(prefix + path[len(prefix) + 1 :])
            if longer.status == 200 and longer.is_like(page) and not longer.is_like(served.probe_sibling()):
                evidence = f"{path_of(longer.url)}: {longer.summary}, the page of {path}"
                served.report.add("no-boundary", "sure", prefix, [evidence])
                return
            break
    inside, sibling = served.probe_unknown(), served.probe_sibling()
    longer = served.get(prefix + path_of(inside.url)[len(prefix) + 1 :])
    # The longer word gets another response than a sibling does. That is evidence only if all siblings get one response,
    # and the mount another.
    if not inside.is_like(sibling) and not longer.is_like(sibling) and served.probe_sibling("x").is_like(sibling):
        evidence = (
            f"{path_of(longer.url)}: {longer.summary}; {path_of(sibling.url)}: {sibling.summary}, another response"
        )
        served.report.add("no-boundary", "likely", prefix, [evidence])


# --------------------------------------------------------------------------------------------------------- its cookies


def cookies_of(result: ProbeResult) -> Iterator[Cookie]:
    """Yield the cookies that *result* sets. The last ``Path`` counts if it begins with a slash (RFC 6265, 5.2.4).

    >>> [cookie.path for cookie in cookies_of(ProbeResult("/", 200, [("Set-Cookie", "a=1; Path=/x")]))]
    ['/x']
    """
    for value in result.all("Set-Cookie"):
        pair, *attributes = value.split(";")
        paths = [found[1].strip() for item in attributes if (found := re.match(r"(?i)\s*path\s*=(.*)", item))]
        path = paths[-1] if paths and paths[-1].startswith("/") else None
        yield Cookie(pair.partition("=")[0].strip(), path, result.url)


def cookies_below(served: ServedMount) -> list[Cookie]:
    """Return the cookies that the pages of the mount have set so far, one for each name and path."""
    found: dict[tuple[str, str], Cookie] = {}
    for result in served.site.results():
        origin = origin_of(result.url)
        if origin and origin.host == served.site.origin.host and is_below(path_of(result.url), served.prefix):
            for cookie in cookies_of(result):
                found.setdefault((cookie.name, cookie.effective_path), cookie)
    return list(found.values())


def _report_cookies(served: ServedMount) -> None:
    report, prefix = served.report, served.prefix
    for cookie in cookies_below(served):
        page = path_of(cookie.url)
        if cookie.path is None:
            if not cookie.reaches(f"{prefix}/") and page != prefix:
                evidence = f"{cookie.name}, set by {page}: browsers return it only below {cookie.effective_path}"
                report.add("cookie-pathless", "likely", prefix, [evidence])
        elif not cookie.reaches(page):
            evidence = f"{cookie.name}; Path={cookie.path}, set by {page}"
            report.add("cookie-path", "likely", prefix, [evidence])
