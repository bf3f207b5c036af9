"""Configure logging: to stderr, unless the section ``[logging]`` of the file says otherwise.

All apps share the root logger, so no app may configure it: `mountpoint.loading.isolation` reverts what an app changes
in it during its load. Records that an app logs through the root logger are written from level INFO on, with the name
of their logger.
"""

from __future__ import annotations

import copy
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import nullcontext, suppress
from typing import Any

from ..errors import ConfigError, Problem, did_you_mean
from .json_log import JsonFormatter
from .log_fields import FIELDS

#: The formats of the loggers that write text. The root logger has the name ``""``.
_FORMATS = {
    "mountpoint": "%(asctime)s %(levelname)s %(message)s",
    "waitress": "%(asctime)s %(levelname)s waitress: %(message)s",
    "": "%(asctime)s %(levelname)s %(name)s: %(message)s",
}
_BARE = logging.Formatter("%(message)s")


def configure_logging(
    level: str | None,
    *,
    access_log: bool = True,
    is_json: bool = False,
    dictionary: Mapping[str, Any] | None = None,
) -> None:
    """Configure the loggers ``mountpoint``, ``mountpoint.access``, ``waitress`` and the root.

    *level* is ``"debug"`` to ``"critical"``, by default ``"info"``. The root logger is left alone if it has handlers
    already: then a host that embeds mountpoint has configured it. With *is_json* each line is a JSON object.

    *dictionary*, in the form of `logging.config.dictConfig`, comes first. A logger for which it has handlers, or whose
    records reach such handlers, is left to it, except that *level*, if given, still applies to ``mountpoint`` and
    ``waitress``. Its ``version`` may be missing, and existing loggers stay enabled unless it disables them. Raises
    `ConfigError` if `logging` rejects it, or if a format has an unknown field.
    """
    if dictionary:
        from logging.config import dictConfig  # the import takes some milliseconds, and few files need it

        try:
            dictConfig({"version": 1, "disable_existing_loggers": False, **dictionary})
        except (ValueError, TypeError, AttributeError, ImportError, OSError) as error:
            cause = f" ({error.__cause__})" if error.__cause__ else ""
            message = f"expected a dictionary for logging.config, but logging rejected it: {error}{cause}"
            raise ConfigError([Problem("logging", message)]) from error
        if level:
            for name in ("mountpoint", "waitress"):
                logging.getLogger(name).setLevel(level.upper())
    section = _Section(dictionary or {})
    level = level or "info"
    # "debug" is for mountpoint; on the root logger it would turn on the debug output of every library.
    levels = {"mountpoint": level, "waitress": level, "": "info" if level == "debug" else level}
    for name, line_format in _FORMATS.items():
        if name or not logging.root.handlers:
            formatter = JsonFormatter() if is_json else logging.Formatter(line_format)
            _configure_logger(name, levels[name], formatter, section)
    _configure_logger("mountpoint.access", "info", _BARE, section)
    if not access_log:
        logging.getLogger("mountpoint.access").disabled = True
    if dictionary:
        _require_known_fields()


def _require_known_fields() -> None:
    """Raise `ConfigError` if a format has a field that no record has. `logging` would report it for each record."""
    for name in ("mountpoint", "mountpoint.access"):
        fields = FIELDS if name == "mountpoint.access" else frozenset[str]()
        for handler in _handlers_of(name):
            record = logging.makeLogRecord({"name": name, "msg": "-", **dict.fromkeys(fields, 0)})
            if handler.formatter is None or not handler.filter(record):  # a filter may add fields
                continue
            try:
                handler.formatter.format(record)
            except Exception as error:
                field = str(error).rpartition("Formatting field not found in record: ")[2].strip("'")
                if field == str(error):  # a formatter of the operator expects something else of a record
                    continue
                advice = did_you_mean(field, {*fields, *vars(record)})
                if field in FIELDS:
                    advice = "; use this format for the logger mountpoint.access alone, whose records have it"
                message = f"a format for the logger {name} has the unknown field %({field})s{advice}"
                raise ConfigError([Problem("logging.formatters", message)]) from None


def _handlers_of(name: str) -> Iterator[logging.Handler]:
    """Yield the handlers that get the records of the logger *name*."""
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None:
        yield from logger.handlers
        logger = logger.parent if logger.propagate else None


class _Section:
    """The part of a dictionary for `logging.config` that is about loggers. The root logger has the name ``""``."""

    def __init__(self, dictionary: Mapping[str, Any]) -> None:
        self.is_empty = not dictionary
        self._loggers: dict[str, Mapping[str, Any]] = {**dictionary.get("loggers", {})}
        if "root" in dictionary:
            self._loggers[""] = dictionary["root"]
        is_incremental = dictionary.get("incremental", False)  # such a dictionary changes levels only
        self._with_handlers = {
            name for name, settings in self._loggers.items() if settings.get("handlers") and not is_incremental
        }

    def sets(self, name: str, key: str) -> bool:
        """Whether the section has *key* for the logger *name*."""
        return key in self._loggers.get(name, {})

    def has_handlers(self, name: str) -> bool:
        """Whether the section has handlers for the logger *name*."""
        return name in self._with_handlers

    def has_handlers_above(self, name: str) -> bool:
        """Whether the section has handlers for a logger above *name*, to which records of *name* propagate."""
        return any(not above or name.startswith(f"{above}.") for above in self._with_handlers - {name})


class StderrHandler(logging.StreamHandler[Any]):
    """A handler that never raises, even if an app has closed ``sys.stderr``.

    The default `handleError` prints the error to ``sys.stderr``, which raises ValueError on a closed stream.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return *record* as text, without its traceback if Python cannot format that."""
        try:
            return super().format(record)
        except Exception as failure:  # the code has the name of a file that no file can have, such as one with a NUL
            kind = record.exc_info[0] if record.exc_info else None
            if kind is None:
                raise
            plain = copy.copy(record)
            plain.exc_info = None
            plain.msg = "%s: %s; its traceback cannot be formatted: %r"
            plain.args = (record.getMessage(), kind.__name__, failure)
            return super().format(plain)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging chose the name
        with suppress(ValueError):
            super().handleError(record)

    @property
    def writes_bare_lines(self) -> bool:
        """Whether `write_line` writes what the handler would write for a record at level INFO."""
        return self.formatter is _BARE and not self.filters and self.level <= logging.INFO

    def write_line(self, line: str) -> None:
        """Write *line* without a record, which takes three times as long to make."""
        try:
            with self.lock or nullcontext():
                self.stream.write(line + self.terminator)
                self.flush()
        except Exception:
            self.handleError(logging.makeLogRecord({"msg": "%s", "args": (line,)}))


def _configure_logger(name: str, level: str, formatter: logging.Formatter, section: _Section) -> None:
    """Let the logger *name* write to stderr in the form of *formatter*, as far as *section* does not say otherwise."""
    if section.has_handlers_above(name):
        return
    logger = logging.getLogger(name)
    if not section.has_handlers(name):
        handler = StderrHandler(sys.stderr)
        handler.setFormatter(formatter)
        logger.handlers[:] = [handler]
    if not section.sets(name, "level"):
        logger.setLevel(level.upper())
    if not section.sets(name, "propagate"):
        logger.propagate = False
    if section.is_empty:
        logger.disabled = False
