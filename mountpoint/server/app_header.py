"""The status and the headers of an app, checked before they are sent (PEP 3333; RFC 9110 sections 5 and 15).

A client, or a proxy that keeps the connection for other clients, reads a wrong line in its own way. So the app gets an
exception, and the client gets 500.
"""

from __future__ import annotations

import re

from waitress.task import hop_by_hop

_STATUS = re.compile(r"[2-5][0-9]{2} [\t -~\x80-\xff]*", re.ASCII)
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_VALUE = re.compile(r"[\t -~\x80-\xff]*")
_LENGTH = re.compile(r"[0-9]{1,19}", re.ASCII)


class AppHeaderError(ValueError):
    """The status or a header of an app cannot be sent."""


def require_status(status: object) -> None:
    """Raise `AppHeaderError` unless *status* is a final status with a reason, which may be empty: ``"200 OK"``."""
    _require_text("status", status, _STATUS, 'such as "200 OK"')


def require_header(name: object, value: object) -> None:
    """Raise `AppHeaderError` unless *name* and *value* are a header that a WSGI app may set."""
    _require_text("header name", name, _NAME, "a token")
    _require_text("header value", value, _VALUE, "latin-1 without control characters")
    assert isinstance(name, str)
    if name.lower() in hop_by_hop:
        raise AppHeaderError(f'{name} is a "hop-by-hop" header; it cannot be used by a WSGI application')


def content_length(value: str, before: int | None) -> int:
    """Return the length in *value*. Raise `AppHeaderError` if it is not one, or if *before* is another one."""
    text = value.strip(" \t")
    if not _LENGTH.fullmatch(text):
        raise AppHeaderError(f"invalid literal for Content-Length: {value!r}")
    if before is not None:
        raise AppHeaderError("Content-Length stands twice")
    return int(text)


def _require_text(kind: str, text: object, pattern: re.Pattern[str], expected: str) -> None:
    if not isinstance(text, str):
        raise AppHeaderError(f"{kind} {text!r} is not a string")
    if pattern.fullmatch(text) is None:
        if "\n" in text or "\r" in text:
            raise AppHeaderError(f"carriage return/line feed character present in {kind} {text!r}")
        raise AppHeaderError(f"{kind} {text!r} is not {expected}")
