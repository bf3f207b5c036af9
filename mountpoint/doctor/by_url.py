"""Examine a site of which only the URL is known.

Two functions here serve every examination over the network: `ensure_reachable` at its start, and `run_within_limit`
around it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from ..errors import MountpointError
from .addresses import checked_url
from .crawl import ServedMount
from .examine import examine
from .fetch import REQUESTS, HttpSite, OutOfRequests, Progress
from .findings import Report


class CannotExamineError(MountpointError):
    """The site does not respond, or no app of the table could be loaded."""


def examine_url(url: str, limit: int = REQUESTS, progress: Progress | None = None) -> Report:
    """Examine the site at *url* with at most *limit* requests. The path of *url* is taken for the prefix of the mount.

    Raises `UsageError` if *url* is not an HTTP URL, and `CannotExamineError` if the site does not respond.
    """
    origin, path = checked_url(url)
    site = HttpSite(origin, limit, progress)
    prefix = path.rstrip("/")
    report = Report(site.url(f"{prefix}/"), mounts=[f"the prefix is {prefix or '/'}"], limit=limit)
    served = ServedMount(site, prefix, report)
    ensure_reachable(site, served.root)
    report.server = site.server
    run_within_limit(report, lambda: examine(served))
    report.requests = site.requests
    report.skip("spoofed forwarding headers, bodies over the limit: these checks need the table and [doctor] key")
    report.skip("cookies of other mounts, the path that reaches the app: these checks need the table")
    return report


def ensure_reachable(site: HttpSite, url: str) -> None:
    """Raise `CannotExamineError` if *url* does not respond.

    A second request, for a path that no app has, makes the proxy name itself, so that `Site.server` is known early.
    """
    try:
        first = site.get(url)
    except OutOfRequests:
        raise CannotExamineError(f"{url}: the limit of requests is too low for even one") from None
    if not first.status:
        raise CannotExamineError(f"{url}: {first.error}")
    with suppress(OutOfRequests):
        ServedMount(site, "", Report(url)).probe_outside()


def run_within_limit(report: Report, examination: Callable[[], object]) -> bool:
    """Call *examination*. If it runs out of requests, list that in *report*, and return False."""
    try:
        examination()
    except OutOfRequests:
        report.skip(f"everything that needs more than {report.limit} requests")
        return False
    return True
