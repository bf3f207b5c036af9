"""Write a response: to the kernel at once, or else into a buffer that the loop sends as the client reads.

waitress copies each piece into its buffer and out again, and wakes its loop after each response. Here the worker thread
sends the bytes itself, and wakes the loop only if the kernel does not take them all.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from waitress.buffers import OverflowableBuffer, ReadOnlyFileBasedBuffer
from waitress.channel import ClientDisconnected, HTTPChannel

from .tasks import ResponseCutOff

if TYPE_CHECKING:
    from .parser import Parser

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_MOST_SENT = 1 << 20  # bytes that one call sends: the other connections wait for that long
_PIECE = 262_144  # bytes that are read from a file and sent at once

logger = logging.getLogger("mountpoint")


class WritingChannel(HTTPChannel):
    """A connection that writes as the module says."""

    server: Any
    _fileno: int | None
    socket: Any  # None once it is closed
    requests: list[Parser]  # type: ignore[assignment]  # ours stands in for waitress's parser
    request: Parser | None  # type: ignore[assignment]
    outbufs: list[Any]
    requests_lock: threading.Lock
    outbuf_lock: threading.Condition
    _is_rejected = False  # whether the loop itself answers the first request
    _active_at = 0.0  # from `time.monotonic`, in seconds

    @property
    def last_activity(self) -> float:
        """When the last byte came or left, from `time.monotonic`, in seconds."""
        return self._active_at

    @last_activity.setter
    def last_activity(self, _: float) -> None:
        # waitress assigns the time of the system's clock, and always means now.
        self._active_at = time.monotonic()

    def update_soon(self) -> None:
        """Have the loop send what is pending, close the connection, or read from it again. From any thread."""
        self.server.loop.update_soon(self)

    def write_soon(self, data: Any) -> int:
        """Send *data*, or store it until the client reads, and return its size.

        Raises `ClientDisconnected` if the connection is closed, and `ResponseCutOff` if the disk is full.
        """
        is_file = isinstance(data, ReadOnlyFileBasedBuffer)
        if is_file and self.requests[0].command == "HEAD":
            data.close()  # the loop would close it after the last byte
            return 0
        if not is_file and not data:
            return 0
        size = len(data)
        with self.outbuf_lock:  # the loop must not send from a buffer that holds half of the data
            self._wait_for_client()
            if not self.connected:
                raise ClientDisconnected
            had_output = self.total_outbufs_len
            try:
                if is_file:
                    self._store_file(data)
                    self._flush_exception(self._flush_some, do_close=False)  # type: ignore[attr-defined]
                elif had_output:
                    self._store(data)
                elif (sent := self._send(data)) < size:
                    self._store(data[sent:])
            except OSError as error:
                self._cut_off(error)
                raise ResponseCutOff from error
            if (self.total_outbufs_len and not had_output) or self.will_close:
                self.update_soon()  # with output from before, the loop already watches
        return size

    def send_continue(self) -> None:
        """Send 100 (Continue). From any thread: the loop closes the connection if the client has gone."""
        assert self.request is not None
        self.request.expect_continue = False
        self.sent_continue = True
        with self.outbuf_lock:
            if self.connected:
                self._store(_CONTINUE)
                self._flush_exception(self._flush_some, do_close=False)  # type: ignore[attr-defined]
                if self.total_outbufs_len:
                    self.update_soon()

    def _wait_for_client(self) -> None:
        """Wait until the client has read enough for more output to be stored. The loop sends, and must not wait."""
        while self.connected and self.total_outbufs_len > self.adj.outbuf_high_watermark and not self._is_rejected:
            self.outbuf_lock.wait()

    def _send(self, data: bytes) -> int:
        """Return how many bytes of *data* the kernel has taken. After an error the loop closes the connection."""
        try:
            sent: int = self.socket.send(data)
        except BlockingIOError:
            return 0
        except OSError:  # the client has gone
            self.will_close = True
            return len(data)
        self._active_at = time.monotonic()
        return sent

    def _store(self, data: bytes) -> None:
        if self.current_outbuf_count >= self.adj.outbuf_high_watermark:
            self._add_buffer()  # a buffer in a file keeps the bytes that have been sent
        self.outbufs[-1].append(data)
        self.current_outbuf_count += len(data)
        self.total_outbufs_len += len(data)

    def _store_file(self, file: ReadOnlyFileBasedBuffer) -> None:
        self.outbufs.append(file)
        self.total_outbufs_len += len(file)
        self._add_buffer()

    def _add_buffer(self) -> None:
        self.outbufs.append(OverflowableBuffer(self.adj.outbuf_overflow))
        self.current_outbuf_count = 0

    def _cut_off(self, error: OSError) -> None:
        logger.error("cut off: no room to store the response: %s: %s", self.description, error)
        for buffer in self.outbufs:
            with suppress(OSError):  # the file cannot write its last bytes
                buffer.close()
        self.outbufs = [OverflowableBuffer(self.adj.outbuf_overflow)]
        self.total_outbufs_len = 0
        self.connected = False
        self.will_close = True
        self.update_soon()

    def _flush_some(self, do_close: bool = True) -> bool:
        """Send stored output, `_MOST_SENT` bytes or a little more, and return whether the kernel took any of it.

        waitress sends until the kernel takes no more. With a client that reads as fast, the loop would do nothing else.
        """
        sent = 0
        with self.outbuf_lock:  # waitress takes none if no request runs, but a thread may send "100 Continue"
            while True:
                buffer = self.outbufs[0]
                if not buffer.__len__():  # `len` fails above 2 GiB on 32 bits
                    if len(self.outbufs) == 1:
                        break
                    self._close_buffer(self.outbufs.pop(0))
                    continue
                if sent >= _MOST_SENT:
                    break
                size: int = self.send(buffer.get(min(self.sendbuf_len, _PIECE)), do_close=do_close)
                if not size:
                    break
                buffer.skip(size, True)
                self.total_outbufs_len -= size
                sent += size
        if sent:
            self._active_at = time.monotonic()
        return bool(sent)

    def _close_buffer(self, buffer: Any) -> None:
        try:
            buffer.close()
        except Exception:  # of a file of the app
            logger.exception("a file that was sent could not be closed")

    @property
    def description(self) -> str:
        """The request or response in progress, for a line of the log."""
        for request in self.requests[:1]:  # no index: another thread may empty the list
            return f"{request.request_line!r} of {self.addr[0]}, {request.origin}"
        progress = "an incomplete request" if self.request else "a response that was not sent completely"
        return f"{progress}, of {self.addr[0]}"
