"""A listening socket that cannot accept: no descriptor is left, or an app has closed the socket.

In both cases the kernel goes on to report the socket as ready, and a loop that tries again at once does nothing else.
"""

from __future__ import annotations

import errno
import logging
import time
from typing import Any

from waitress.server import BaseWSGIServer

PAUSE_SECONDS = 1.0  # before the next try to accept
_CALM_SECONDS = 10.0  # without a failure, after which a shortage is over
_SHORTAGES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_NOT_LISTENING = {errno.EBADF, errno.ENOTSOCK, errno.EINVAL, errno.EOPNOTSUPP}

logger = logging.getLogger("mountpoint")


class AcceptingListener(BaseWSGIServer):
    """A listening socket that pauses while the process lacks descriptors, and notices that it was closed."""

    socket: Any
    trigger: Any
    _map: dict[int | None, Any]
    _fileno: int | None
    _failed_at = 0.0  # times of `time.monotonic`, in seconds
    _is_short = False  # whether the shortage is logged and not over
    _has_broken_trigger = False

    @property
    def is_lost(self) -> bool:
        """Whether an app has closed the socket, or the pipe that wakes the loop. Another file may have its number."""
        return not self._can_wake or self._map.get(self._fileno) is not self

    @property
    def _can_wake(self) -> bool:
        return not self._has_broken_trigger and self._map.get(self.trigger._fileno) is self.trigger

    def abandon(self) -> None:
        """Forget the socket without closing its descriptor, which may belong to another file by now."""
        if self._map.get(self._fileno) is self:
            self.del_channel()
        self._fileno = None
        self.accepting = False
        self.socket.detach()

    def readable(self) -> bool:
        is_readable = bool(super().readable())  # also closes idle connections
        return is_readable and not self.is_paused

    @property
    def is_paused(self) -> bool:
        """Whether the last try to accept failed just now."""
        return 0 <= time.monotonic() - self._failed_at < PAUSE_SECONDS

    def accept(self) -> Any:
        if self._fileno is None:
            return None
        try:
            accepted = super().accept()
        except OSError as error:
            if error.errno in _SHORTAGES:
                self._pause(error)
            elif error.errno in _NOT_LISTENING:
                self.abandon()
            else:
                raise
            return None
        if accepted and self._is_short and time.monotonic() - self._failed_at > _CALM_SECONDS:
            self._is_short = False
            logger.info("accepting connections again")
        return accepted

    def handle_close(self) -> None:
        self.abandon()  # the descriptor is not open, or does not listen

    def handle_error(self) -> None:
        self._failed_at = time.monotonic()
        logger.exception("a connection could not be accepted; continuing")

    def pull_trigger(self) -> None:
        """Wake the loop. Without its pipe, the loop wakes up once a second, and then ends the process."""
        if not self._can_wake:
            return
        try:
            super().pull_trigger()
        except BlockingIOError:  # a full pipe wakes the loop anyway
            pass
        except OSError:
            self._has_broken_trigger = True

    def _pause(self, error: OSError) -> None:
        self._failed_at = time.monotonic()
        if not self._is_short:
            self._is_short = True
            logger.error("cannot accept connections for now, trying once a second: %s", error)
