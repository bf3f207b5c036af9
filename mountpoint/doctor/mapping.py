"""Find out how the proxy changes the path of a mount, from outside and without the echo.

If the proxy changes the path, another URL arrives as the path that the mount expects. A proxy that strips ``/shop``
forwards ``/shop/shop/`` as ``/shop/``. A proxy that replaces ``/shop`` by a slash forwards ``/shop/`` as ``//``, and
``/shopshop/`` as ``/shop/``; nginx does so for ``location /shop { proxy_pass http://APP/; }``. So these URLs are
requested too.

A page at such a URL proves the fault only if it belongs to the mount: it is the page that the app in this process has,
or its links lie below the prefix. Another app may have a page at ``/shopshop/``.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..wsgi.keys import is_below
from .addresses import origin_of, path_of
from .crawl import ServedMount
from .fetch import ProbeResult
from .findings import Certainty
from .pages import links
from .redirects import follow


def report_changed_path(served: ServedMount) -> bool:
    """Report that the proxy changes the path, if a URL that would then reach the mount has its page.

    Return whether it does. If the root of the mount has a page, and that of the app in this process is not known,
    nothing is requested.
    """
    if not served.prefix:
        return False
    live, page = served.site.get(served.root), served.get_in_process(served.root)
    end = follow(served.site, served.root)
    if end.is_loop:
        return False
    if page is None:
        return end.fails and _report_stripped(served, live, None)
    if page.fails or live.is_like(page):
        return False
    return _report_stripped(served, live, page, only_the_same=not end.fails) or _report_sibling(served, live)


def _report_stripped(
    served: ServedMount, live: ProbeResult, page: ProbeResult | None, *, only_the_same: bool = False
) -> bool:
    """Report that the proxy strips the prefix, or that the app adds it.

    *page* is the page of the mount. With *only_the_same*, no other page counts as evidence: some apps have a page for
    every path.
    """
    prefix = served.prefix
    for probe, arrives in _arriving_at_the_mount(served):
        evidence = [f"{path_of(live.url)}: {live.summary}", f"{path_of(probe.url)}: {probe.summary}"]
        if page is not None and probe.is_like(page):
            evidence[-1] += f", the page of the mount: so {prefix}/ arrives as {arrives}"
            served.report.add("proxy-strips", "sure", prefix, evidence)
            return True
        if only_the_same:
            continue
        if page is None and _links_below(probe, prefix * 2):
            evidence[-1] += f", a page whose links begin with {prefix}{prefix}"
            served.report.add("own-prefix", "likely", prefix, evidence)
        else:
            evidence[-1] += f": {prefix}/ may arrive as {arrives}"
            certainty: Certainty = "sure" if _links_below(probe, prefix) else "likely"
            served.report.add("proxy-strips", certainty, prefix, evidence)
        return True
    return False


def _arriving_at_the_mount(served: ServedMount) -> Iterator[tuple[ProbeResult, str]]:
    """Yield the response to each URL that would reach the root of the mount, with the path that the root arrives as.

    A response that unknown paths get as well is left out.
    """
    prefix, siblings = served.prefix, [other for other in served.siblings if other]
    doubled, joined = f"{prefix}{prefix}/", f"{prefix}{prefix[1:]}/"
    if not (probe := served.get(doubled)).fails and not probe.is_like(served.probe_unknown("/")):
        yield probe, "/"
    if any(is_below(joined, other) for other in siblings):
        return
    if not (probe := served.get(joined)).fails and not probe.is_like(served.probe_longer_word()):
        yield probe, "//"


def _report_sibling(served: ServedMount, live: ProbeResult) -> bool:
    """Report that the page of a sibling, as it is in this process, responds instead of the mount."""
    for sibling in served.siblings:
        other = served.get_in_process(served.site.url(f"{sibling}/"))
        if other is None or other.status != 200 or is_below(sibling, served.prefix) or not live.is_like(other):
            continue
        evidence = [f"{path_of(live.url)}: {live.summary}, the page of {sibling}/"]
        served.report.add("path-changed", "sure", served.prefix, evidence)
        return True
    return False


def _links_below(page: ProbeResult, prefix: str) -> int:
    """Return how many links of *page* to other pages, its redirect included, are written as paths below *prefix*."""
    origin, own = origin_of(page.url), path_of(page.url).rstrip("/")
    urls = [*(link.url for link in links(page) if not link.is_relative), page.location]
    paths = [path_of(url) for url in urls if origin_of(url) == origin]
    return sum(is_below(path, prefix) and path.rstrip("/") != own for path in paths)
