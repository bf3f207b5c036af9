"""Look at a site by its address alone; and what each way of looking needs: somebody who answers, and an end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from ..errors import MountpointError
from .addresses import checked_url
from .crawl import Place
from .examine import examine
from .fetch import HttpSite, OutOfRequests
from .findings import Report

Progress = Callable[[int, int, str], object]

REQUESTS = 200  # at most, by default, whatever is found


class CannotLookError(MountpointError):
    """There is nothing to be looked at: the site does not answer, or no app could be loaded."""


def examine_url(url: str, limit: int = REQUESTS, progress: Progress | None = None) -> Report:
    """Look at the site at *url*, whose path is taken for the mount's prefix; make at most *limit* requests.

    Raises `CannotLookError` if it does not answer at all, and `UsageError` if *url* is no address.
    """
    origin, path = checked_url(url)
    site = HttpSite(origin, limit, progress)
    prefix = path.rstrip("/")
    report = Report(site.url(f"{prefix}/"), mounts=[f"the prefix is {prefix or '/'}"], limit=limit)
    place = Place(site, prefix, report)
    reach(site, place.root)
    report.server = site.server
    run(report, lambda: examine(place))
    report.requests = site.made
    for what in (
        "spoofed forwarding headers, bodies over the limit: these need the table and [doctor] key",
        "cookies of siblings, the exact path that arrives: these need the table",
    ):
        report.skip(what)
    return report


def reach(site: HttpSite, url: str) -> None:
    """Raise `CannotLookError` if *url* does not answer. Learn who the proxy is, from what no app answers."""
    try:
        first = site.get(url)
    except OutOfRequests:
        raise CannotLookError(f"{url}: no requests are allowed") from None
    if not first.status:
        raise CannotLookError(f"{url}: {first.error}")
    with suppress(OutOfRequests):
        Place(site, "", Report(url)).probe_outside()


def run(report: Report, look: Callable[[], object]) -> bool:
    """Do *look*; return False, and say so in *report*, if the requests came to their end before."""
    try:
        look()
    except OutOfRequests:
        report.skip(f"what would have taken more than {report.limit} requests")
        return False
    return True
