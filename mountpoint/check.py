"""``mountpoint check``: load every app of a table, and report problems and warnings.

A problem is an error: the file is wrong, or an app does not load. A warning is about apps that load, but that will not
work well under their prefix or together, and about settings that leave the server open to its clients.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .config.reader import ServerConfig, load_config, quoted
from .errors import ConfigError, Problem, UnreadableError, counted
from .loading.app_kinds import is_instance_by_name
from .loading.load_thread import LoadThread
from .loading.loaded_mount import LoadedMount
from .loading.logs import configure_logging
from .loading.requirements import requirement_faults
from .workers.trial import loaded_on_trial
from .wsgi.keys import host_covers
from .wsgi.mount_env import is_request_variable
from .wsgi.proxy_settings import ProxySettings

# The keys of environ that werkzeug's ProxyFix reads.
_PROXY_FIX_HEADERS = {f"HTTP_X_FORWARDED_{name}" for name in ("FOR", "PROTO", "HOST", "PORT", "PREFIX")}


@dataclass(frozen=True, slots=True)
class Finding(Problem):
    """A problem or warning about one key of the file; ``details`` is a traceback, or empty."""

    details: str = ""

    def __str__(self) -> str:
        text = Problem.__str__(self)  # super() does not work here: with slots=True, dataclass makes a second class
        return f"{text}\n{_indented(self.details)}" if self.details else text


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a check: the mounts with their state, the problems, the warnings, and notes.

    A note is about a change that the load of an app has made to the process, and that mountpoint has handled.
    """

    file: str
    mounts: Sequence[dict[str, str]] = ()
    problems: Sequence[Finding] = ()
    warnings: Sequence[Finding] = ()
    notes: Sequence[Finding] = ()
    is_readable: bool = True

    @property
    def exit_code(self) -> int:
        """2 for a file that cannot be read, 1 for problems, else 0. Warnings and notes do not count."""
        if not self.is_readable:
            return 2
        return 1 if self.problems else 0

    def as_json(self) -> str:
        """Return one JSON object with the arrays ``mounts``, ``problems``, ``warnings`` and ``notes``."""
        lists = {
            "mounts": list(self.mounts),
            "problems": [{"file": self.file, **dataclasses.asdict(finding)} for finding in self.problems],
            "warnings": [dataclasses.asdict(finding) for finding in self.warnings],
            "notes": [dataclasses.asdict(finding) for finding in self.notes],
        }
        return json.dumps(lists, indent=2, ensure_ascii=False)

    def as_text(self) -> str:
        """Return a table of the mounts, then the problems, the warnings, the notes and a line with their numbers."""
        lines = []
        if self.mounts:
            widths = [max(len(mount[column]) for mount in self.mounts) for column in ("mount", "app")]
            lines = [f"{m['mount']:<{widths[0]}}  {m['app']:<{widths[1]}}  {m['state']}" for m in self.mounts]
        lines += [f"{self.file}: {finding}" for finding in self.problems]
        lines += [f"{self.file}: warning: {finding}" for finding in self.warnings]
        lines += [f"{self.file}: note: {finding}" for finding in self.notes]
        counts = [
            counted(len(self.mounts), "mount"),
            counted(len(self.problems), "problem"),
            counted(len(self.warnings), "warning"),
            *([counted(len(self.notes), "note")] if self.notes else []),
        ]
        return "\n".join([*lines, ", ".join(counts)])


def check(file: str | Path, thread: LoadThread | None = None, timeout: float | None = None) -> Report:
    """Validate *file*, load every app, and return the report. A wrong file is in the report and does not raise.

    With *thread* the apps are imported there, and a load that takes more than *timeout* seconds is a problem.
    """
    try:
        config = load_config(file)
        with contextlib.redirect_stdout(sys.stderr):  # stdout is for the report, not for a handler of [logging]
            configure_logging(config.server.log_level, dictionary=config.logging)
    except ConfigError as error:
        problems = [Finding(problem.key, problem.message) for problem in error.problems]
        return Report(error.file or str(file), problems=problems, is_readable=not isinstance(error, UnreadableError))
    # stdout is for the report, not for the prints of an app.
    with contextlib.redirect_stdout(sys.stderr), loaded_on_trial(config, thread, timeout) as mounts:
        pass
    rows = [
        {
            "mount": mount.config.key,
            "app": mount.config.app.text,
            "root": str(mount.config.root),
            "state": "broken" if mount.error else "ready",
        }
        for mount in mounts
    ]
    problems = [Finding(_key(mount), str(mount.error), mount.error.details) for mount in mounts if mount.error]
    found = list(warnings(mounts, config.proxy))
    found += [Finding(_key(fault.mount), fault.text) for fault in requirement_faults(mounts)]
    ready = [mount for mount in mounts if mount.app]
    found += [Finding(_key(mount), fault.text) for mount in ready for fault in mount.examine().prefix_faults]
    if config.proxy.trusted and not config.proxy.counts():
        message = "is set, but no header is counted; add x_for = 1 and x_proto = 1"
        found.append(Finding("proxy.trusted", message))
    found += disabled_protections(config.server)
    notes = [Finding(_key(mount), note) for mount in mounts for note in mount.notes]
    return Report(str(config.file), rows, problems, found, notes)


