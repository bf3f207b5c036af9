"""The responses that mountpoint makes itself: one line of plain text that shows nothing of the path or the table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from .record import RECORD_KEY, RequestRecord

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment


class OwnResponse:
    """A WSGI application that responds with *status*, *headers* and a line of plain text: *text*, or else the status.

    *reason* goes into the `RequestRecord` and into ``mountpoint resolve``, never to the client.
    """

    def __init__(self, status: str, reason: str, headers: Sequence[tuple[str, str]] = (), text: str = "") -> None:
        self.status = status
        self.reason = reason
        self.headers = headers
        self.text = text

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        record: RequestRecord | None = environ.get(RECORD_KEY)
        if record is not None:
            record.reason = self.reason
        if self.status.startswith("204"):  # has no body, and no Content-Length (RFC 9110 section 8.6)
            start_response(self.status, [*self.headers])
            return []
        body = f"{self.text or self.status}\n".encode("latin-1")
        length = str(len(body))
        start_response(self.status, [("Content-Type", "text/plain"), ("Content-Length", length), *self.headers])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def unavailable(retry_after: int, reason: str) -> OwnResponse:
    """Return a response for an app that cannot respond: 503, which asks to retry after *retry_after* seconds."""
    return OwnResponse("503 Service Unavailable", reason, [("Retry-After", str(retry_after))])
