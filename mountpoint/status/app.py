"""The WSGI app of the status page: routes, the key, the name of the host, and the form of each response.

The app only reads. A document is made at most once a second, however often clients ask, so the requests of the
mounts lose at most one page's CPU time a second. One thread calls the app, so it needs no lock.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import json
import logging
import re
import time
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qs

from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from . import health
from .metrics import CONTENT_TYPE as METRICS_TYPE
from .metrics import render_metrics
from .page import CONTENT_SECURITY_POLICY, REFRESH_SECONDS, render_page

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

MAX_AGE = 1.0  # seconds for which a document is served again

_PATHS = ("/", "/status.json", "/metrics", "/livez", "/readyz")
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Vary": "Accept, Authorization",
}
_HELP = "This address has /, /status.json, /metrics, /livez and /readyz.\n"

logger = logging.getLogger("mountpoint")


class ServingProcess(Protocol):
    """The process that the page shows. Its methods are for any thread."""

    def snapshot(self) -> Mapping[str, Any]:
        """Return all that the page shows (see `mountpoint.status.snapshot`)."""

    def state(self) -> str:
        """Return ``loading``, ``serving`` or ``draining``."""

    def loop_age(self) -> float | None:
        """Return the seconds since the loop has turned, None before it starts."""


class StatusApp:
    """Shows *process*. Clients need the *key* unless it is empty.

    *hosts* are the host names that a request may name; None admits every name. The check prevents DNS rebinding:
    another site has its own name resolve to this machine, and reads the status in a visitor's browser.
    """

    def __init__(
        self,
        process: ServingProcess,
        key: str = "",
        hosts: Collection[str] | None = None,
    ) -> None:
        self._process = process
        self._key = key.encode()
        self._hosts = hosts
        self._map = Map([Rule(path, endpoint=path, methods=["GET"]) for path in _PATHS], merge_slashes=False)
        self._snapshot: Mapping[str, Any] = {}
        self._taken_at = float("-inf")  # a `time.monotonic`
        self._documents: dict[tuple[str, int], bytes] = {}  # made of `_snapshot`

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = Request(environ)
        try:
            response = self._respond(request)
        except HTTPException as error:
            response = _text(f"{error.code} {error.name}\n{_HELP}", error.code or 500)
            response.headers.extend((name, value) for name, value in error.get_headers() if name == "Allow")
        except Exception:
            logger.exception("unhandled exception in the status page")
            response = _text("500 Internal Server Error\nThe log of the server has the reason.\n", 500)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response(environ, start_response)

    def _respond(self, request: Request) -> Response:
        if not self._admits_host(request.environ.get("HTTP_HOST")):
            return _text("403 Forbidden\nExpected the address of the server, or localhost, in Host.\n", 403)
        endpoint, _ = self._map.bind("localhost").match(request.path, request.method)
        is_known = self._knows_key(request.headers.get("Authorization", ""))
        if endpoint == "/livez":
            return _check(*health.liveness(self._process.loop_age()))
        if endpoint == "/readyz":
            is_ready, text = health.readiness(self._process.state(), self._current_snapshot()["mounts"])
            # Without the key a load balancer learns the state, and not the names of mounts.
            return _check(is_ready, text if is_known or is_ready else text.partition(":")[0])
        if not is_known:
            response = _text("401 Unauthorized\nThe key is in the section [status] of the server's file.\n", 401)
            response.headers["WWW-Authenticate"] = 'Basic realm="mountpoint status", charset="UTF-8"'
            return response
        if endpoint == "/metrics":
            return Response(self._document("metrics"), content_type=METRICS_TYPE)
        if endpoint == "/status.json" or _prefers_json(request):
            return Response(self._document("json"), content_type="application/json")
        return Response(self._document("page", _refresh_of(request)), content_type="text/html; charset=utf-8")

    def _current_snapshot(self) -> Mapping[str, Any]:
        now = time.monotonic()
        if now - self._taken_at >= MAX_AGE:
            self._snapshot, self._documents = self._process.snapshot(), {}
            self._taken_at = now
        return self._snapshot

    def _document(self, kind: str, refresh: int = 0) -> bytes:
        snapshot = self._current_snapshot()
        document = self._documents.get((kind, refresh))
        if document is None:
            if kind == "json":
                text = json.dumps(snapshot, separators=(",", ":"))
            else:
                text = render_metrics(snapshot) if kind == "metrics" else render_page(snapshot, refresh)
            document = self._documents[kind, refresh] = text.encode("utf-8", "replace")
        return document

    def _knows_key(self, authorization: str) -> bool:
        """Whether a request with this header may see the page: as a bearer token, or with the key as password."""
        if not self._key:
            return True
        scheme, _, value = authorization.partition(" ")
        given = value.strip().encode("utf-8", "replace")
        if scheme.lower() == "basic":
            try:
                given = base64.b64decode(given, validate=True).partition(b":")[2]
            except binascii.Error:
                return False
        elif scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(given, self._key)

    def _admits_host(self, host: str | None) -> bool:
        if self._hosts is None or host is None:  # a browser always sends one
            return True
        name = re.sub(r":[0-9]*$", "", host).lower()
        if name in self._hosts or name == "localhost":
            return True
        try:
            ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
        except ValueError:
            return False
        return True


def _prefers_json(request: Request) -> bool:
    accepted = request.accept_mimetypes
    return accepted["application/json"] > accepted["text/html"]


def _refresh_of(request: Request) -> int:
    """Return the seconds after which the page reloads itself, 0 for never."""
    # Not `request.args`, which raises UnicodeDecodeError for a byte outside ASCII that is not UTF-8.
    text = parse_qs(request.environ.get("QUERY_STRING", "")).get("refresh", [""])[0]
    return int(text) if text in map(str, REFRESH_SECONDS) else REFRESH_SECONDS[0]


def _check(is_well: bool, text: str) -> Response:
    return _text(f"{text}\n", 200 if is_well else 503)


def _text(text: str, status: int) -> Response:
    return Response(text, status, content_type="text/plain; charset=utf-8")
