"""The head of a request: request line and header section, from bytes to a `Head` (RFC 9112 sections 2 to 6).

Another reader of the same bytes, a proxy in front, must come to the same end of the request. So a head that two readers
could take apart differently is refused: a bare CR or LF, a header that may stand only once and stands twice, a
Transfer-Encoding beside a Content-Length.

Every step takes time that grows with the length of the head and not faster, whatever a client sends. No regular
expression here has two repetitions that can share characters.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Literal

from ..wsgi.keys import host_name
from ..wsgi.target import split_target

CHUNKED: Literal["chunked"] = "chunked"

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_REQUEST_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Z-]+) ([^ ]+) HTTP/([0-9])\.([0-9])", re.ASCII)
_CONTROLS = bytes({*range(0x20), 0x7F} - {*b"\t\r\n"})  # RFC 9110 section 5.5
_LONGEST_KNOWN = 64  # characters of a name that `_key` remembers
_LONGEST_NUMBER = 19  # digits; more than any length that a machine can count
# RFC 9110 defines each of these as one value. Joined with another one it would mean something else.
_SINGLETONS = frozenset(
    {
        "AUTHORIZATION",
        "CONTENT_LENGTH",
        "CONTENT_LOCATION",
        "CONTENT_RANGE",
        "CONTENT_TYPE",
        "DATE",
        "FROM",
        "HOST",
        "IF_MODIFIED_SINCE",
        "IF_RANGE",
        "IF_UNMODIFIED_SINCE",
        "MAX_FORWARDS",
        "ORIGIN",
        "PROXY_AUTHORIZATION",
        "RANGE",
        "REFERER",
        "TRANSFER_ENCODING",
        "USER_AGENT",
    }
)
_FRAMING = frozenset({"CONTENT_LENGTH", "HOST", "TRANSFER_ENCODING"})


class RequestError(Exception):
    """The request cannot be read: respond with *status* and close the connection, since its end is not known."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(slots=True, eq=False)  # not frozen: that takes twice the time for each request
class Head:
    """A request line and its header section.

    ``version`` is ``"1.0"`` or ``"1.1"``; a later minor version is read as 1.1 (RFC 9110 section 2.5). ``headers`` has
    the names as environ has them, without ``HTTP_``: upper case, ``_`` for ``-``. A name with ``_`` of its own is left
    out, since two names would become one. ``target``, ``path_info`` and all values are WSGI strings.
    """

    method: str
    target: str
    version: Literal["1.0", "1.1"]
    headers: dict[str, str]
    path_info: str
    query: str

    @property
    def keeps_alive(self) -> bool:
        """Whether the client lets the connection stay open after the response (RFC 9112 section 9.3)."""
        value = self.headers.get("CONNECTION")
        if value is None:
            return self.version == "1.1"
        options = [option.strip(" \t").lower() for option in value.split(",")]
        return "close" not in options and (self.version == "1.1" or "keep-alive" in options)

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for 100 (Continue) before it sends its body (RFC 9110 section 10.1.1)."""
        return self.version == "1.1" and self.headers.get("EXPECT", "").lower() == "100-continue"


def parse_head(data: bytes) -> Head:
    """Parse *data*: all up to the empty line, without the empty lines that may stand in front.

    Raises `RequestError`: 400, or 505 for another major version.
    """
    request_line, *lines = split_lines(data) or [""]
    match = _REQUEST_LINE.fullmatch(request_line)
    if match is None:
        raise RequestError(400, "Start line is invalid")
    method, target, major, minor = match.groups()
    if major != "1":
        raise RequestError(505, "HTTP/1.0 and HTTP/1.1 are spoken here")
    version: Literal["1.0", "1.1"] = "1.0" if minor == "0" else "1.1"
    headers = parse_fields(lines)
    try:
        parts = split_target(target)
    except ValueError as error:
        raise RequestError(400, str(error)) from None
    _set_host(headers, version, parts.authority)
    return Head(method, target, version, headers, parts.path_info, parts.query)


def split_lines(data: bytes) -> list[str]:
    """Return the lines of *data* without their CR LF, and without empty ones at the end.

    Raises `RequestError` for a CR or LF that stands alone, and for control characters other than TAB.
    """
    pairs = data.count(b"\r\n")  # a CR or LF may not stand alone (RFC 9112 section 2.2)
    if data.count(b"\r") != pairs or data.count(b"\n") != pairs or len(data.translate(None, _CONTROLS)) < len(data):
        raise RequestError(400, "Bare CR or LF, or a control character, in the header")
    text = data.decode("latin-1").rstrip("\r\n")
    return text.split("\r\n") if text else []


def parse_fields(lines: list[str]) -> dict[str, str]:
    """Return the fields of *lines*, which end where CR LF stood, by their names in environ's form.

    A line that starts with a blank continues the one before (RFC 9112 section 5.2). Values of one name are joined by a
    comma, cookies by a semicolon (RFC 9110 section 5.3, RFC 6265 section 5.4). Raises `RequestError`.
    """
    entries: list[tuple[str, str, list[str]]] = []
    for line in lines:
        if line[:1] in (" ", "\t"):
            if not entries:
                raise RequestError(400, "Malformed header line")
            entries[-1][2].append(line.strip(" \t"))
            continue
        name, colon, value = line.partition(":")
        key = _key(name) if len(name) <= _LONGEST_KNOWN else _key.__wrapped__(name)
        if not colon or key is None:
            raise RequestError(400, "Invalid header")
        entries.append((name, key, [value.strip(" \t")]))
    fields: dict[str, list[str]] = {}
    for name, key, pieces in entries:
        if not key:
            continue
        values = fields.setdefault(key, [])
        if values and key in _SINGLETONS:
            raise RequestError(400, f"{name} stands twice")
        if len(pieces) > 1 and key in _FRAMING:  # some readers take the second line for another header, or for none
            raise RequestError(400, f"{name} is folded")
        values.append(pieces[0] if len(pieces) == 1 else " ".join(filter(None, pieces)))
    return {key: ("; " if key == "COOKIE" else ", ").join(values) for key, values in fields.items()}


@functools.lru_cache(maxsize=512)  # clients send the same names again and again
def _key(name: str) -> str | None:
    """Return the name of a field in environ's form, "" if it is left out, None if it is not a name."""
    if _TOKEN.fullmatch(name) is None:
        return None
    return "" if "_" in name else name.upper().replace("-", "_")


