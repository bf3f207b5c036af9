"""What can be wrong, as data: each symptom with what it means, and how an address that has it is corrected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ..wsgi.keys import is_below

#: Each symptom by its name, in a sentence about the mount whose prefix stands for ``<prefix>``.
SYMPTOMS: Mapping[str, str] = {
    "prefix-missing": "the app's links lack <prefix>: nobody tells it where it lives (SCRIPT_NAME is not set)",
    "prefix-hard-coded": "single addresses lack <prefix>, while others have it: they are hard-coded in the app",
    "prefix-doubled": "addresses have <prefix> twice: two parties add it, the proxy by a header and the server behind",
    "proxy-strips": "the proxy strips <prefix>, and what is behind expects it",
    "proxy-keeps": "the proxy keeps <prefix>, and what is behind does not expect it",
    "no-location": "nothing answers for <prefix>/: the proxy has no location for it, or what is behind has no mount",
    "app-down": "the proxy has a location for <prefix>/, and nothing behind it answers",
    "failing": "<prefix>/ itself fails",
    "same-page": "every path below <prefix>/ gives the same page: the proxy sends one path on for all",
    "loop-slash": "<prefix>/ redirects to itself: the proxy loses the slash, and what is behind asks for it again",
    "loop-scheme": "every page redirects to itself: the app forces https, and is not told that it has it",
    "loop": "redirects go round in a circle",
    "http-links": "an https page has http:// addresses of its own: the app is not told the scheme",
    "private-host": "addresses name a host that only the server itself can reach: the app is not told its public name",
    "port-lost": "addresses have another port than the site, or lack it: the app is not told of it",
    "assets-stolen": "static files fail and pages work: another location, by the file's extension, takes them",
    "slash-200": "<prefix> without its slash is answered with a page, and the page's relative links leave the mount",
    "slash-elsewhere": "<prefix> without its slash is redirected to another scheme, port or path",
    "slash-404": "<prefix> without its slash is not found",
    "cookie-collision": "two mounts set a cookie of one name for the same path: each overwrites the other's",
    "cookie-pathless": "a cookie without a path, set below the mount's root: browsers return it there only",
    "cookie-path": "a cookie's path does not cover the page that sets it: browsers never return it",
    "no-boundary": "the location has no segment boundary: longer words than <prefix> reach the app",
    "spoofed-header": "a client's own forwarding headers get through, and are believed",
    "large-body": "bodies over the limit get through the proxy",
    "dead-link": "addresses fail, with <prefix> and without",
    "broken-mount": "the app could not be loaded",
}


class Correction(NamedTuple):
    """How an address with a *symptom* is corrected: from a path and the mount's prefix to a path, or None."""

    symptom: str
    correct: Callable[[str, str], str | None]


def _with_prefix(path: str, prefix: str) -> str | None:
    return prefix + path if prefix and not is_below(path, prefix) else None


def _once(path: str, prefix: str) -> str | None:
    return path[len(prefix) :] if prefix and is_below(path, prefix * 2) else None


#: Tried in this order on every address that fails.
CORRECTIONS = (Correction("prefix-doubled", _once), Correction("prefix-missing", _with_prefix))
