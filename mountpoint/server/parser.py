"""Parse a request: the parser of waitress, made stricter.

The path stays as the client sent it. These requests get 400: a request with two hosts, with a ``Host`` that differs
from its target, or of HTTP/1.1 without a host; a control character in the request target; and every message that two
parsers could read in two ways, which is how requests are smuggled past a proxy.
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
    """A request, and the parser that reads it.

    ``environ``  the WSGI environ as received, before a proxy's headers change it
    ``record``   its `RequestRecord`, once there is an environ
    ``route``    the app to call, once the request is routed
    """

    headers: dict[str, str]
    command: str = ""  # type: ignore[assignment]  # typeshed has bytes; a request that could not be read has none
    request_uri: str = ""
    path_info: str = ""
    first_line = b""  # type: ignore[assignment]  # typeshed has str
    record: RequestRecord | None = None
    environ: WSGIEnvironment | None = None
    route: Route | None = None
    first_data = b""  # the first piece that was received
    first_byte_at = 0.0  # a Unix time, in seconds
    received_at = 0.0  # a Unix time: when the whole request had been received

    def received(self, data: bytes) -> int:
        if not self.first_byte_at and data.strip():  # blank lines before a request do not count (RFC 9112 section 2.2)
            self.first_data = data
            self.first_byte_at = time.time()
        consumed = super().received(data)
        body = self.body_rcv
        if self.error or body is None:
            # No body follows. Else waitress would send 100, forget that the request is complete, and take the next
            # request for its body.
            self.expect_continue = False
        elif isinstance(body, ChunkedReceiver) and (problem := self._chunked_problem(body)):
            self.error = BadRequest(problem)
            self.completed = True
        return consumed

    def _chunked_problem(self, body: ChunkedReceiver) -> str:
        """Return the fault of a chunked body that waitress would accept, or an empty string."""
        # waitress copies both of them for each piece of data, in the loop's thread: their length must be bounded.
        if len(body.control_line) + len(body.trailer) > self.adj.max_request_header_size:
            return "The line of a chunk, or the trailer, is too long."
        # After "0\r\n\n", which ends the body for other parsers, waitress would take a whole request for a trailer.
        fields = body.trailer.split(b"\r\n") if body.completed and body.trailer.endswith(b"\n") else []
        if not all(HEADER_FIELD_RE.fullmatch(field) for field in fields if field):  # type: ignore[call-overload]
            return "Invalid trailer"
        return ""

    def parse_header(self, header_plus: bytes) -> None:
        # waitress splits the target with urlsplit, which drops tabs, raises for ``http://[::1/x``, and refuses the
        # bytes outside ASCII that nginx and curl do send. So waitress gets "/" as the target, and the real one is split
        # here.
        line = header_plus.partition(b"\r\n")[0].rstrip()
        found = _TARGET.match(line)
        try:
            super().parse_header(
                header_plus[: found.start(1)] + b"/" + header_plus[found.end(1) :] if found else header_plus
            )
            assert found is not None
            self.request_uri = found[1].decode("latin-1")
            target = split_target(self.request_uri)
        except ValueError as error:  # such as a Content-Length of 5,000 digits, or a control character in the target
            raise ParsingError(str(error)) from None
        finally:
            self.first_line = line
        self.path_info, self.query = target.path_info, target.query
        # waitress takes any other version for 1.0, and then reads a chunked body as the next requests.
        if self.version not in ("1.0", "1.1"):
            raise ParsingError("Expected HTTP/1.0 or HTTP/1.1")
        if self.version == "1.0" and "TRANSFER_ENCODING" in self.headers:  # RFC 9112 section 6.1
            raise ParsingError("Transfer-Encoding in HTTP/1.0")
        if self.chunked and "CONTENT_LENGTH" in self.headers:  # ambiguous: also RFC 9112 section 6.1
            raise ParsingError("Expected Transfer-Encoding or Content-Length, found both")
        self._check_host(target.authority)

    def _check_host(self, authority: str | None) -> None:
        """Raise ParsingError unless the request names one valid host (RFC 9112 sections 3.2 and 3.2.2)."""
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
        """The target for waitress's log messages, escaped, so that it cannot forge a line of the log."""
        return escaped(self.request_uri)

    @path.setter
    def path(self, _: str) -> None:
        """Ignore the path of waitress, which collapses leading slashes and drops tabs."""

    @property
    def routed(self) -> Route:
        """The route of a request that an app serves."""
        assert self.route is not None
        return self.route

    @property
    def label(self) -> str:
        """The method and the full path."""
        return f"{self.command} {self.path_info!r}"

    @property
    def request_line(self) -> str:
        """The request line as sent, as far as it was received; empty if nothing was."""
        # For these two errors waitress has parsed a line of its own, or none yet.
        if isinstance(self.error, RequestHeaderFieldsTooLarge | RequestTimeout):
            return (self.header_plus or self.first_data).lstrip().partition(b"\r\n")[0].decode("latin-1")
        return self.first_line.decode("latin-1")