def body_length(head: Head) -> int | Literal["chunked"]:
    """Return the length of the body in bytes, 0 for none, or `CHUNKED` (RFC 9112 section 6.3).

    Takes ``Transfer-Encoding`` out of the headers: the app reads a body that is not encoded. Raises `RequestError`:
    400; 501 for a coding other than chunked; 413 for a length beyond all machines.
    """
    coding = head.headers.pop("TRANSFER_ENCODING", None)
    length = head.headers.get("CONTENT_LENGTH")
    if coding is not None:
        if head.version == "1.0":
            raise RequestError(400, "Transfer-Encoding in HTTP/1.0")
        if length is not None:
            raise RequestError(400, "Both Transfer-Encoding and Content-Length are there")
        if coding.lower() == "chunked":
            return CHUNKED
        *others, last = [name.strip(" \t").lower() for name in coding.split(",")]
        if "" in (*others, last) or "chunked" in others:  # the last coding is not chunked, or chunked stands twice
            raise RequestError(400, "Transfer-Encoding is not exactly one chunked")
        raise RequestError(501, "Transfer-Encoding requested is not supported.")
    if length is None:
        return 0
    if not (length.isascii() and length.isdigit()):
        raise RequestError(400, "Content-Length is invalid")
    digits = length.lstrip("0") or "0"
    if len(digits) > _LONGEST_NUMBER:
        raise RequestError(413, "Content-Length is too large")
    return int(digits)


def _set_host(headers: dict[str, str], version: str, authority: str | None) -> None:
    """Leave the host of the request in *headers*. Raises `RequestError` unless there is just one.

    The authority of an absolute target replaces ``Host``, which must be there nevertheless (RFC 9112 sections 3.2 and
    3.2.2).
    """
    host = headers.get("HOST")
    if host is None and version == "1.1":
        raise RequestError(400, "Host is missing")
    if host is not None and host_name(host) is None:
        raise RequestError(400, "Host is invalid")
    if authority is not None:
        if host_name(authority) is None:
            raise RequestError(400, "The authority of the request target is invalid")
        headers["HOST"] = authority
