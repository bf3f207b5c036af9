"""``cookies = "scoped"``: the cookies of a mount are sent to that mount only.

Apps set their cookies at ``Path=/``, or with no path, so that two Flask apps under one host overwrite each other's
``session``. Here such a cookie gets the mount for its path. It keeps siblings apart, and is no security boundary:
scripts of one origin read each other's pages across paths.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .percent import encode_cookie_path

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


class ScopedCookies:
    """WSGI middleware that gives cookies without a path, or with ``Path=/``, the path of their mount.

    Cookies whose name begins with ``__Host-`` are left alone, since browsers take them with ``Path=/`` only; so are
    those that name a path of their own. (RFC 6265 sections 5.2.4 and 5.1.4)
    """

    def __init__(self, app: WSGIApplication) -> None:
        self.app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = encode_cookie_path(environ.get("SCRIPT_NAME", ""))
        if not path:
            return self.app(environ, start_response)

        def scoped(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            ours = [(name, _at(path, value) if name.lower() == "set-cookie" else value) for name, value in headers]
            return start_response(status, ours, exc_info) if exc_info else start_response(status, ours)

        return self.app(environ, scoped)


def _at(path: str, cookie: str) -> str:
    """Return the value of ``Set-Cookie`` with *path* for its path, unless it names a narrower one than the root."""
    pair, *attributes = cookie.split(";")
    paths = [value.strip() for name, _, value in (item.partition("=") for item in attributes) if _is_path(name)]
    # The last one counts, and one that does not begin with a slash stands for none.
    if pair.lstrip().lower().startswith("__host-") or (paths and paths[-1].startswith("/") and paths[-1] != "/"):
        return cookie
    kept = [item for item in attributes if not _is_path(item.partition("=")[0])]
    return ";".join([pair, *kept, f" Path={path}"])


def _is_path(name: str) -> bool:
    return name.strip().lower() == "path"
