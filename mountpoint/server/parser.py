"""One request as it arrives: the head, then the body, with the limits of both.

waitress's channel feeds it with bytes and asks whether it is complete; it stands in for waitress's own parser, which
takes quadratic time for some headers, and accepts framing that other readers take apart differently.
"""

from __future__ import annotations

import io
import logging
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO

from waitress.buffers import OverflowableBuffer
from waitress.utilities import Error

from ..wsgi.dispatch import Route
from ..wsgi.record import RequestRecord
from .access_json import encoded_path
from .access_log import escaped
from .body import Body, ChunkedBody, SizedBody
from .body_limits import BodyBudget, BodyPace, BodyShare
from .finished import Rejection
from .head import CHUNKED, Head, RequestError, body_length, parse_head

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

_REASONS = {
    400: "Bad Request",
    408: "Request Timeout",
    413: "Content Too Large",
    431: "Request Header Fields Too Large",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
    507: "Insufficient Storage",
}
_END_OF_HEAD = b"\r\n\r\n"
_BARE_LINE_END = re.compile(rb"\r(?=[^\n])|(?<!\r)\n")
_NO_ROOM = "The bodies of other requests leave no room for this one."
RETRY_AFTER = 5  # seconds after which a client whose request was rejected may ask again

logger = logging.getLogger("mountpoint")


