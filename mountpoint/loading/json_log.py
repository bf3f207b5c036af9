"""Logs as JSON (RFC 8259): one object a line, in ASCII, whatever clients send and apps log."""

from __future__ import annotations

import json
import logging
import time
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any

from .log_fields import FIELDS, fields_of_request

_OF_EVERY_RECORD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "json_line"}
_OURS = frozenset({"time", "level", "logger", "message", "traceback"})


class JsonFormatter(logging.Formatter):
    """Formats a record as one object with ``time``, ``level``, ``logger``, ``message`` and its further attributes.

    A record that an app logs while it responds has the mount and the id of the request. ``traceback`` is a string, and
    there only if the record has one. A field of ours that has no value is null. A value
    that JSON cannot represent is written as its repr. A record of the access log in JSON is written as that line.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the object of *record*, without a line end."""
        line: str | None = getattr(record, "json_line", None)
        if line is not None:
            return line
        found = {
            "time": json_time(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": _whole(record.getMessage()),
            **(fields_of_request(record.thread) if record.thread else {}),
            **{name: value for name, value in vars(record).items() if name not in _OF_EVERY_RECORD | _OURS},
        }
        for name in FIELDS & found.keys():
            if found[name] == "-":
                found[name] = None
        if trace := self._traceback(record):
            found["traceback"] = _whole(trace)
        try:
            return json.dumps(found, allow_nan=False, default=repr)
        except (ValueError, TypeError, RecursionError):  # NaN, a circle, a key of another type
            return json.dumps({name: _plain(value) for name, value in found.items()})

    def _traceback(self, record: logging.LogRecord) -> str:
        texts = [record.exc_text or (self.formatException(record.exc_info) if record.exc_info else "")]
        if record.stack_info:
            texts.append(self.formatStack(record.stack_info))
        return "\n".join(filter(None, texts))


def json_string(text: str | None) -> str:
    r"""Return *text*, a WSGI string, as JSON: its bytes as UTF-8, with ``\xNN`` for a byte that is not.

    >>> print(json_string("caf\xc3\xa9"), json_string('"\xff"'), json_string(None))
    "caf\u00e9" "\"\\xff\"" null
    """
    if text is None:
        return "null"
    if not text.isascii():
        text = text.encode("latin-1", "backslashreplace").decode("utf-8", "backslashreplace")
    return encode_basestring_ascii(text)


def json_time(seconds: float) -> str:
    """Return a Unix time in UTC (RFC 3339), with milliseconds.

    >>> json_time(1795334707.25)
    '2026-11-22T08:05:07.250Z'
    """
    whole, milliseconds = divmod(int(seconds * 1000), 1000)
    return f"{_utc(whole)}.{milliseconds:03}Z"


@lru_cache(maxsize=16)
def _utc(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _whole(text: str) -> str:
    """Return *text* without lone surrogates, which have no UTF-8, and which some parsers reject."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, str | bool | int) else _whole(repr(value))
