"""Write logs to a pipe, a terminal or a socket without waiting for its reader.

A write to a full pipe blocks until the program at the other end reads. If that program hangs, each thread that logs a
line would hang with it: all worker threads, then the loop. So `DetachedStream` never waits. A line is written at once
if the pipe takes it. Otherwise it is kept, up to `MAX_PENDING_BYTES`, and one thread writes the kept lines in order
when the pipe takes them. Lines beyond that are dropped and counted, and the count is logged when the pipe moves again.

Regular files do not block, so handlers that write to them stay as they are.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

MAX_PENDING_BYTES = 1 << 20

logger = logging.getLogger("mountpoint")


class DetachedStream:
    """A text stream whose `write` never blocks and whose `flush` does nothing. *stream* has a descriptor.

    It has a descriptor of its own, so it still works after an app has closed ``sys.stderr``.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.encoding = getattr(stream, "encoding", None) or "utf-8"
        self._descriptor = os.dup(stream.fileno())
        self._try_write, self._opened = _writer_without_blocking(self._descriptor)
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.RLock()  # reentrant: a signal handler may log while its thread is in `write`
        self._changed = threading.Condition(self._lock)
        self._pending: deque[bytes] = deque()
        self._pending_bytes = 0
        self._dropped = 0
        self._thread: threading.Thread | None = None

    def write(self, text: str) -> int:
        """Write *text*, keep it for the thread, or drop it. Raises OSError if the reader has gone."""
        self.write_bytes(text.encode(self.encoding, "backslashreplace"))
        return len(text)

    def write_bytes(self, data: bytes) -> int:
        """Do the same with text that is encoded already. Return the length of *data*."""
        length = len(data)
        with self._lock:
            if not self._pending:
                try:
                    data = data[self._try_write(data) :]
                except BlockingIOError:
                    pass
                except OSError as error:
                    if error.errno != errno.EBADF:
                        raise
                    # An app has closed our descriptor, and maybe not this one.
                    self.stream.write(data.decode(self.encoding, "replace"))
                    self.stream.flush()
                    return length
                if not data:
                    return length
            if self._pending and self._pending_bytes + len(data) > MAX_PENDING_BYTES:
                self._dropped += 1
            else:
                self._pending.append(data)
                self._pending_bytes += len(data)
            self._start_thread()
            self._changed.notify_all()
        return length

    def leave_to_parent(self) -> None:
        """In a forked child, write to the original stream, and wait for its reader.

        The descriptors, the thread and the pending lines belong to the parent, which may also have held the lock. A
        child that has closed its stderr must not keep the pipe of the log open.
        """
        self._reset()
        self._try_write = _not_open
        for descriptor in (self._descriptor, *self._opened):
            with suppress(OSError):
                os.close(descriptor)
        self._descriptor, self._opened = -1, ()

    def flush(self) -> None:
        """Do nothing: logging calls this after every line. See `drain`."""

    def fileno(self) -> int:
        """Return the descriptor of the original stream."""
        return int(self.stream.fileno())

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return os.isatty(self._descriptor)

    def drain(self, timeout: float) -> None:
        """Wait up to *timeout* seconds until every kept line is written."""
        deadline = time.monotonic() + timeout
        with self._changed:
            # In short steps: a signal handler cannot interrupt a wait under every version of Python.
            while (self._pending or self._dropped) and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(min(left, 0.05))

    # ------------------------------------------------------------------------------------------- private, in the thread

    def _start_thread(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._write_pending, name="mountpoint-log", daemon=True)
            with suppress(RuntimeError):  # no thread can be started now; the next line tries again
                thread.start()
                self._thread = thread

    def _write_pending(self) -> None:
        while True:
            with self._changed:
                while not self._pending and not self._dropped:
                    self._changed.wait()
                data = self._pending[0] if self._pending else b""
            written = len(data)
            if data:
                with suppress(BlockingIOError):
                    written = _write_when_ready(self._descriptor, data, self._try_write)
            self._remove_pending(written)

    def _remove_pending(self, count: int) -> None:
        """Remove the first *count* bytes. If no line is left, log how many were dropped."""
        with self._changed:
            if self._pending:
                first = self._pending.popleft()
                self._pending_bytes -= count
                if rest := first[count:]:
                    self._pending.appendleft(rest)
            dropped = 0 if self._pending else self._dropped
        if dropped:
            logger.warning("%d lines of the log were dropped, because its reader did not take them", dropped)
        with self._changed:
            self._dropped -= dropped
            self._changed.notify_all()


