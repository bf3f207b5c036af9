"""A request as it was sent: waitress's parser, with what it lacks.

The path stays as it was sent. 400 is for a request that names its host twice, not at all, or in contradiction; for a
control character in its target; and for one that could be read in two ways.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from waitress.parser import HTTPRequestParser, ParsingError
from waitress.receiver import ChunkedReceiver
from waitress.rfc7230 import HEADER_FIELD_RE
from waitress.utilities import BadRequest, Error, RequestHeaderFieldsTooLarge

from ..wsgi.dispatch import Route
from ..wsgi.keys import host_name
from ..wsgi.record import RequestRecord
from ..wsgi.target import split_target
from .access_log import escaped

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

_TARGET = re.compile(rb"[^ ]+ ([^ ]+)")


class RequestTimeout(Error):
    """The header did not come in time (RFC 9110 section 15.5.9)."""

    code = 408
    reason = "Request Timeout"


class Parser(HTTPRequestParser):
    """A request as it was sent. Its ``record`` is the `RequestRecord`, once there is an environ."""

    headers: dict[str, str]
    command: str = ""  # type: ignore[assignment]  # typeshed has bytes; a request that could not be read has none
    request_uri: str = ""
    path_info: str = ""
    first_line = b""  # type: ignore[assignment]  # typeshed has str
    record: RequestRecord | None = None
    environ: WSGIEnvironment | None = None  # before any layer has changed it
    route: Route | None = None
    head = b""  # the first bytes that were received
    first_byte_at = 0.0  # Unix times, in seconds
    received_at = 0.0

    def received(self, data: bytes) -> int:
        if not self.first_byte_at and data.strip():  # blank lines in front are none of it (RFC 9112 section 2.2)
            self.head = data
            self.first_byte_at = time.time()
        consumed = super().received(data)
        body = self.body_rcv
        if self.error or body is None:
            # No body will come: waitress would say 100, forget that the request is whole, and read the next into it.
            self.expect_continue = False
        elif isinstance(body, ChunkedReceiver) and (what := self._is_wrong_with(body)):
            self.error = BadRequest(what)
            self.completed = True
        return consumed

    def _is_wrong_with(self, body: ChunkedReceiver) -> str:
        """Return what waitress lets pass in a chunked body, empty if nothing."""
        # It copies both anew for each piece that comes, on the loop's thread.
        if len(body.control_line) + len(body.trailer) > self.adj.max_request_header_size:
            return "The line of a chunk, or the trailer, is too long."
        # It would take a whole request for a trailer, behind "0\r\n\n", which is an end to others.
        fields = body.trailer.split(b"\r\n") if body.completed and body.trailer.endswith(b"\n") else []
        if not all(HEADER_FIELD_RE.fullmatch(field) for field in fields if field):  # type: ignore[call-overload]
            return "Invalid trailer"
        return ""

    def parse_header(self, header_plus: bytes) -> None:
        # waitress splits the target with urlsplit, which drops TABs, raises for ``http://[::1/x`` and refuses bytes
        # outside ASCII, which nginx and curl send as they are: it is given another one, and the target is split here.
        line = header_plus.partition(b"\r\n")[0].rstrip()
        found = _TARGET.match(line)
        try:
            super().parse_header(
                header_plus[: found.start(1)] + b"/" + header_plus[found.end(1) :] if found else header_plus
            )
            assert found is not None
            self.request_uri = found[1].decode("latin-1")
            target = split_target(self.request_uri)
        except ValueError as error:  # a Content-Length of 5,000 digits, a control character in the target
            raise ParsingError(str(error)) from None
        finally:
            self.first_line = line
        self.path_info, self.query = target.path_info, target.query
        # waitress takes any version for 1.0, and there reads a chunked body as the requests that follow.
        if self.version not in ("1.0", "1.1"):
            raise ParsingError("HTTP/1.0 and HTTP/1.1 are spoken here")
        if self.version == "1.0" and "TRANSFER_ENCODING" in self.headers:  # RFC 9112 section 6.1
            raise ParsingError("Transfer-Encoding in HTTP/1.0")
        if self.chunked and "CONTENT_LENGTH" in self.headers:  # each reader may go by another one (the same section)
            raise ParsingError("Both Transfer-Encoding and Content-Length are there")
        self._check_host(target.authority)

    def _check_host(self, authority: str | None) -> None:
        """Raise ParsingError unless the request names one host (RFC 9112 sections 3.2 and 3.2.2)."""
        host = self.headers.get("HOST")
        if host is None:
            if self.version == "1.1":
                raise ParsingError("Host is missing")
            if authority is None:
                return
            host = self.headers["HOST"] = authority
        if host_name(host) is None:
            raise ParsingError("Host is invalid")
        if authority is not None and authority.lower() != host.lower():
            raise ParsingError("Host differs from the authority of the request target")

    @property
    def path(self) -> str:
        """What waitress's own messages name: the target as sent, so that it cannot forge a line of the log."""
        return escaped(self.request_uri)

    @path.setter
    def path(self, _: str) -> None:
        """Do without waitress's, whose leading slashes are collapsed and whose TABs are gone."""

    @property
    def routed(self) -> Route:
        """The route; a request that is being served has one, unless it could not be read."""
        assert self.route is not None
        return self.route

    @property
    def title(self) -> str:
        """The method, and the whole path."""
        return f"{self.command} {self.path_info!r}"

    @property
    def request_line(self) -> str:
        """The request line as it was sent, as far as it was read; empty if there was none."""
        # waitress has put a line of its own in the place, or has not come to read it.
        if isinstance(self.error, RequestHeaderFieldsTooLarge | RequestTimeout):
            return (self.header_plus or self.head).lstrip().partition(b"\r\n")[0].decode("latin-1")
        return self.first_line.decode("latin-1")
