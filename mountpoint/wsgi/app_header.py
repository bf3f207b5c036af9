"""The status and the headers of an app, checked before they are sent (PEP 3333; RFC 9110 sections 5, 7.6.1 and 15).

A client, or a proxy that keeps the connection for other clients, reads a wrong line in its own way. So the app gets an
exception, and the client gets 500.

Hop-by-hop headers describe the connection, which is the server's. Apps copy them from the response of another server,
so they are dropped and the response is sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

_STATUS = re.compile(r"[2-5][0-9]{2} [\t -~\x80-\xff]*", re.ASCII)
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_VALUE = re.compile(r"[\t -~\x80-\xff]*")
_LENGTH = re.compile(r"[0-9]{1,19}", re.ASCII)
_PAIRS: Final = 'a list of tuples of two strings, such as [("Content-Type", "text/plain")]'

#: Names in lower case: those of RFC 9110 section 7.6.1 and PEP 3333, and older ones that servers still send.
#: ``Proxy-Status`` (RFC 9209) is for the client, so it is not one of them.
HOP_BY_HOP: Final = {
    *("connection", "keep-alive", "te", "trailer", "trailers", "transfer-encoding", "upgrade"),
    *("proxy-authenticate", "proxy-authentication-info", "proxy-authorization", "proxy-connection"),
}


class AppHeaderError(ValueError):
    """The status or a header of an app cannot be sent."""


class Headers(NamedTuple):
    """The headers of an app, ready to be sent.

    ``lines``    each header as ``Name: value``, without ``Content-Length``
    ``length``   the value of ``Content-Length``, None without one
    ``names``    the names in lower case
    ``dropped``  the names of hop-by-hop headers, as the app spells them
    """

    lines: list[str]
    length: int | None
    names: set[str]
    dropped: list[str]


def require_status(status: object) -> None:
    """Raise `AppHeaderError` unless *status* is a final status with a reason, which may be empty: ``"200 OK"``."""
    _require_text("status", status, _STATUS, 'such as "200 OK"')


def read_headers(headers: object) -> Headers:
    """Return *headers*, the second argument of ``start_response``. Raises `AppHeaderError`.

    >>> read_headers([("content-type", "text/plain"), ("Connection", "close"), ("Content-Length", "5")])
    Headers(lines=['Content-Type: text/plain'], length=5, names={'content-type'}, dropped=['Connection'])
    """
    lines: list[str] = []
    names: set[str] = set()
    dropped: list[str] = []
    length = None
    named: set[str] = set()  # by a Connection header
    for name, value in pairs_of(headers):
        spelled, lower = _checked_name(name)
        _require_text("header value", value, _VALUE, "latin-1 without control characters")
        if lower == "content-length":
            length = _content_length(value, length)
        elif lower in HOP_BY_HOP:
            dropped.append(name)
            if lower == "connection":
                named.update(option.strip(" \t").lower() for option in value.split(","))
        else:
            names.add(lower)
            lines.append(f"{spelled}: {value}")
    if named:
        named.discard("content-length")  # the length of the body stays true
        dropped += [line.partition(":")[0] for line in lines if line.partition(":")[0].lower() in named]
        lines = [line for line in lines if line.partition(":")[0].lower() not in named]
        names -= named
    return Headers(lines, length, names, dropped)


def pairs_of(headers: object) -> list[tuple[str, str]]:
    """Return *headers* as a list of pairs, whose types `read_headers` checks. Raises `AppHeaderError`."""
    if isinstance(headers, (str, bytes, Mapping)) or not isinstance(headers, Iterable):
        raise AppHeaderError(f"the headers are {describe(headers)}; expected {_PAIRS}")
    pairs = headers if type(headers) is list else list(headers)  # an iterator gives its items only once
    for pair in pairs:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise AppHeaderError(f"the headers have {describe(pair)}; expected {_PAIRS}")
    return pairs


def describe(value: object) -> str:
    """Return the start of the repr of *value*, and its type, for an error message."""
    if value is None:
        return "None"
    try:
        text = repr(value)
    except Exception:
        text = "..."
    return f"{text[:80]}{'...' if len(text) > 80 else ''} ({type(value).__name__})"


def _checked_name(name: object) -> tuple[str, str]:
    if not isinstance(name, str):
        raise AppHeaderError(f"header name {name!r} is not a string")
    return _spellings(name)


@lru_cache(maxsize=1024)
def _spellings(name: str) -> tuple[str, str]:
    """Return *name* as it is sent, and in lower case. The case of a name has no meaning (RFC 9110 section 5.1)."""
    _require_text("header name", name, _NAME, "a token")
    return "-".join(word.capitalize() for word in name.split("-")), name.lower()


def _content_length(value: str, before: int | None) -> int:
    """Return the length in *value*. Raise `AppHeaderError` if it is not one, or if *before* is not None."""
    text = value.strip(" \t")
    if not _LENGTH.fullmatch(text):
        raise AppHeaderError(f"invalid literal for Content-Length: {value!r}")
    if before is not None:
        raise AppHeaderError("the app has set Content-Length twice")
    return int(text)


def _require_text(kind: str, text: object, pattern: re.Pattern[str], expected: str) -> None:
    if not isinstance(text, str):
        raise AppHeaderError(f"{kind} {text!r} is not a string")
    if pattern.fullmatch(text) is None:
        if "\n" in text or "\r" in text:
            raise AppHeaderError(f"carriage return/line feed character present in {kind} {text!r}")
        raise AppHeaderError(f"{kind} {text!r} is not {expected}")