_streams: dict[tuple[int, int], DetachedStream] = {}  # by device and inode


def detach_streams() -> None:
    """Let no handler of a logger wait for the reader of its stream.

    Call it again when an app may have added handlers. Handlers that write to one pipe share a stream, so their lines
    keep their order.
    """
    for handler in _stream_handlers():
        if not isinstance(handler.stream, DetachedStream) and (detached := detach(handler.stream)):
            handler.stream = detached


def detach(stream: Any) -> DetachedStream | None:
    """Return the detached stream to the pipe, terminal or socket of *stream*; None if it writes to something else."""
    if sys.platform == "win32":  # it has no poll() for pipes
        return None
    with suppress(OSError, ValueError, AttributeError, TypeError):  # such as io.StringIO
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            stream.flush()
            key = status.st_dev, status.st_ino
            return _streams.get(key) or _streams.setdefault(key, DetachedStream(stream))
    return None


def drain_logs(timeout: float = 1.0) -> None:
    """Wait up to *timeout* seconds until every line is written. Call it before the process ends."""
    deadline = time.monotonic() + timeout
    for stream in list(_streams.values()):
        stream.drain(max(deadline - time.monotonic(), 0))


def _stream_handlers() -> Iterable[logging.StreamHandler[Any]]:
    known = list(logging.root.manager.loggerDict.values())
    loggers = [logging.root, *(one for one in known if isinstance(one, logging.Logger))]
    handlers = [handler for one in loggers for handler in one.handlers]
    handlers += [target for handler in handlers if (target := getattr(handler, "target", None))]  # of a MemoryHandler
    return [handler for handler in handlers if isinstance(handler, logging.StreamHandler)]


def _writer_without_blocking(descriptor: int) -> tuple[Callable[[bytes], int], Sequence[int]]:
    """Return a function that writes bytes and returns how many, and the descriptors that it uses beside *descriptor*.

    The function raises BlockingIOError instead of waiting.

    O_NONBLOCK cannot be set on *descriptor*: other processes share it, such as the shell with its terminal.
    """
    if sys.platform == "win32":
        raise NotImplementedError
    if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        sock = socket.socket(fileno=os.dup(descriptor))
        flags = socket.MSG_DONTWAIT | getattr(socket, "MSG_NOSIGNAL", 0)
        return (lambda data: sock.send(data, flags)), ()  # the end of the function closes the socket
    with suppress(OSError):
        # Linux opens the same pipe or terminal again, with flags of its own.
        path = f"/proc/self/fd/{descriptor}"
        again = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        return (lambda data: os.write(again, data)), (again,)
    return _refuse, ()


def _refuse(data: bytes) -> int:
    """Leave every line to the thread, which may wait."""
    raise BlockingIOError


def _not_open(data: bytes) -> int:
    """Leave every line to the original stream."""
    raise OSError(errno.EBADF, "closed in a forked child")


def _write_when_ready(descriptor: int, data: bytes, try_write: Callable[[bytes], int]) -> int:
    """Write *data* as soon as the reader takes bytes, and return how many. If it has gone, they count as written."""
    if sys.platform == "win32":
        raise NotImplementedError
    try:
        if try_write is _refuse:
            return os.write(descriptor, data)
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        poll.poll()
        return try_write(data)
    except BlockingIOError:
        time.sleep(0.01)  # a pipe with less free space than the line needs may count as ready
        return 0
    except OSError:
        return len(data)


def _after_fork_in_child() -> None:
    for stream in list(_streams.values()):
        stream.leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
