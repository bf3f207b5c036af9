"""Where the logs go: to stderr, unless ``[logging]`` in the file says otherwise.

The root logger is one for all apps, so none of them can have it: what an app does to it while it loads is undone
(`mountpoint.loading.isolation`). What apps log there is written from INFO on, with the logger's name.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ..errors import ConfigError, Problem


def configure_logging(
    level: str | None, *, access_log: bool = True, dictionary: Mapping[str, Any] | None = None
) -> None:
    """Set up the root, ``mountpoint``, ``mountpoint.access`` and ``waitress`` at *level*, ``debug`` to ``critical``.

    *dictionary* replaces that, except for a *level* that is given: a `logging.config` dictionary; ``version`` may be
    left out, and existing loggers stay enabled unless it says otherwise. Raises `ConfigError` if `logging` refuses it.
    """
    access = logging.getLogger("mountpoint.access")
    if dictionary:
        from logging.config import dictConfig  # costs some milliseconds, and few files need it

        try:
            dictConfig({"version": 1, "disable_existing_loggers": False, **dictionary})
        except (ValueError, TypeError, AttributeError, ImportError, OSError) as error:
            cause = f" ({error.__cause__})" if error.__cause__ else ""
            message = f"expected a dictionary for logging.config, and it was refused: {error}{cause}"
            raise ConfigError([Problem("logging", message)]) from error
        if level:
            for name in ("mountpoint", "waitress"):
                logging.getLogger(name).setLevel(level.upper())
    else:
        level = level or "info"
        _set_up("mountpoint", level, _handler("%(asctime)s %(levelname)s %(message)s"))
        _set_up("waitress", level, _handler("%(asctime)s %(levelname)s waitress: %(message)s"))
        _set_up("mountpoint.access", "info", _handler("%(message)s"))
        if not logging.root.handlers:  # else whoever embeds us has seen to it
            quiet = "info" if level == "debug" else level  # of every library there is
            _set_up("", quiet, _handler("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    if not access_log:
        access.disabled = True


class _Stderr(logging.StreamHandler[Any]):
    """A handler that raises nothing. An app can close ``sys.stderr``, and logging would say so there."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        with suppress(ValueError):
            super().handleError(record)


def _handler(form: str) -> logging.Handler:
    handler = _Stderr(sys.stderr)
    handler.setFormatter(logging.Formatter(form))
    return handler


def _set_up(name: str, level: str, handler: logging.Handler) -> None:
    logger = logging.getLogger(name)
    logger.setLevel(level.upper())
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.disabled = False
