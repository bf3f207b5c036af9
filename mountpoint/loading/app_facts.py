"""Facts about a loaded app that the warnings of ``mountpoint check`` need.

They are found in the process that has the app. That may be a worker, so this module runs on Python 3.8 too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .app_kinds import is_instance_by_name
from .own_prefix import Prefixes, PrefixFault, prefix_faults
from .proxy_fix import has_proxy_fix, names_proxy_fix


@dataclass(frozen=True)
class AppFacts:
    """``session_cookie`` is the name, the path and the domain of the app's session cookie, None if it sets none.

    ``has_proxy_fix`` says that werkzeug's ProxyFix is around the app, and ``names_proxy_fix`` that the app's own code
    puts it there, not an installed package. ``prefix_faults`` are those of `mountpoint.loading.own_prefix`.
    """

    session_cookie: tuple[str, str, str | None] | None = None
    is_bottle: bool = False
    has_proxy_fix: bool = False
    names_proxy_fix: bool = False
    prefix_faults: Sequence[PrefixFault] = ()

    def as_fields(self) -> dict[str, object]:
        """Return the facts as values of JSON."""
        return {**vars(self), "session_cookie": list(self.session_cookie) if self.session_cookie else None}

    @staticmethod
    def from_fields(fields: Any) -> AppFacts:
        """Return the facts of `as_fields`. Raises TypeError, ValueError or KeyError for any other value."""
        cookie = fields["session_cookie"]
        if cookie is not None:
            name, path, domain = cookie
            cookie = str(name), str(path), None if domain is None else str(domain)
        return AppFacts(
            cookie,
            fields["is_bottle"] is True,
            fields["has_proxy_fix"] is True,
            fields["names_proxy_fix"] is True,
            tuple(PrefixFault(symptom, str(text)) for symptom, text in fields["prefix_faults"]),
        )


def facts_of(app: Any, root: Path, prefixes: Prefixes) -> AppFacts:
    """Return the facts about *app*, whose sources are below *root*. Call it before the first request."""
    is_fixed = has_proxy_fix(app)
    return AppFacts(
        _session_cookie(app),
        is_instance_by_name(app, "bottle.Bottle"),
        is_fixed,
        is_fixed and names_proxy_fix(root),
        tuple(prefix_faults(app, prefixes)),
    )


def _session_cookie(app: Any) -> tuple[str, str, str | None] | None:
    """Return the session cookie of *app*, or None if it is not a Flask app with sessions.

    Flask's default session interface needs a secret key, and sets no cookie without one.
    """
    if not is_instance_by_name(app, "flask.Flask"):
        return None
    config = app.config
    if not config["SECRET_KEY"] and is_instance_by_name(app.session_interface, "flask.SecureCookieSessionInterface"):
        return None
    path, domain = config["SESSION_COOKIE_PATH"] or config["APPLICATION_ROOT"], config["SESSION_COOKIE_DOMAIN"]
    return str(config["SESSION_COOKIE_NAME"]), str(path), str(domain) if domain else None  # the app may use other types
