"""The end of a connection: a client that has sent its last byte, and a client that still sends after the last response.

**Half-close.** A client may close its sending half after its last request and wait for the responses, as ``nc -N``
does. A FIN says no more than that. waitress takes it for the end of the client. Here the client counts as gone once its
connection is reset, or once its end of a unix socket is closed. A TCP client that closes the whole socket sends only a
FIN too. Its kernel then answers the first byte of a response with a reset.

**Lingering.** If a server closes a connection with unread data, the kernel resets it, and the client loses the response
that it has not read yet (RFC 9112 section 9.6). So the server closes its sending half, drops what the client still
sends, and then closes the connection. The loop does that; no thread waits.
"""

from __future__ import annotations

import select
import socket
import time
from typing import Any

from .writing import WritingChannel

LINGER_SECONDS = 10.0  # in all
LINGER_IDLE_SECONDS = 2.0  # without a byte from the client
LINGER_BYTES = 256 << 20
_DROPS = 128  # pieces that are dropped at once: the other connections wait for that long
_DROP_SIZE = 65_536  # bytes


class ClosingChannel(WritingChannel):
    """A connection that ends as the module says."""

    socket: Any  # None once it is closed
    _is_half_closed = False  # whether the client has closed its sending half
    is_over = False  # whether the last request is served; later bytes of the client are not a request
    _may_send_more = True  # whether the client may send after the response that ends the connection
    lingers_until = 0.0  # times of `time.monotonic`, in seconds; 0 unless the connection lingers
    _dropped_at = 0.0
    _drop_limit = LINGER_BYTES

    def readable(self) -> bool:
        return not self._is_half_closed and bool(super().readable())

    def handle_write(self) -> None:
        ends, self.close_when_flushed = self.close_when_flushed, False  # else waitress closes it after the last byte
        super().handle_write()
        if not ends or self.socket is None:
            return
        if self.total_outbufs_len:
            self.close_when_flushed = True
        elif not self._is_half_closed and (self._may_send_more or self.has_unread_data(if_closed=False)):
            self._linger()
        else:
            self.handle_close()

    def close_if_over(self) -> None:
        """Close the connection if it has lingered for long enough, or if a client that was half-closed has gone."""
        if self.socket is None:
            return
        if self.lingers_until:
            now = time.monotonic()
            is_over = now > self.lingers_until or now - self._dropped_at > LINGER_IDLE_SECONDS
        else:
            is_over = self._is_half_closed and _has_hung_up(self.socket)
        if is_over:
            self.handle_close()

    def has_unread_data(self, *, if_closed: bool = True) -> bool:
        """Whether data has arrived that the loop has not read. Return *if_closed* at the end of the connection."""
        try:
            return bool(self.socket.recv(1, socket.MSG_PEEK)) or if_closed
        except BlockingIOError:
            return False
        except OSError:
            return if_closed

    def half_close(self) -> None:
        """Serve the requests that have arrived whole, and then close the connection."""
        with self.requests_lock:
            self._is_half_closed = True
            self._drop_unfinished_request()
            if self.requests:
                self.requests[-1].keeps_alive = False
            else:
                self.close_when_flushed = True
        if _has_hung_up(self.socket) or not (self.requests or self.total_outbufs_len):
            self.handle_close()

    def _linger(self) -> None:
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:  # the client has gone
            self.handle_close()
            return
        self._drop_unfinished_request()
        self._dropped_at = time.monotonic()
        self.lingers_until = self._dropped_at + LINGER_SECONDS
        self.drop()

    def drop(self) -> None:
        """Drop what has arrived. Close the connection at its end."""
        for _ in range(_DROPS):
            try:
                size = len(self.socket.recv(_DROP_SIZE))
            except BlockingIOError:
                return
            except OSError:
                size = 0
            self._drop_limit -= size
            if not size or self._drop_limit < 0:
                self.handle_close()
                return
            self._dropped_at = self._active_at = time.monotonic()

    def _drop_unfinished_request(self) -> None:
        request, self.request = self.request, None
        if request is not None:
            request.close()


def _has_hung_up(sock: socket.socket) -> bool:
    """Whether *sock* is reset, or is a unix socket whose other end is closed. On Windows that is not known."""
    if not hasattr(select, "poll"):
        return False
    poller = select.poll()
    poller.register(sock, 0)  # POLLHUP and POLLERR are reported in any case
    return bool(poller.poll(0))
