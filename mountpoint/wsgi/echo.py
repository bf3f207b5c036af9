"""The echo: it shows ``mountpoint doctor`` how a request arrived behind the proxies, which no client can see.

It is the outermost layer, so it sees the request before any header is removed. It is installed only
if the file has a ``key`` under ``[doctor]``.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from .forwarding_headers import forwarding_variables
from .record import RECORD_KEY, RequestRecord

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

ECHO_HEADER: Final = "X-Mountpoint-Echo"
_VARIABLE = "HTTP_X_MOUNTPOINT_ECHO"


class Echo:
    """WSGI middleware that responds to a request with *key* in ``X-Mountpoint-Echo``, and passes on all others.

    The response is JSON: ``path`` and ``script_name`` (WSGI strings), ``peer``, and ``forwarding``, the forwarding
    headers by their names in environ. It holds no other header. The key is compared in constant time. A wrong key is
    removed, so that no app can log it.
    """

    def __init__(self, app: WSGIApplication, key: str) -> None:
        self._app = app
        self._key = key.encode()

    def has_key(self, environ: WSGIEnvironment) -> bool:
        """Whether the request has the key."""
        given = environ.get(_VARIABLE)
        return given is not None and hmac.compare_digest(given.encode(errors="replace"), self._key)

    def without_key(self, environ: WSGIEnvironment) -> WSGIEnvironment:
        """Return the environ that the app gets: *environ* itself if it has no key, right or wrong."""
        if _VARIABLE not in environ:
            return environ
        return {name: value for name, value in environ.items() if name != _VARIABLE}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not self.has_key(environ):
            return self._app(self.without_key(environ), start_response)
        record: RequestRecord | None = environ.get(RECORD_KEY)
        if record is not None:
            record.reason = "an echo for mountpoint doctor"
        seen = {
            "path": environ.get("PATH_INFO", ""),
            "script_name": environ.get("SCRIPT_NAME", ""),
            "peer": environ.get("REMOTE_ADDR"),
            "forwarding": {name: environ[name] for name in sorted(forwarding_variables(environ))},
        }
        body = json.dumps(seen).encode()
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
        ]
        start_response("200 OK", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
