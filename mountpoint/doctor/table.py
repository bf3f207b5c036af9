"""With the mount table at hand: the apps alone, in process; and what the proxy in front of them makes of it.

In process every app has its prefix, so that an address without it is hard-coded. Through the proxy, what fails there
and works here is the proxy's, and the echo says what arrives.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from ..config.reader import DEFAULT_FILE, Config, load_config
from ..loading.loader import LoadedMount, build_router, build_table, load_mounts
from ..loading.logs import configure_logging
from ..wsgi.keys import host_covers, is_below, wsgi_string
from ..wsgi.percent import encode_plain_path
from .addresses import Origin, checked_url
from .arrival import look_at_arrival, look_at_limits
from .crawl import Place
from .fetch import HttpSite, WsgiSite
from .findings import Report
from .run import CannotLookError, Progress, reach, run
from .site import cookies_below, examine


def examine_table(file: str | Path | None, url: str | None, limit: int, progress: Progress | None) -> Report:
    """Look at every mount of *file* in process, and with *url* through whatever serves it there.

    Raises `ConfigError` for the file, and `CannotLookError` if *url* does not answer or no app could be loaded.
    """
    config = load_config(file or DEFAULT_FILE)
    with contextlib.redirect_stdout(sys.stderr):  # what apps print is no answer of ours
        configure_logging(config.server.log_level, access_log=False, dictionary=config.logging)
        examination = _Examination(config, load_mounts(config), url, limit, progress)
        examination.look()
    return examination.report


class _Examination:
    """One table, its mounts loaded, and the site through which it is served, if there is one."""

    def __init__(
        self, config: Config, mounts: Sequence[LoadedMount], url: str | None, limit: int, progress: Progress | None
    ) -> None:
        self.config = config
        self.mounts = mounts
        without_echo = dataclasses.replace(config, doctor=dataclasses.replace(config.doctor, key=""))
        self.stack = build_router(without_echo, build_table(mounts))
        self.live: HttpSite | None = None
        self.below = ""  # the prefix at which we are to look
        if url is not None:
            origin, path = checked_url(url)
            self.live, self.below = HttpSite(origin, limit, progress), path.rstrip("/")
            reach(self.live, self.live.url(path))
        self.report = Report(
            self.live.url(f"{self.below}/") if self.live else str(config.file),
            limit=limit,
            server=self.live.server if self.live else "",
        )
        self.places: list[Place] = []

    def look(self) -> None:
        """Look at all mounts that can be met where we are to look."""
        report = self.report
        wanted = [mount for mount in self.mounts if self._is_wanted(mount)]
        for mount in wanted:
            if mount.error:  # there is no address to be corrected, and nothing is surer than this
                report.add("broken-mount", "sure", mount.config.key, [str(mount.error)])
        run(report, lambda: self._look_at([mount for mount in wanted if mount.app]))
        _say_of_collisions(self.places, report)
        report.mounts = [place.prefix or "/" for place in self.places]
        report.requests = self.live.made if self.live else sum(place.site.made for place in self.places)
        if not self.places and not report.findings:
            raise CannotLookError(f"{report.target}: no mount of {self.config.file} could be looked at")
        if not self.live:
            report.skip("the proxy: this needs --url")

    def _look_at(self, mounts: Sequence[LoadedMount]) -> None:
        for mount in mounts:
            self._look_at_mount(mount)
        if self.live:
            look_at_limits(self.config, self.live, self.places, self.report)

    def _is_wanted(self, mount: LoadedMount) -> bool:
        if self.live is None:
            return True
        host = mount.config.key.partition("/")[0]
        own = self.live.origin.host
        if not host_covers(host, own):
            self.report.skip(f"{mount.config.key}: another host")
            return False
        return is_below(_public(self.config, mount), self.below)

    def _look_at_mount(self, mount: LoadedMount) -> None:
        """Look at one mount in process, and then, if there is one, through the proxy."""
        in_process = self._in_process(mount)
        found = in_process.report
        whole = run(found, lambda: examine(in_process))
        fills = {"host": in_process.site.origin.host}
        for finding in found.findings:  # the app's own faults, which no proxy mends
            self.report.add(finding.symptom, finding.certainty, in_process.prefix, finding.evidence, fills)
        if self.live is None or not whole:
            for what in found.not_looked_at:
                self.report.skip(what)
        if self.live is None:
            self.places.append(in_process)
            return
        through = dataclasses.replace(
            in_process,
            site=self.live,
            report=self.report,
            in_process=in_process.site,
            is_told=found.has("prefix-hard-coded", in_process.prefix),
        )
        self.places.append(through)
        if not look_at_arrival(self.config, through):
            examine(through)

    def _in_process(self, mount: LoadedMount) -> Place:
        prefix = _public(self.config, mount)
        siblings = [_public(self.config, other) for other in self.mounts if other is not mount]
        host = mount.config.key.partition("/")[0].replace("*.", "any.") or "localhost"
        origin = self.live.origin if self.live else Origin("http", host, 80)
        strips = self.config.proxy.strips_prefix()
        # In process alone the stated number is that of all mounts; else it is the proxy that is spared.
        limit = self.report.limit - (0 if self.live else sum(place.site.made for place in self.places))
        site = WsgiSite(self.stack, origin, limit, strips)
        if not self.live and site.get(site.url(f"{prefix}/")).location.startswith(f"https://{host}/"):
            site = WsgiSite(self.stack, Origin("https", host, 443), limit, strips)
        return Place(
            site,
            prefix,
            Report(self.report.target, limit=self.report.limit, server=self.report.server),
            # What a mount above this one owns, this one's addresses are not; what lies deeper is another's.
            [other for other in siblings if not is_below(prefix, other)],
            self.config.doctor.allow,
            is_told=True,
        )


def _public(config: Config, mount: LoadedMount) -> str:
    """Return the public prefix of *mount*, percent-encoded, empty for the root."""
    path = "/" + mount.config.key.partition("/")[2]
    return encode_plain_path(config.proxy.strips_prefix() + wsgi_string(path)).rstrip("/")


def _say_of_collisions(places: Sequence[Place], report: Report) -> None:
    for one, other in combinations(places, 2):
        hosts = {one.site.origin.host, other.site.origin.host}
        if len(hosts) == 2 and "localhost" not in hosts:  # which stands for the mounts of every host
            continue
        theirs = {(cookie.name, cookie.effective_path): cookie for cookie in cookies_below(other)}
        for cookie in cookies_below(one):
            if (cookie.name, cookie.effective_path) in theirs and cookie.reaches(f"{other.prefix}/"):
                evidence = (
                    f"{cookie.name}; Path={cookie.effective_path}, set by {one.prefix or '/'} and {other.prefix or '/'}"
                )
                report.add("cookie-collision", "likely", other.prefix, [evidence])
