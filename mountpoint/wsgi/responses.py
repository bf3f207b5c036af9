"""The answers that are our own: short, plain, and with nothing in them of the path or of the table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from .record import KEY, RequestRecord

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


def respond(
    environ: WSGIEnvironment,
    start_response: StartResponse,
    status: str,
    reason: str,
    headers: Iterable[tuple[str, str]] = (),
) -> Iterable[bytes]:
    """Answer a request with *status* and a line of plain text.

    *reason* goes into the request's record, for ``mountpoint resolve``, and never to the client.
    """
    record: RequestRecord | None = environ.get(KEY)
    if record is not None:
        record.reason = reason
    if status.startswith("204"):  # has no body, and so neither type nor length (RFC 9110 section 8.6)
        start_response(status, list(headers))
        return []
    body = f"{status}\n".encode("latin-1")
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), *headers])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def response_app(status: str, reason: str, headers: Sequence[tuple[str, str]] = ()) -> WSGIApplication:
    """Return a WSGI application that gives the response of `respond`."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return respond(environ, start_response, status, reason, headers)

    return app


def unavailable(retry_after: int, reason: str) -> WSGIApplication:
    """Return the app that takes the place of one that cannot answer: 503, ask again in *retry_after* seconds."""
    return response_app("503 Service Unavailable", reason, [("Retry-After", str(retry_after))])
