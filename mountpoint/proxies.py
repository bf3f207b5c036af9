"""Who may speak for the client: nobody, until the owner says who.

Every proxy passes a client's own ``X-Forwarded-Prefix`` through untouched, unless it is told otherwise. So what such
headers say is believed of nobody, and they are removed before an app, or a ``ProxyFix`` inside it, can believe them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from .errors import ConfigError, Problem
from .keys import path_of_key, wsgi_string

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

#: The headers by which a proxy tells of the client, as keys of environ.
FORWARDING: Final = frozenset(
    {
        "HTTP_FORWARDED",
        "HTTP_X_FORWARDED_BY",
        "HTTP_X_FORWARDED_FOR",
        "HTTP_X_FORWARDED_HOST",
        "HTTP_X_FORWARDED_PORT",
        "HTTP_X_FORWARDED_PREFIX",
        "HTTP_X_FORWARDED_PROTO",
        "HTTP_X_FORWARDED_SERVER",
        "HTTP_X_REAL_IP",
        "HTTP_X_SCRIPT_NAME",
    }
)


class TrustedProxies:
    """WSGI middleware between the proxy and the dispatcher.

    *strips* is the one fixed prefix that the proxy takes away (``/apps``): ``SCRIPT_NAME`` begins with it, and paths
    are matched as they arrive. No header is involved. Raises `ConfigError` if it is not a path like a mount's.

    Forwarding headers are removed: a client that sends its own changes nothing.
    """

    def __init__(self, app: WSGIApplication, *, strips: str = "") -> None:
        self.app = app
        try:
            self._strips = wsgi_string(path_of_key(strips))
        except ValueError as error:
            raise ConfigError([Problem("strips", str(error))]) from None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self._strips or not environ.keys().isdisjoint(FORWARDING):
            environ = {key: value for key, value in environ.items() if key not in FORWARDING}
            if self._strips:
                environ["SCRIPT_NAME"] = self._strips + environ.get("SCRIPT_NAME", "").rstrip("/")
        return self.app(environ, start_response)
