"""``cookies = "scoped"``: browsers return the cookies of a mount to that mount only.

Apps set their cookies with ``Path=/`` or without a path, so two Flask apps under one host overwrite each other's
``session``. This middleware gives such a cookie the path of its mount. That separates apps that trust each other. It is
not a security boundary, because scripts of one origin read each other's pages, whatever their paths.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .percent import encode_cookie_path

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


class ScopedCookies:
    """WSGI middleware that gives cookies without a path, or with ``Path=/``, the path of their mount.

    Two kinds of cookies stay as they are: those with a path of their own, and those whose name begins with ``__Host-``,
    which browsers accept with ``Path=/`` only. (RFC 6265 sections 5.1.4 and 5.2.4, RFC 6265bis section 4.1.3.2)
    """

    def __init__(self, app: WSGIApplication) -> None:
        self.app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = encode_cookie_path(environ.get("SCRIPT_NAME", ""))
        if not path:
            return self.app(environ, start_response)

        def start_scoped(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            headers = [(key, _scope(value, path) if key.lower() == "set-cookie" else value) for key, value in headers]
            return start_response(status, headers, exc_info) if exc_info else start_response(status, headers)

        return self.app(environ, start_scoped)


def _scope(cookie: str, path: str) -> str:
    """Return *cookie*, the value of a ``Set-Cookie``, with *path*, unless its own path is narrower than the root."""
    pair, *attributes = cookie.split(";")
    paths = [value.strip() for name, _, value in (item.partition("=") for item in attributes) if _is_path(name)]
    # Browsers use the last path, and ignore it if it does not begin with a slash (section 5.2.4).
    if pair.lstrip().lower().startswith("__host-") or (paths and paths[-1].startswith("/") and paths[-1] != "/"):
        return cookie
    kept = [item for item in attributes if not _is_path(item.partition("=")[0])]
    return ";".join([pair, *kept, f" Path={path}"])


def _is_path(name: str) -> bool:
    return name.strip().lower() == "path"
