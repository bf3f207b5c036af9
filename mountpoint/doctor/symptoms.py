"""Every fault that the doctor knows, as data: its name, its meaning, and how a URL that has it is corrected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ..wsgi.keys import is_below

#: The meaning of each symptom by its name. In a report, the public prefix of the mount replaces ``<prefix>``.
SYMPTOMS: Mapping[str, str] = {
    "prefix-missing": "the app's links lack <prefix>: the server does not tell the app its prefix (SCRIPT_NAME)",
    "prefix-hard-coded": "some links lack <prefix>, although the app knows its prefix: the app hard-codes them",
    "prefix-doubled": "URLs contain <prefix> twice: both the proxy and the server behind it add it",
    "proxy-strips": "the proxy strips <prefix> from the path, but the server behind it expects <prefix>",
    "path-changed": "the proxy changes the path: a request for <prefix>/ arrives as another path",
    "own-prefix": "the app adds <prefix> itself: its pages are at <prefix><prefix>/, since its mount adds <prefix> too",
    "proxy-keeps": "the proxy keeps <prefix> in the path, but the server behind it does not expect it",
    "no-location": "no app answers at <prefix>/: the proxy or the server behind it has no entry for it",
    "app-down": "the proxy has a location for <prefix>/, but the server behind it does not answer",
    "failing": "a request for <prefix>/ fails",
    "same-page": "every path below <prefix>/ returns the same page: the proxy forwards all of them to one path",
    "loop-slash": "<prefix>/ redirects to itself: the proxy drops the slash, and the server behind it adds it again",
    "loop-scheme": "every page redirects to itself: the app requires https, and the proxy does not tell it the scheme",
    "loop-bare-prefix": "<prefix> redirects to <prefix>/ and back: mountpoint adds the slash, and the app or the proxy "
    "removes it",
    "loop": "the redirects from <prefix>/ form a loop",
    "static-url": "the links to static files lack <prefix>: Django has read STATIC_URL before the first request",
    "http-links": "an https page links to http:// URLs of its own site: the proxy does not tell the app the scheme",
    "private-host": "the app's links name a host that clients cannot reach: the proxy does not tell it the public host",
    "port-lost": "the app's links name the wrong port, or none: the proxy does not tell it the public port",
    "assets-stolen": "pages work but static files fail: another location of the proxy takes them by their extension",
    "slash-200": "<prefix> without its slash returns a page, and the relative links of that page leave the mount",
    "slash-elsewhere": "<prefix> without its slash redirects to another scheme, port or path",
    "slash-404": "a request for <prefix> without its slash fails",
    "cookie-collision": "two mounts set a cookie with the same name and path: each overwrites the other's",
    "cookie-pathless": "an inner page sets a cookie without a path: browsers return it only to the folder of that page",
    "cookie-path": "the path of a cookie does not cover the page that sets it: browsers never return it to that page",
    "no-boundary": "the proxy's location does not end at a slash: longer words than <prefix> reach the app too",
    "spoofed-header": "the proxy passes a client's own forwarding headers on to the server behind it",
    "large-body": "the proxy forwards bodies that are over the limit of the server behind it",
    "dead-link": "a link fails, and no correction of it works",
    "better-apart": "the app shares its process, and its load has shown a conflict",
    "broken-mount": "the app failed to load",
}


class Correction(NamedTuple):
    """How a URL with *symptom* is corrected.

    *correct* takes a path and the mount's prefix and returns the corrected path, or None if it does not apply.
    """

    symptom: str
    correct: Callable[[str, str], str | None]


def _add_prefix(path: str, prefix: str) -> str | None:
    return prefix + path if prefix and not is_below(path, prefix) else None


def _drop_second_prefix(path: str, prefix: str) -> str | None:
    return path[len(prefix) :] if prefix and is_below(path, prefix * 2) else None


#: The crawl tries them in this order on every URL that fails.
CORRECTIONS = (Correction("prefix-doubled", _drop_second_prefix), Correction("prefix-missing", _add_prefix))
