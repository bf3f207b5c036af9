"""One worker process of a mount, from its start to its end.

The thread that supervises the workers calls all methods, except that `connect` is called in any thread, under the lock
of the pool.
"""

from __future__ import annotations

import sys

assert sys.platform != "win32"  # `processes` imports this module elsewhere only

import json
import logging
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ..config.reader import MountConfig
from ..errors import LoadError
from ..loading.app_facts import AppFacts
from . import frames
from .connection import Connection
from .launch import launch
from .output import OutputReader
from .report import resident_bytes

_EXIT_SECONDS = 1.0  # between the end of the first connection and that of the process
_OUTPUT_SECONDS = 0.5  # for which the end of a failed start waits for the last lines of its output
_STACK_SECONDS = 0.5  # for which the server waits for the stack of a thread
_NO_STACKS_SECONDS = 10.0  # for which it asks no more after a worker has not answered

_KINDS = (frames.READY, frames.FAILED, frames.STACK, frames.FILES)

logger = logging.getLogger("mountpoint")


class WorkerConnection(Connection):
    """A connection that knows its *worker*."""

    def __init__(self, worker: Worker, sock: socket.socket, number: int, timeout: float) -> None:
        super().__init__(worker.pid, sock, number, timeout)
        self.worker = worker


class Worker:
    """A worker process of *mount*. Raises `LoadError` if it cannot be started.

    With *is_quiet* the log has only the lines that it writes.

    ``is_ready``   the app is loaded
    ``error``      the app did not load
    ``accepts``    the pool may hand new requests over
    ``has_ended``  the process has ended, and its connections are closed
    """

    def __init__(self, mount: MountConfig, environ: Mapping[str, str], *, is_quiet: bool = False) -> None:
        assert mount.own is not None
        self.mount = mount
        self._own = mount.own
        self._is_quiet = is_quiet
        launched = launch(mount, environ)
        self._process = launched.process
        self._control = launched.control
        self.pid = self._process.pid
        self.started_at = time.monotonic()
        self.ready_at = 0.0  # from `time.monotonic`, 0 until then
        self._python = ""  # its version
        self.error: LoadError | None = None
        self._has_failed = False  # whether the worker has reported that
        self.facts: AppFacts | None = None  # about the app, once it is ready
        self.accepts = False
        self.has_ended = False
        self.in_flight = 0
        self.assigned = 0  # requests so far
        self.max_requests = 0  # after which it is replaced, if the mount replaces it at all
        self.idle: list[WorkerConnection] = []
        self.connections: set[WorkerConnection] = set()
        self.load_stack = ""  # where the main thread is, once `ask_where_it_loads` has its answer
        self.kill_at = 0.0  # from `time.monotonic`; 0 while it is not ended
        self.reason = ""  # why it is replaced or ended, in a few words
        self._is_stopped = False
        self._control_data = b""
        self._ends_since = 0.0  # from `time.monotonic`: a connection was closed there; 0 before that
        self._control_lock = threading.Lock()
        self._numbers = 0
        self._stacks: dict[int, str | None] = {}  # those that were asked for, None until they come
        self._stacks_to_come = 0
        self._files_to_come = 0
        self._files: list[str] = []
        self._no_stacks_until = 0.0  # from `time.monotonic`
        self._stack_came = threading.Condition()
        self._ended = threading.Event()
        try:
            self._output = OutputReader(mount.key, launched.output, lambda: self.has_ended, self._log_end)
        except (RuntimeError, MemoryError) as error:  # the system or the container allows no more threads
            launched.abandon()
            raise LoadError(f"its worker cannot be started: {error}") from None

    @property
    def is_ready(self) -> bool:
        return self.ready_at > 0

    def fileno(self) -> int:
        """Return the descriptor of the control socket, -1 once either end is closed."""
        return -1 if self._ends_since else self._control.fileno()

    @property
    def is_changing(self) -> bool:
        """Whether the process starts or ends."""
        return not self.is_ready or self.kill_at > 0 or self._ends_since > 0

    # ------------------------------------------------------------------------------------------------------- requests

    def connect(self) -> WorkerConnection:
        """Return a new connection. Raises OSError if the worker has ended or takes none."""
        ours, theirs = socket.socketpair()
        for sock in (ours, theirs):  # so that a frame fits, and its sender need not wait; the kernel may allow less
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * frames.MAX_PIECE)
        self._numbers += 1
        try:
            with theirs:
                self._send(frames.CONNECT, self._numbers, theirs)
        except OSError:
            ours.close()
            raise
        connection = WorkerConnection(self, ours, self._numbers, self._own.timeout)
        self.connections.add(connection)
        return connection

    def stack(self, number: int) -> str:
        """Return the stack of the thread that serves connection *number*."""
        missing = f"(worker {self.pid} does not report its stack: it computes in C, or is stopped)"
        with self._stack_came:
            if time.monotonic() < self._no_stacks_until:  # the loop may be what asks, and must not wait for each thread
                return missing
            self._stacks[number] = None
            self._stacks_to_come += 1
            try:
                self._send(frames.STACK, number)
            except OSError:
                self._stacks.pop(number, None)
                return f"(worker {self.pid} has ended)"
            self._stack_came.wait_for(lambda: self._stacks.get(number, "") is not None, _STACK_SECONDS)
            stack = self._stacks.pop(number, None)
            if stack is None:
                self._no_stacks_until = time.monotonic() + _NO_STACKS_SECONDS
                return missing
            return stack or f"(worker {self.pid} has not begun it)"

    def ask_where_it_loads(self) -> None:
        """Ask for the stack of the main thread, without waiting for it."""
        with self._stack_came, suppress(OSError):
            self._stacks_to_come += 1
            self._send(frames.STACK, 0)

    def ask_for_files(self) -> None:
        """Ask for the files of the modules that the process has imported since the last time."""
        if self.is_ready and not self._files_to_come:
            with suppress(OSError):
                self._send(frames.FILES, 0)
                self._files_to_come += 1

    def take_files(self) -> list[str]:
        """Return the files of modules that have been reported since the last call, or whose change may repair it."""
        files, self._files = self._files, []
        return files

    def close_idle(self) -> None:
        """Close the connections without a request."""
        for connection in self.idle:
            self.connections.discard(connection)
            connection.close()
        self.idle.clear()

    def close_in_child(self) -> None:
        """Close the descriptors in a child that an app of this process has forked."""
        self._control.close()
        self._output.close_in_child()
        for connection in [*self.connections]:
            connection.close()

    def _send(self, kind: bytes, number: int, sock: socket.socket | None = None) -> None:
        message = frames.MESSAGE.pack(kind, number)
        ancillary = []
        if sock is not None:
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", sock.fileno()))]
        with self._control_lock:  # a message is far smaller than the buffer of a socket, so it is sent as a whole
            if self._control.sendmsg([message], ancillary, socket.MSG_DONTWAIT) != len(message):
                raise BlockingIOError

    # ----------------------------------------------------------------------------------------------------- supervision

    def read_control(self) -> None:
        """Handle the messages that have come on the control socket."""
        try:
            data = self._control.recv(65_536, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.expect_end()
            return
        self._control_data += data
        while len(self._control_data) >= frames.FRAME.size:
            kind, length = frames.FRAME.unpack_from(self._control_data)
            if kind not in _KINDS or length > frames.MAX_CONTROL:
                self.kill(f"it has sent a message {kind!r} of {length} bytes")
                return
            end = frames.FRAME.size + length
            if len(self._control_data) < end:
                return
            payload, self._control_data = self._control_data[frames.FRAME.size : end], self._control_data[end:]
            try:
                self._handle(kind, json.loads(payload))
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
                self.kill(f"it has sent a message that is not one: {error!r}")
                return

    def _handle(self, kind: bytes, fields: Any) -> None:
        """Handle a message. A message that the server does not expect raises ValueError, or a worker could flood it."""
        if kind == frames.STACK:
            with self._stack_came:
                self._stacks_to_come -= 1
                if self._stacks_to_come < 0:
                    raise ValueError("the server has not asked for a stack")
                if fields["number"] == 0:
                    self.load_stack = str(fields["stack"])[: frames.MAX_TEXT]
                if fields["number"] in self._stacks:  # else nothing waits for it any longer
                    self._stacks[fields["number"]] = str(fields["stack"])[: frames.MAX_TEXT]
                    self._stack_came.notify_all()
            return
        if kind == frames.FILES:
            self._files_to_come -= 1
            if self._files_to_come < 0:
                raise ValueError("the server has not asked for files")
            self._files += [str(file) for file in fields["files"][: frames.MAX_FILES]]
            return
        if self.is_ready or self._has_failed:
            raise ValueError("the app is loaded, or has failed to load, already")
        if kind == frames.FAILED:
            self._has_failed = True
            files = [str(file) for file in fields["files"]]
            self._files += files
            self.error = self.error or LoadError(str(fields["message"]), details=str(fields["details"]), files=files)
            return
        self._python = ".".join(str(int(number)) for number in fields["python"][:3])
        self.facts = AppFacts.from_fields(fields["facts"]) if "facts" in fields else None
        self.ready_at = time.monotonic()
        self.accepts = self.error is None
        if not self._is_quiet:
            self.announce()

    def announce(self) -> None:
        """Log that the app is loaded, and the end of the process when it comes."""
        self._is_quiet = False
        if self.is_ready:
            seconds = self.ready_at - self.started_at
            logger.info(
                "%s: worker %d is ready after %.1f s, Python %s", self.mount.key, self.pid, seconds, self._python
            )

    def expect_end(self) -> None:
        """Take no new requests: the process has closed a connection, so it has ended, or is about to."""
        self.accepts = False
        self._ends_since = self._ends_since or time.monotonic()

    def poll(self) -> bool:
        """Return whether the process has ended. Then all of its connections end too, and its children if it died."""
        if not self.has_ended and self._has_exited():
            self.accepts = False
            self.has_ended = True
            self._ended.set()
            self._control.close()
            for connection in [*self.connections]:
                connection.shut_down()
        elif self._ends_since and time.monotonic() - self._ends_since > _EXIT_SECONDS:
            self.kill("it has closed a connection to the server")
        return self.has_ended

    def _has_exited(self) -> bool:
        with suppress(ChildProcessError):  # an app has called os.waitpid(-1, 0)
            if not self._is_stopped and os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                self._kill_group()  # before its id is free
        return self._process.poll() is not None

    def _kill_group(self) -> None:
        """Kill the process and its children, except those that have made a session or a process group of their own."""
        with suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)

    def expire(self, now: float) -> bool:
        """Give up the requests whose time is over at *now*; return whether there was one."""
        return max((connection.expire(now) for connection in [*self.connections]), default=False)

    def resident_bytes(self) -> int:
        """Return the resident memory of the process, 0 where it is not known."""
        return resident_bytes(self.pid) or 0

    def retire(self, reason: str) -> None:
        """Take no new requests. The process has ``grace`` seconds for those in flight."""
        self.accepts = False
        if not self.kill_at:
            self.reason = reason
            self.kill_at = time.monotonic() + self._own.grace

    def stop_if_idle(self) -> None:
        """Have a retired process end in order once it serves no request, and kill it at the end of its time."""
        if self.has_ended:
            return
        now = time.monotonic()
        if now >= self.kill_at:
            self._kill()
        elif not self.in_flight and not self._is_stopped:
            self._is_stopped = True
            self.kill_at = now + self._own.grace
            try:
                self._send(frames.STOP, 0)
            except OSError:
                self._kill()

    def kill(self, reason: str) -> None:
        """End the process at once."""
        self.accepts = False
        self.reason = self.reason or reason
        self._kill()

    def _kill(self) -> None:
        if self._process.poll() is None:
            self._kill_group()

    def join_output(self, timeout: float) -> None:
        """Wait until the last line of the process is in the log."""
        self._output.join(timeout)

    def start_error(self) -> LoadError:
        """Return why a process that has ended was never ready."""
        if self.error is not None:
            return self.error
        self._output.join(_OUTPUT_SECONDS)
        return LoadError(
            f"its worker ended before it was ready, {self._how_it_ended()}", details="\n".join(self._output.tail())
        )

    def _how_it_ended(self) -> str:
        code: int = self._process.returncode
        return f"exit code {code}" if code >= 0 else _signal_name(-code)

    def _log_end(self) -> None:
        """Log how the process has ended. Called once its output has ended."""
        self._ended.wait()
        if self._is_quiet:
            return
        lived = time.monotonic() - self.started_at
        how = self._how_it_ended()
        if self.kill_at or self._is_stopped:
            logger.info("%s: worker %d ended after %.1f s, %s: %s", self.mount.key, self.pid, lived, how, self.reason)
        elif self.is_ready:
            lines = "\n".join(f"  {line}" for line in self._output.tail())
            told = f"; its last lines on stderr:\n{lines}" if lines else "; it has written nothing to stderr"
            why = f" ({self.reason})" if self.reason else ""
            logger.error("%s: worker %d died after %.1f s: %s%s%s", self.mount.key, self.pid, lived, how, why, told)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
