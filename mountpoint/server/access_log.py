"""The access log: one line for each request, as JSON or in the Combined Log Format plus the mount and the time in ms.

    192.0.2.7 - - [22/Nov/2026:09:05:07 +0100] "GET /tv_ws/?stn=Lund HTTP/1.1" 200 512 "-" "curl/8.5" /tv_ws 3.2

The id of the request follows, if the server gives ids.
Lines go to the logger ``mountpoint.access`` at level INFO. Text from the client is escaped as Apache does it, so that
a client cannot forge a line.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, Literal

from ..loading.log_fields import log_with_fields
from ..loading.logs import StderrHandler
from ..wsgi.dispatch import Route
from .access_json import encoded_path, json_line
from .finished import FinishedRequest

access_logger: Final = logging.getLogger("mountpoint.access")

# Not strftime: its month names follow the locale, which an app may set.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNSAFE = re.compile(r'[^\x20-\x7e]|["\\]')
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\b": "\\b"}


class AccessLog:
    """Logs each request that has ended, in *form*, except for the public paths in *excluded*, as WSGI strings."""

    def __init__(self, form: Literal["combined", "json", False] = "combined", excluded: Iterable[str] = ()) -> None:
        self._line_of = json_line if form == "json" else combined_line
        self._is_json = form == "json"
        self._excluded = frozenset(excluded)

    def excludes(self, route: Route | None) -> bool:
        """Whether a request with *route* is left out. Call it before the app, which may change its environ."""
        if not self._excluded or route is None:
            return False
        environ = route.environ
        return f"{environ['SCRIPT_NAME']}{environ['PATH_INFO']}" in self._excluded

    def log_request(self, request: FinishedRequest) -> None:
        """Log *request*.

        A record is made only if something may look at it: a handler of the operator, a filter, or a record factory. The
        handler that mountpoint has installed takes the bare line, with one write for each line, so none is lost in a
        crash.
        """
        line = self._line_of(request, time.time())
        handlers = access_logger.handlers
        if (
            len(handlers) == 1
            and type(handler := handlers[0]) is StderrHandler
            and handler.writes_bare_lines
            and not access_logger.propagate
            and not access_logger.filters
            and logging.getLogRecordFactory() is logging.LogRecord
        ):
            handler.write_line(line)
        else:
            fields = request_fields(request)
            if self._is_json:
                fields["json_line"] = line  # for `JsonFormatter`
            log_with_fields(access_logger, logging.INFO, "%s", line, fields=fields)


def request_fields(request: FinishedRequest) -> dict[str, object]:
    """Return the fields of the record of *request*. Their text cannot forge a line, in whichever format it is."""
    return {
        "mount": request.mount or "-",
        "method": request.method or "-",
        "path": encoded_path(request.path) or "-",
        "status": request.status,
        "bytes": request.bytes_out,
        "queue_ms": round(request.queue_seconds * 1000, 3),
        "app_ms": round(request.app_seconds * 1000, 3),
        "client": request.client or "-",
        "scheme": request.scheme,
        "host": escaped(request.host or "-"),
        "request_id": request.request_id or "-",
        "user_agent": escaped(request.user_agent or "-"),
        "referer": escaped(request.referer or "-"),
        "request_line": escaped(request.request_line),
        "reason": escaped(request.reason or "-"),
    }


def combined_line(request: FinishedRequest, now: float) -> str:
    """Return the line of *request*, which ends *now*, a Unix time in seconds."""
    return access_line(
        remote_addr=request.client,
        request_line=request.request_line,
        status=f"{request.status:03}" if request.status else "-",
        size=request.bytes_out,
        referer=request.referer,
        user_agent=request.user_agent,
        mount=request.mount,
        started=now - request.total_seconds,
        finished=now,
        request_id=request.request_id,
    )


def access_line(  # noqa: PLR0913 - the fields of a line
    *,
    remote_addr: str | None,
    request_line: str,
    status: str,
    size: int,
    referer: str | None,
    user_agent: str | None,
    mount: str | None,
    started: float,
    finished: float,
    request_id: str | None = None,
) -> str:
    """Return one line of the access log.

    The client's strings are WSGI strings, as sent. *size* is the number of body bytes that the app has produced.
    *started* and *finished* are Unix times, in seconds. None, and a size of 0, are written as ``-``. Without a
    *request_id* the line ends with the duration.
    """
    return (
        f"{remote_addr or '-'} - - [{_clf_time(int(started), time.tzname)}] "
        f'"{escaped(request_line)}" {status} {size or "-"} '
        f'"{escaped(referer or "-")}" "{escaped(user_agent or "-")}" '
        f"{mount or '-'} {(finished - started) * 1000:.1f}{f' {request_id}' if request_id else ''}"
    )


def escaped(text: str) -> str:
    r"""Escape quotes, backslashes and all but printable ASCII in *text*, as Apache's mod_log_config does.

    >>> print(escaped('"forged"\n'))
    \"forged\"\n
    """
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return _UNSAFE.sub(lambda match: _ESCAPES.get(match[0]) or f"\\x{ord(match[0]):02x}", text)


@lru_cache(maxsize=16)
def _clf_time(seconds: int, _zone: tuple[str, str]) -> str:
    """Return a Unix time in the form of the Common Log Format, in local time. An app may change the zone."""
    when = time.localtime(seconds)
    month = _MONTHS[when.tm_mon - 1]
    sign, offset = ("-", -when.tm_gmtoff) if when.tm_gmtoff < 0 else ("+", when.tm_gmtoff)
    return (
        f"{when.tm_mday:02}/{month}/{when.tm_year}:{when.tm_hour:02}:{when.tm_min:02}:{when.tm_sec:02} "
        f"{sign}{offset // 3600:02}{offset % 3600 // 60:02}"
    )
