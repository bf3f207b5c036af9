"""The fields of log records: attributes with the facts about a request, for every formatter."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final

#: The names of the fields. A formatter writes one with ``%(mount)s``. Text that is not known is ``-``.
FIELDS: Final = frozenset(
    (
        *("mount", "method", "path", "status", "bytes", "queue_ms", "app_ms", "client", "scheme", "host"),
        *("request_id", "user_agent", "referer", "request_line", "reason"),
    )
)

#: Returns the fields of the request that a thread runs, by the identifier of the thread; none if it runs no request.
RequestFields = Callable[[int], Mapping[str, object]]

_fields_of_request: RequestFields = lambda thread: {}  # noqa: E731 - replaced by a server

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def log_with_fields(
    logger: logging.Logger,
    level: int,
    message: str,
    *args: object,
    fields: Mapping[str, object],
    error: BaseException | None = None,
) -> None:
    """Log *message* with *args*, with *fields* as attributes, and with the traceback of *error*.

    ``extra`` of `logging.Logger.log` would raise KeyError if an app has installed a record factory that sets an
    attribute of the same name, such as ``request_id``.
    """
    if not logger.isEnabledFor(level):
        return
    exc_info: ExcInfo | None = (type(error), error, error.__traceback__) if error else None
    frame = sys._getframe(1)
    record = logger.makeRecord(
        logger.name, level, frame.f_code.co_filename, frame.f_lineno, message, args, exc_info, frame.f_code.co_name
    )
    vars(record).update(fields)
    logger.handle(record)


def set_request_fields(fields_of_request: RequestFields) -> None:
    """Let the records that apps log have the fields of *fields_of_request*, in logs that are JSON."""
    global _fields_of_request  # noqa: PLW0603 - logging is global too
    _fields_of_request = fields_of_request


def fields_of_request(thread: int) -> Mapping[str, object]:
    """Return the fields of the request that *thread* runs."""
    return _fields_of_request(thread)
