"""``mountpoint check``: what is wrong with a table and its apps, and what is not wrong yet and will hurt."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from .config.reader import load_config, quoted
from .errors import ConfigError, Problem, UnreadableError
from .loading.importing import is_a
from .loading.loader import LoadedMount, load_mounts
from .loading.logs import configure_logging
from .wsgi.keys import host_covers


@dataclass(frozen=True, slots=True)
class Finding(Problem):
    """Something to know about one key of the file; ``details`` is a traceback, or empty."""

    details: str = ""

    def __str__(self) -> str:
        text = Problem.__str__(self)  # super() does not get along with slots
        return f"{text}\n{_indented(self.details)}" if self.details else text


@dataclass(frozen=True, slots=True)
class Report:
    """What was found: the mounts with their state, problems, which are errors, and warnings, which are not."""

    file: str
    mounts: Sequence[dict[str, str]] = ()
    problems: Sequence[Finding] = ()
    warnings: Sequence[Finding] = ()
    readable: bool = True

    @property
    def exit_code(self) -> int:
        """2 for a file that cannot be read, 1 for problems, else 0."""
        return 2 if not self.readable else 1 if self.problems else 0

    def as_json(self) -> str:
        """Return ``{"mounts": [], "problems": [], "warnings": []}``."""
        lists = {
            "mounts": list(self.mounts),
            "problems": [{"file": self.file, **dataclasses.asdict(finding)} for finding in self.problems],
            "warnings": [dataclasses.asdict(finding) for finding in self.warnings],
        }
        return json.dumps(lists, indent=2, ensure_ascii=False)

    def as_text(self) -> str:
        """Return the table, then the problems and warnings, then the sum."""
        lines = []
        if self.mounts:
            widths = [max(len(mount[column]) for mount in self.mounts) for column in ("mount", "app")]
            lines = [f"{m['mount']:<{widths[0]}}  {m['app']:<{widths[1]}}  {m['state']}" for m in self.mounts]
        lines += [f"{self.file}: {finding}" for finding in self.problems]
        lines += [f"{self.file}: warning: {finding}" for finding in self.warnings]
        counts = [_count(len(self.problems), "problem"), _count(len(self.warnings), "warning")]
        return "\n".join([*lines, f"{_count(len(self.mounts), 'mount')}, {', '.join(counts)}"])


def check(file: str | Path) -> Report:
    """Validate *file*, import every app, and return what was found. Nothing is served, and nothing is raised."""
    try:
        config = load_config(file)
        with contextlib.redirect_stdout(sys.stderr):  # where a handler for ext://sys.stdout is to write
            configure_logging(config.server.log_level, dictionary=config.logging)
    except ConfigError as error:
        problems = [Finding(problem.key, problem.message) for problem in error.problems]
        return Report(error.file or str(file), problems=problems, readable=not isinstance(error, UnreadableError))
    with contextlib.redirect_stdout(sys.stderr):  # an app that prints must not speak into our answer
        mounts = load_mounts(config)
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
    found = [*warnings(mounts)]
    if config.proxy.trusted and not config.proxy.counts():
        message = "somebody is trusted, and about nothing; write what their headers tell, x_for = 1 and x_proto = 1 say"
        found.append(Finding("proxy.trusted", message))
    return Report(str(config.file), rows, problems, found)


def warnings(mounts: Sequence[LoadedMount]) -> Iterator[Finding]:
    """Yield what will hurt, though every app of *mounts* works by itself."""
    ready = [mount for mount in mounts if mount.app]
    for mount in ready:
        if is_a(mount.app, "bottle.Bottle") and not mount.config.key.isascii():
            yield Finding(_key(mount), "Bottle garbles links under a prefix that is not ASCII; write an ASCII prefix")
        if _has_proxy_fix(mount.app):
            yield Finding(
                _key(mount),
                "the app is wrapped in ProxyFix, which believes headers that are removed here and would overwrite its "
                "mount; remove it, and say under [proxy] what the proxy does",
            )
    cookies = [(mount, cookie) for mount in ready if (cookie := _session_cookie(mount))]
    for (one, cookie), (other, its_cookie) in combinations(cookies, 2):
        if cookie == its_cookie and _browser_meets_both(one, other):
            yield Finding(
                _key(other),
                f'its session cookie "{cookie[0]}" at path {cookie[1]} is that of {one.config.key} too, and each login '
                'logs the other out; write cookies = "scoped", or give each app its own SESSION_COOKIE_NAME',
            )
    for one, other in combinations([mount for mount in ready if is_a(mount.app, "django.WSGIHandler")], 2):
        if one.app is other.app:
            yield Finding(
                _key(other),
                f"this Django project is at {one.config.key} too, and caches the prefix of its first request; serve "
                "one of the two by a process of its own",
            )


def _key(mount: LoadedMount) -> str:
    return f"mounts.{quoted(mount.config.key)}"


def _has_proxy_fix(app: Any) -> bool:
    """Whether *app* is, or wraps under the usual names, werkzeug's ProxyFix."""
    for _ in range(10):  # middleware in middleware, and no endless ring
        if app is None or is_a(app, "werkzeug.ProxyFix"):
            return app is not None
        app = vars(app).get("wsgi_app") or vars(app).get("app") if hasattr(app, "__dict__") else None
    return False


def _session_cookie(mount: LoadedMount) -> tuple[str, str, str | None] | None:
    """Return name, path and domain of the session cookie of *mount*, a Flask app, or None.

    Flask's own sessions need a secret key, and without one there is no cookie.
    """
    app: Any = mount.app
    if not is_a(app, "flask.Flask"):
        return None
    config = app.config
    if not config["SECRET_KEY"] and is_a(app.session_interface, "flask.SecureCookieSessionInterface"):
        return None
    path = config["SESSION_COOKIE_PATH"] or config["APPLICATION_ROOT"]
    if path == "/" and mount.config.cookies == "scoped":
        path = mount.config.key
    return config["SESSION_COOKIE_NAME"], path, config["SESSION_COOKIE_DOMAIN"]


def _browser_meets_both(one: LoadedMount, other: LoadedMount) -> bool:
    """Whether two mounts are two apps and could be met at one host."""
    if one.app is other.app:
        return False
    first, second = one.config.key.partition("/")[0], other.config.key.partition("/")[0]
    return host_covers(first, second) or host_covers(second, first)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.rstrip().splitlines())
