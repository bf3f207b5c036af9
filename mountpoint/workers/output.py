"""The lines that a worker writes to stdout and stderr, in the log, under the key of its mount.

A thread reads the pipes of each worker. It bounds the lines, and how many of them it logs in a second. It reads the
rest slowly and drops it, so a worker that writes without end waits for its own pipe, and the server goes on.
"""

from __future__ import annotations

import sys

assert sys.platform != "win32"  # `processes` imports this module elsewhere only

import logging
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from ..errors import printable

MAX_LINE = 8192  # bytes; a longer line is logged in pieces
MAX_RATE = 1 << 18  # bytes that are logged in a second
_TAIL_LINES = 20
_READ = 65_536
_PAUSE = 0.01  # seconds between two reads beyond the rate
_POLL_SECONDS = 0.2

logger = logging.getLogger("mountpoint.worker")


class OutputReader:
    """A thread that logs what a worker writes to the descriptors *output*, stdout and stderr, and closes them.

    *has_ended* tells whether the worker has ended: a child of it may keep the pipes open for longer. Then *on_end* is
    called, after the last line.
    """

    def __init__(
        self, key: str, output: tuple[int, int], has_ended: Callable[[], bool], on_end: Callable[[], object]
    ) -> None:
        self._key = key
        self._streams = {output[0]: _Stream(logging.INFO), output[1]: _Stream(logging.WARNING)}
        self._stderr = self._streams[output[1]]
        self._has_ended = has_ended
        self._on_end = on_end
        self._second = 0.0
        self._logged = 0  # bytes in this second
        self._dropped = 0  # bytes
        self._thread = threading.Thread(target=self._run, name=f"mountpoint-output {key}", daemon=True)
        self._thread.start()

    def tail(self) -> list[str]:
        """Return the last lines of stderr."""
        return list(self._stderr.tail)

    def join(self, timeout: float) -> None:
        self._thread.join(timeout)

    def close_in_child(self) -> None:
        """Close the descriptors in a forked child, in which the thread does not run."""
        for descriptor in self._streams:
            os.close(descriptor)

    def _run(self) -> None:
        poller = select.poll()
        for descriptor in self._streams:
            poller.register(descriptor, select.POLLIN)
        open_streams = dict(self._streams)
        try:
            while open_streams:
                ended = self._has_ended()  # before the look at the pipes
                events = poller.poll(_POLL_SECONDS * 1000)
                if not events and ended:
                    break
                for descriptor, _ in events:
                    if not self._read(descriptor, open_streams[descriptor]):
                        poller.unregister(descriptor)
                        del open_streams[descriptor]
        finally:
            streams, self._streams = self._streams, {}
            for descriptor, stream in streams.items():
                os.close(descriptor)
                self._log(stream, stream.rest())
            self._report_dropped()
            self._on_end()

    def _read(self, descriptor: int, stream: _Stream) -> bool:
        """Read once; return whether the pipe is still open."""
        try:
            data = os.read(descriptor, _READ)
        except BlockingIOError:
            return True
        now = time.monotonic()
        if now - self._second >= 1:
            self._report_dropped()
            self._second, self._logged = now, 0
        if self._logged > MAX_RATE:
            self._dropped += len(data)
            stream.clear()
            time.sleep(_PAUSE)
        else:
            self._logged += len(data)
            self._log(stream, stream.feed(data))
        return bool(data)

    def _report_dropped(self) -> None:
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self._emit(logging.WARNING, f"{dropped} bytes of output were dropped: more than {MAX_RATE} in a second")

    def _log(self, stream: _Stream, lines: list[str]) -> None:
        for line in lines:
            self._emit(stream.level, line)

    def _emit(self, level: int, line: str) -> None:
        with suppress(Exception):  # a log handler that raises; the pipe must still be read
            logger.log(level, "%s: %s", self._key, line)


class _Stream:
    """The lines of one pipe, which are logged at *level*."""

    def __init__(self, level: int) -> None:
        self.level = level
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._partial = b""

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that *data* completes."""
        *whole, self._partial = (self._partial + data).split(b"\n")
        while len(self._partial) > MAX_LINE:
            whole.append(self._partial[:MAX_LINE])
            self._partial = self._partial[MAX_LINE:]
        return [text for line in whole for text in self._texts(line)]

    def rest(self) -> list[str]:
        """Return the line that has no end."""
        partial, self._partial = self._partial, b""
        return self._texts(partial) if partial else []

    def clear(self) -> None:
        """Drop the line that has no end."""
        self._partial = b""

    def _texts(self, line: bytes) -> list[str]:
        text = line.rstrip(b"\r").decode("utf-8", "backslashreplace")
        # A control character could forge a line of the log, or move the cursor of a terminal.
        text = printable(text, "\t")
        texts = [text[start : start + MAX_LINE] for start in range(0, len(text), MAX_LINE)] or [""]
        self.tail.extend(texts)
        return texts