class Refusal(Error):
    """The response to a request that the app never sees, in the form that waitress's `ErrorTask` takes."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.code = status
        self.reason = _REASONS[status]

    def to_response(self, ident: str | None = None) -> tuple[str, Sequence[tuple[str, str]], str]:
        status, headers, body = super().to_response(ident)
        if self.code == 503:
            headers = [*headers, ("Retry-After", str(RETRY_AFTER))]
        return status, headers, body


class Parser:
    """A request, whole or in parts.

    *adj* are waitress's adjustments. ``completed`` says that the request is whole, or that ``error`` refuses it, or
    that it is answered early. *budget* bounds its body together with the bodies of other requests. *answer_early* is
    called once the head is complete and its body is not. It returns True if it has set a route whose response does not
    depend on the body: then the body is not read, and the connection is closed after the response.
    """

    completed = False
    headers_finished = False
    empty = False  # waitress asks; ours skips blank lines in front of a request
    expect_continue = False  # whether the client waits for 100 (Continue)
    keeps_alive = False
    error: Error | None = None
    version = "1.0"
    command = ""
    request_uri = ""
    path_info = ""
    query = ""
    request_id: str | None = None  # if the server gives ids
    is_excluded = False  # from the access log
    record: RequestRecord | None = None  # once there is an environ
    environ: WSGIEnvironment | None = None  # before any layer has changed it
    route: Route | None = None
    router: Any = None  # which has found the route
    first_byte_at = 0.0  # from `time.monotonic`, in seconds
    received_at = 0.0  # when the channel could first serve it
    started_at = 0.0  # when a thread began to serve it
    rejection: Rejection | None = None  # if the queues have rejected it
    is_answered_early = False
    pace: BodyPace | None = None  # once the body begins
    _body: Body | None = None
    _buffer: OverflowableBuffer | None = None
    _share: BodyShare | None = None
    _is_closed = False

    def __init__(
        self,
        adj: Any,
        budget: BodyBudget | None = None,
        answer_early: Callable[[Parser], bool] | None = None,
    ) -> None:
        self.adj = adj
        self._budget = budget
        self._answer_early = answer_early
        self.headers: dict[str, str] = {}
        self.url_scheme: str = adj.url_scheme
        self._head = bytearray()
        self._first_line: bytes | None = None

    # ------------------------------------------------------------------------------------------- for waitress's channel

    def received(self, data: bytes) -> int:
        """Take what belongs to this request from the start of *data*, and return how many bytes that was."""
        if self.completed:
            return 0
        if self._is_closed:  # the connection has ended
            return len(data)
        try:
            return self._receive_body(data) if self._body else self._receive_head(data)
        except RequestError as error:
            self.refuse(error.status, str(error))
            return len(data)  # where the next request begins is not known

    def refuse(self, status: int, message: str) -> None:
        """Complete the request with an error, without its body."""
        self._drop_body()
        self.error = Refusal(status, message)
        self.completed = True
        self.expect_continue = False  # a client that waits for 100 gets the error
        self._first_line = self._first_line or bytes(self._head).partition(b"\r\n")[0]
        if not self.command and self._first_line.startswith(b"HEAD "):
            self.command = "HEAD"  # its response has no body, whatever else is wrong

    def get_body_stream(self) -> BinaryIO:
        """Return the body, from its start."""
        return self._buffer.getfile() if self._buffer else io.BytesIO()

    def close(self) -> None:
        """Let the body go."""
        self._is_closed = True
        self._answer_early = None  # refers to the channel, which refers to this request
        self._drop_body()

    @property
    def path(self) -> str:
        """The escaped target, the mount, and the id. waitress logs this, so it must not forge a line."""
        return f"{escaped(self.request_uri)}, {self.origin}"

    # ------------------------------------------------------------------------------------------------ for our own rooms

    @property
    def has_begun(self) -> bool:
        """Whether a byte has arrived. Blank lines in front of a request do not count (RFC 9112 section 2.2)."""
        return bytes(self._head[:2]) not in (b"", b"\r") or self.headers_finished  # a lone CR may begin a blank line

    @property
    def body_length(self) -> int:
        """How many bytes of the body have arrived."""
        return self._body.length if self._body else 0

    @property
    def is_last(self) -> bool:
        """Whether no request can follow on the connection, since the end of this one was not read."""
        return self.error is not None or self.is_answered_early

    @property
    def routed(self) -> Route:
        """The route; a request that is being served has one, unless it could not be read."""
        assert self.route is not None
        return self.route

    @property
    def log_fields(self) -> dict[str, object]:
        """The fields of a record about the request, without those of a response."""
        return {
            "mount": (self.record.mount if self.record else None) or "-",
            "method": self.command or "-",
            "path": encoded_path(self.path_info) or "-",
            "request_id": self.request_id or "-",
        }

    @property
    def origin(self) -> str:
        """The mount, and the id if there is one, for a line of the log."""
        mount = self.record.mount if self.record else None
        return f"mount {mount or '-'}{f', request {self.request_id}' if self.request_id else ''}"

    @property
    def label(self) -> str:
        """The method and the full path, and the id if there is one."""
        return f"{self.command} {self.path_info!r}{f' (request {self.request_id})' if self.request_id else ''}"

    @property
    def request_line(self) -> str:
        """The request line as it was sent, as far as it has arrived."""
        line = self._first_line
        return (bytes(self._head).partition(b"\r\n")[0] if line is None else line).decode("latin-1")

    # -------------------------------------------------------------------------------------------------------- the parts

    def _receive_head(self, data: bytes) -> int:
        head = self._head
        seen = len(head)
        head += data
        skipped = 0
        while head.startswith(b"\r\n"):  # only at the start of a request, so nothing was searched yet
            del head[:2]
            skipped += 2
        if self.has_begun and not self.first_byte_at:
            self.first_byte_at = time.monotonic()
        end = head.find(_END_OF_HEAD, max(seen - skipped - len(_END_OF_HEAD) + 1, 0))
        size = len(head) if end < 0 else end + len(_END_OF_HEAD)
        if size > self.adj.max_request_header_size:
            raise RequestError(431, f"exceeds max_request_header_size of {self.adj.max_request_header_size}")
        if end < 0:
            if _BARE_LINE_END.search(head, max(seen - skipped - 1, 0)):  # the client waits for a response already
                raise RequestError(400, "Bare CR or LF in the header")
            return len(data)
        rest = len(head) - size
        del head[end:]
        self._first_line = bytes(head).partition(b"\r\n")[0]
        self._take_head(parse_head(bytes(head)), rest)
        head.clear()
        return len(data) if self.is_answered_early else len(data) - rest

    def _take_head(self, head: Head, rest: int) -> None:
        """Take what *head* says. *rest* bytes behind it have arrived."""
        self.headers_finished = True
        self.command, self.request_uri, self.version = head.method, head.target, head.version
        self.path_info, self.query, self.headers = head.path_info, head.query, head.headers
        self.keeps_alive = head.keeps_alive
        length = body_length(head)
        if length == 0:
            self.completed = True
            return
        if length == CHUNKED:
            self._body = ChunkedBody(self.adj.max_request_header_size, self._write)
        else:
            self._require_size(length)
            self._body = SizedBody(length, self._write)
        if self._answer_early and (length == CHUNKED or length > rest) and self._answer_early(self):
            self.is_answered_early = self.completed = True
            self.keeps_alive = False
            return
        if self._budget:
            if not self._budget.fits(1 if length == CHUNKED else length):
                raise RequestError(503, _NO_ROOM)
            self._share = BodyShare(self._budget)
        self._buffer = OverflowableBuffer(self.adj.inbuf_overflow)
        self.pace = BodyPace(time.monotonic())
        self.expect_continue = head.expects_continue

    def _write(self, data: bytes) -> None:
        """Keep *data*, a piece of the body."""
        if self._share and not self._share.grow(len(data)):
            raise RequestError(503, _NO_ROOM)
        assert self._buffer is not None
        self._buffer.append(data)

    def _drop_body(self) -> None:
        buffer, self._buffer = self._buffer, None
        if buffer is not None:
            with suppress(OSError):  # the file cannot write its last bytes
                buffer.close()
        if self._share:
            self._share.release()

    def _receive_body(self, data: bytes) -> int:
        body = self._body
        assert body is not None
        taken = self._store(body, data)
        self._require_size(body.length)
        if body.complete:
            self.completed = True
            self.headers["CONTENT_LENGTH"] = str(body.length)  # apps need it; a chunked body came without one
        return taken

    def _store(self, body: Body, data: bytes) -> int:
        try:
            taken = body.feed(data)
            if body.complete and self._buffer:
                self._buffer.getfile()  # may make a file
            return taken
        except OSError as error:
            logger.error("no room to store the body of %r: %s", self.request_line, error)
            self.close()
            raise RequestError(507, "The server has no room to store the body.") from error

    def _require_size(self, length: int) -> None:
        if length > self.adj.max_request_body_size:
            raise RequestError(413, f"exceeds max_request_body_size of {self.adj.max_request_body_size}")
