"""Configure logging: to stderr, unless the section ``[logging]`` of the file says otherwise.

All apps share the root logger, so no app may configure it: `mountpoint.loading.isolation` reverts what an app changes
in it during its load. Records that an app logs through the root logger are written from level INFO on, with the name
of their logger.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from typing import Any

from ..errors import ConfigError, Problem


def configure_logging(
    level: str | None, *, access_log: bool = True, dictionary: Mapping[str, Any] | None = None
) -> None:
    """Configure the loggers ``mountpoint``, ``mountpoint.access``, ``waitress`` and the root.

    *level* is ``"debug"`` to ``"critical"``, by default ``"info"``. The root logger is left alone if it has handlers
    already: then a host that embeds mountpoint has configured it.

    *dictionary*, in the form of `logging.config.dictConfig`, replaces all of this, except that *level*, if given, still
    applies to ``mountpoint`` and ``waitress``. Its ``version`` may be missing, and existing loggers stay enabled unless
    it disables them. Raises `ConfigError` if `logging` rejects it.
    """
    access = logging.getLogger("mountpoint.access")
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
    else:
        level = level or "info"
        _configure_logger("mountpoint", level, _stderr_handler("%(asctime)s %(levelname)s %(message)s"))
        _configure_logger("waitress", level, _stderr_handler("%(asctime)s %(levelname)s waitress: %(message)s"))
        _configure_logger("mountpoint.access", "info", _stderr_handler())
        if not logging.root.handlers:
            # "debug" is for mountpoint; on the root logger it would turn on the debug output of every library.
            root_level = "info" if level == "debug" else level
            _configure_logger("", root_level, _stderr_handler("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    if not access_log:
        access.disabled = True


class StderrHandler(logging.StreamHandler[Any]):
    """A handler that never raises, even if an app has closed ``sys.stderr``.

    The default `handleError` prints the error to ``sys.stderr``, which raises ValueError on a closed stream.
    """

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


_BARE = logging.Formatter("%(message)s")


def _stderr_handler(line_format: str | None = None) -> logging.Handler:
    handler = StderrHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(line_format) if line_format else _BARE)
    return handler


def _configure_logger(name: str, level: str, handler: logging.Handler) -> None:
    logger = logging.getLogger(name)
    logger.setLevel(level.upper())
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.disabled = False
