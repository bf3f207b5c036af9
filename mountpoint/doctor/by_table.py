"""Examine every mount of a table: its app in this process, and then the same app through the proxy.

In this process every app knows its prefix, so a link without it must be hard-coded. A URL that fails through the proxy
and works in this process is a fault of the proxy.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from ..config.reader import Config, load_config
from ..config.toml_file import DEFAULT_FILE
from ..loading.load_thread import LoadThread
from ..loading.loaded_mount import LoadedMount
from ..loading.logs import configure_logging
from ..loading.requirements import requirement_faults
from ..loading.routing import build_router, build_table
from ..workers.trial import loaded_on_trial
from ..wsgi.keys import host_covers, is_below, wsgi_string
from ..wsgi.percent import encode_path
from .addresses import Origin, checked_url
from .arrival import examine_arrival, probe_defences
from .by_url import CannotExamineError, ensure_reachable, run_within_limit
from .crawl import ServedMount
from .examine import cookies_below, examine
from .fetch import HttpSite, OutOfRequests, Progress, WsgiSite
from .findings import Report

_FOR_DEFENCES = 12  # requests of `probe_defences`
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def examine_table(  # noqa: PLR0913 - the options of the command
    file: str | Path | None,
    url: str | None,
    limit: int,
    progress: Progress | None,
    thread: LoadThread | None = None,
    *,
    timeout: float | None = None,
) -> Report:
    """Examine every mount of *file* in this process, and with *url* through the proxy that serves the table there.

    With *thread* the apps are imported there, and a load that takes more than *timeout* seconds fails.

    Raises `ConfigError` if *file* is wrong, and `CannotExamineError` if *url* does not respond or no app could be
    loaded.
    """
    config = load_config(file or DEFAULT_FILE)
    with contextlib.redirect_stdout(sys.stderr):  # the apps may print, and stdout is for the report
        configure_logging(config.server.log_level, access_log=False, dictionary=config.logging)
        with loaded_on_trial(config, thread, timeout) as mounts:
            examination = _Examination(config, mounts, url, limit, progress)
            examination.run()
    return examination.report


class _Examination:
    """One table with its loaded mounts, and the site on the network that serves it, if there is one."""

    def __init__(
        self, config: Config, mounts: Sequence[LoadedMount], url: str | None, limit: int, progress: Progress | None
    ) -> None:
        self.config = config
        self.mounts = mounts
        without_echo = dataclasses.replace(config, doctor=dataclasses.replace(config.doctor, key=""))
        self.prefix_faults = {
            mount.config.key: mount.examine().prefix_faults for mount in mounts if mount.app
        }  # before the first request
        self.router = build_router(without_echo, build_table(mounts))
        self.live: HttpSite | None = None
        self.prefix = ""  # only mounts below this public prefix are examined
        if url is not None:
            origin, path = checked_url(url)
            self.live, self.prefix = HttpSite(origin, limit, progress), path.rstrip("/")
            ensure_reachable(self.live, self.live.url(path))
        self.report = Report(
            self.live.url(f"{self.prefix}/") if self.live else str(config.file),
            limit=limit,
            server=self.live.server if self.live else "",
        )
        self.served_mounts: list[ServedMount] = []

    def run(self) -> None:
        """Examine all mounts that the URL covers, or without a URL all mounts, and complete the report."""
        report = self.report
        covered = [mount for mount in self.mounts if self._is_covered(mount)]
        for mount in covered:
            if mount.error:
                report.add("broken-mount", "sure", mount.config.key, [str(mount.error)])
        self._examine([mount for mount in covered if mount.app])
        self._report_conflicts(covered)
        _report_collisions(self.served_mounts, report)
        report.mounts = [served.name for served in self.served_mounts]
        report.requests = (
            self.live.requests if self.live else sum(served.site.requests for served in self.served_mounts)
        )
        if not self.served_mounts and not report.findings:
            raise CannotExamineError(f"{report.target}: no mount of {self.config.file} could be examined")
        if not self.live:
            report.skip("the proxy: this needs --url")

    def _report_conflicts(self, covered: Sequence[LoadedMount]) -> None:
        """Report the conflicts between the apps of one process."""
        faults = [*requirement_faults(self.mounts)]
        for mount in covered:
            texts = [*mount.warnings, *(fault.text for fault in faults if fault.mount is mount)]
            if texts:
                self.report.add("better-apart", "note", _public_prefix(self.config, mount), texts)

    def _is_covered(self, mount: LoadedMount) -> bool:
        if self.live is None:
            return True
        host = mount.config.key.partition("/")[0]
        if not host_covers(host, self.live.origin.host):
            self.report.skip(f"{mount.config.key}: the host of the URL is another one")
            return False
        return is_below(_public_prefix(self.config, mount), self.prefix)

    def _examine(self, mounts: Sequence[LoadedMount]) -> None:
        """Examine *mounts*. Each has an equal share of the requests that are left, so none goes without."""
        cut_short = []
        for index, mount in enumerate(mounts):
            share = self._requests_left() // (len(mounts) - index)
            try:
                is_complete = self._examine_mount(mount, share)
            except OutOfRequests:
                is_complete = False
            if not is_complete:
                cut_short.append(_public_prefix(self.config, mount) or "/")
        if cut_short:
            self.report.skip(f"everything that needs more than {self.report.limit} requests: at {', '.join(cut_short)}")
        if self.live and self.served_mounts:
            self.live.limit = self.report.limit
            run_within_limit(self.report, lambda: probe_defences(self.config, self.served_mounts[0]))

    def _requests_left(self) -> int:
        """Return how many requests the mounts may still make together."""
        if self.live is None:
            return self.report.limit - sum(served.site.requests for served in self.served_mounts)
        reserved = _FOR_DEFENCES if self.config.doctor.key and self.report.limit > 4 * _FOR_DEFENCES else 0
        return max(0, self.report.limit - self.live.requests - reserved)

    def _examine_mount(self, mount: LoadedMount, share: int) -> bool:
        """Examine one mount in this process, and then through the proxy if there is one, with *share* requests.

        Return whether they were enough. Raises `OutOfRequests` if they were not, and the examination got no further.
        """
        # With a proxy only the requests to it count, so each app gets the whole limit.
        in_process = self._served_in_process(mount, self.report.limit if self.live else share)
        faults = self.prefix_faults.get(mount.config.key, ())
        in_process.reads_static_url_early = any(fault.symptom == "static-url" for fault in faults)
        if self.live is None:
            self.served_mounts.append(in_process)
        is_complete = True
        try:
            examine(in_process)
        except OutOfRequests:
            is_complete = False
        fills = {"host": in_process.site.origin.host}
        for finding in in_process.report.findings:  # faults of the app, which no change of the proxy can fix
            self.report.add(finding.symptom, finding.certainty, in_process.prefix, finding.evidence, fills)
        for fault in faults:
            if not self.report.has(fault.symptom, in_process.prefix):  # else a request has shown it
                self.report.add(fault.symptom, "likely", in_process.prefix, [fault.text])
        if self.live is None or not is_complete:
            for what in in_process.report.not_looked_at:
                self.report.skip(what)
        if self.live is None:
            return is_complete
        through_proxy = dataclasses.replace(
            in_process,
            site=self.live,
            report=self.report,
            in_process=in_process.site,
            knows_prefix=in_process.report.has("prefix-hard-coded", in_process.prefix),
        )
        self.served_mounts.append(through_proxy)
        self.live.limit = self.live.requests + share
        if not examine_arrival(self.config, through_proxy):
            examine(through_proxy)
        return is_complete

    def _served_in_process(self, mount: LoadedMount, limit: int) -> ServedMount:
        """Return *mount* as the router in this process serves it, at the public URL if there is one."""
        prefix = _public_prefix(self.config, mount)
        siblings = [_public_prefix(self.config, other) for other in self.mounts if other is not mount]
        host = mount.config.key.partition("/")[0].replace("*.", "any.") or "localhost"
        origin = self.live.origin if self.live else Origin("http", host, 80)
        strips = self.config.proxy.strips_prefix()
        site = WsgiSite(self.router, origin, limit, strips)
        if not self.live and site.get(site.url(f"{prefix}/")).location.startswith(f"https://{host}/"):
            site = WsgiSite(self.router, Origin("https", host, 443), limit, strips)  # the app requires https
        return ServedMount(
            site,
            prefix,
            Report(self.report.target, limit=self.report.limit, server=self.report.server),
            # Not the mounts above this one: all URLs of this mount lie below them, and would count as theirs.
            [other for other in siblings if not is_below(prefix, other)],
            self.config.doctor.allow,
            knows_prefix=True,
            listen=_listen_origins(self.config),
        )


def _listen_origins(config: Config) -> frozenset[Origin]:
    """Return the origins by which a program on this computer reaches the server; a link to one of them is a fault."""
    return frozenset(
        Origin("http", f"[{host}]" if ":" in host else host, address.port)
        for address in config.server.listen
        if address.port
        for host in (address.host, *_LOOPBACK)
    )


def _public_prefix(config: Config, mount: LoadedMount) -> str:
    """Return the prefix of *mount* in public URLs: percent-encoded, empty for the root."""
    path = "/" + mount.config.key.partition("/")[2]
    return encode_path(config.proxy.strips_prefix() + wsgi_string(path)).rstrip("/")


def _report_collisions(served_mounts: Sequence[ServedMount], report: Report) -> None:
    """Report the cookies that one mount sets and another overwrites."""
    for one, other in combinations(served_mounts, 2):
        hosts = {one.site.origin.host, other.site.origin.host}
        if len(hosts) == 2 and "localhost" not in hosts:  # localhost stands for mounts that serve every host
            continue
        of_other = {(cookie.name, cookie.effective_path) for cookie in cookies_below(other)}
        for cookie in cookies_below(one):
            if (cookie.name, cookie.effective_path) in of_other and cookie.reaches(f"{other.prefix}/"):
                evidence = f"{cookie.name}; Path={cookie.effective_path}, set by {one.name} and {other.name}"
                report.add("cookie-collision", "likely", other.prefix, [evidence])
