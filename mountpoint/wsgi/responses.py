"""The responses that mountpoint makes itself: short, plain, and without a word of the path or of the table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .record import KEY, RequestRecord

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment


@dataclass(frozen=True, slots=True)
class OwnResponse:
    """A WSGI application that responds with *status*, *headers* and a line of plain text.

    *reason* goes into the request's record, for ``mountpoint resolve``, and never to the client.
    """

    status: str
    reason: str
    headers: Sequence[tuple[str, str]] = ()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        record: RequestRecord | None = environ.get(KEY)
        if record is not None:
            record.reason = self.reason
        if self.status.startswith("204"):  # has no body, and so neither type nor length (RFC 9110 section 8.6)
            start_response(self.status, [*self.headers])
            return []
        body = f"{self.status}\n".encode("latin-1")
        length = str(len(body))
        start_response(self.status, [("Content-Type", "text/plain"), ("Content-Length", length), *self.headers])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def unavailable(retry_after: int, reason: str) -> OwnResponse:
    """Return the app that takes the place of one that cannot answer: 503, ask again in *retry_after* seconds."""
    return OwnResponse("503 Service Unavailable", reason, [("Retry-After", str(retry_after))])