def warnings(mounts: Sequence[LoadedMount], proxy: ProxySettings | None = None) -> Iterator[Finding]:
    """Yield a warning for each fault that shows only under a prefix, behind a proxy, or with two apps together.

    *proxy* are the settings of ``[proxy]``.
    """
    ready = [mount for mount in mounts if mount.app]
    for mount in ready:
        facts = mount.examine()
        if facts.is_bottle and not mount.config.key.isascii():
            yield Finding(_key(mount), "Bottle garbles links under a prefix that is not ASCII; write an ASCII prefix")
        if facts.has_proxy_fix and (facts.names_proxy_fix or _passes_on(proxy)):
            yield Finding(
                _key(mount),
                "the app is wrapped in ProxyFix, which under mountpoint finds no forwarding headers, or overwrites the "
                "prefix of the mount; remove ProxyFix, and describe the proxy under [proxy]",
            )
    yield from _session_warnings(ready)
    yield from _django_warnings(ready)
    for mount in mounts:
        yield from (Finding(_key(mount), warning) for warning in mount.warnings)
    yield from _unread_warnings(ready)


def _session_warnings(mounts: Sequence[LoadedMount]) -> Iterator[Finding]:
    """Yield one warning for each group of mounts whose session cookies replace each other."""
    by_cookie: dict[Any, list[LoadedMount]] = {}
    for mount in mounts:
        if cookie := _session_cookie(mount):
            by_cookie.setdefault(cookie, []).append(mount)
    for (name, path, _), sharing in by_cookie.items():
        waiting = sharing
        while waiting:
            group, waiting = [waiting[0]], waiting[1:]
            for member in group:  # grows in the loop
                group += [mount for mount in waiting if _share_a_host(member, mount)]
                waiting = [mount for mount in waiting if mount not in group]
            others = [mount for mount in group[1:] if not _is_same_app(mount, group[0])]
            if not others:
                continue
            first, *more = (mount.config.key for mount in (group[0], *others[1:]))
            others_of = f"{first} and of {', '.join(more)}" if more else first
            yield Finding(
                _key(others[0]),
                f'its session cookie "{name}" with Path={path} has the same name and path as that of {others_of}, so '
                f"a login to one app is a logout from the other{'s' if more else ''}; "
                'write cookies = "scoped", or give each app a SESSION_COOKIE_NAME of its own',
            )


def _django_warnings(mounts: Sequence[LoadedMount]) -> Iterator[Finding]:
    """Yield a warning for each mount of a Django project under another prefix than its first mount."""
    first: dict[int, LoadedMount] = {}
    for mount in mounts:
        if is_instance_by_name(mount.app, "django.WSGIHandler"):
            one = first.setdefault(id(mount.app), mount)
            if _prefix(one) != _prefix(mount):
                yield Finding(
                    _key(mount),
                    f"this Django project is also mounted at {one.config.key}, and Django uses the prefix of its first "
                    'request for both mounts; serve one of the two from a process of its own: write process = "own"',
                )


def _unread_warnings(mounts: Sequence[LoadedMount]) -> Iterator[Finding]:
    """Yield a warning for each variable of ``env`` that no load of a mount with this value has read."""
    unread: dict[tuple[str, str], list[LoadedMount]] = {}
    for mount in mounts:
        for name, value in mount.config.env.items():
            unread.setdefault((name, value), []).append(mount)
    for (name, _), having in unread.items():
        if all(name in mount.unread for mount in having):
            others = f", nor that of {', '.join(mount.config.key for mount in having[1:])}" if having[1:] else ""
            place = "nowhere: its name is one of CGI or of a header" if is_request_variable(name) else "in environ only"
            yield Finding(
                f"{_key(having[0])}.env.{quoted(name)}",
                f"the load has not read it{others}; os.environ has it only during the load, and a request finds it "
                f"{place}; check the name, or let the app read it at import; if a request reads it, write "
                'process = "own"',
            )


def _prefix(mount: LoadedMount) -> str:
    return mount.config.key.partition("/")[2]


def _passes_on(proxy: ProxySettings | None) -> bool:
    """Whether *proxy* lets a header reach the app that ProxyFix reads."""
    return proxy is not None and not proxy.passed().isdisjoint(_PROXY_FIX_HEADERS)


def disabled_protections(server: ServerConfig) -> Iterator[Finding]:
    """Yield a warning for each setting of ``[server]`` that switches off a protection against clients."""
    if not server.header_timeout:
        yield Finding(
            "server.header_timeout",
            "0 turns it off, so a client that drips its header keeps its connection; write header_timeout = 30",
        )
    if not server.body_timeout:
        yield Finding(
            "server.body_timeout",
            "0 turns it off, so clients that upload slowly can take all connections for ever; write body_timeout = 30",
        )
    if not server.max_buffered_bodies:
        yield Finding(
            "server.max_buffered_bodies",
            "0 turns it off, so uploads can fill the memory and $TMPDIR; leave it out, or write a number of bytes",
        )
    if server.adjustments.get("expose_tracebacks"):
        yield Finding(
            "server.expose_tracebacks",
            "true shows the code of an app that fails to each client; leave it out where others can reach the server",
        )


def _key(mount: LoadedMount) -> str:
    return f"mounts.{quoted(mount.config.key)}"


def _is_same_app(one: LoadedMount, other: LoadedMount) -> bool:
    """Whether two mounts serve one app, so that they may share its session."""
    if one.config.own and other.config.own:
        return (one.config.root, one.config.app.text) == (other.config.root, other.config.app.text)
    return one.app is other.app


def _session_cookie(mount: LoadedMount) -> tuple[str, str, str | None] | None:
    """Return name, path and domain of the session cookie that *mount* sets, or None if it sets none."""
    cookie = mount.examine().session_cookie
    if cookie and cookie[1] == "/" and mount.config.cookies == "scoped":
        return cookie[0], mount.config.key, cookie[2]
    return cookie


def _share_a_host(one: LoadedMount, other: LoadedMount) -> bool:
    """Whether there is a host name at which a browser reaches both mounts."""
    first, second = (mount.config.key.partition("/")[0] for mount in (one, other))
    return host_covers(first, second) or host_covers(second, first)


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.rstrip().splitlines())
