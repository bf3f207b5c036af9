"""The time limits of a connection: a header, a body or a response that makes no progress.

waitress has none of them. For it, each byte of a header is activity, and a thread that writes to a client that does not
read waits for ever.
"""

from __future__ import annotations

import logging

from .closing import ClosingChannel

logger = logging.getLogger("mountpoint")


class DeadlineChannel(ClosingChannel):
    """A connection that ends when its client is too slow."""

    _stalled_since = 0.0  # when the client was first seen not to read a pending response

    def close_if_stuck(self, now: float, header_timeout: float) -> None:
        """Close the connection if its client never finishes a header, or stops reading a response.

        *now* is from `time.monotonic`. *header_timeout* is in seconds, 0 for no limit.
        """
        if self.total_outbufs_len and self.last_activity <= self._stalled_since:
            if now - self._stalled_since > self.adj.channel_timeout and not self._client_reads():
                seconds = self.adj.channel_timeout
                logger.info("closing: the client has read nothing for %d s: %s", seconds, self.description)
                self.handle_close()  # wakes the thread that writes
            return
        self._stalled_since = now if self.total_outbufs_len else 0.0
        request = self.request
        if request is None or not request.first_byte_at or request.headers_finished:
            return
        if self.requests or self.total_outbufs_len:
            # Pipelined behind another request: waitress may not be reading the rest of the header yet.
            request.first_byte_at = now
        elif header_timeout and now - request.first_byte_at > header_timeout:
            self._time_out("The header did not come in time.")

    def close_if_body_is_slow(self, now: float, body_timeout: float, min_rate: int) -> None:
        """Respond 408 if the body that is being read lags more than *body_timeout* seconds behind *min_rate*.

        *now* is a `time.monotonic`. A timeout of 0 turns this off. The rate is in bytes a second.
        """
        request = self.request
        if request is None or request.pace is None or not body_timeout:
            return
        if self.requests or self.total_outbufs_len:
            # Pipelined behind another request: waitress may not be reading the rest of the body yet.
            request.pace.restart(now, request.body_length)
        elif request.pace.lag(now, request.body_length, min_rate) > body_timeout:
            self._time_out("The body did not come in time.")

    def _client_reads(self) -> bool:
        """Try to send; return whether the kernel took data, or the connection is closed.

        The kernel reports a socket as writable only when a third of its buffer is free, which may be megabytes. A send
        succeeds earlier.
        """
        before = self.last_activity
        self._flush_exception(self._flush_some_if_lockable)  # type: ignore[attr-defined]
        return self.last_activity > before or not self.connected

    def _time_out(self, message: str) -> None:
        """Answer the unfinished request with 408."""
        with self.requests_lock:
            request = self.request
            if self.requests or request is None or not self.connected:
                return
            request.refuse(408, message)
            self.request = None
            self.requests.append(request)
            self.server.add_task(self)
