"""SIGUSR2: a new process takes over the listening sockets, and no connection is refused.

The new process runs the same command, so it reads the table and the code as they are now. Both processes listen on the
same sockets until the new one reports through a pipe that it serves. Only then does the old one drain. If the new
process ends before, or if an app fails in it that works in the old one, the old one keeps serving.
"""

from __future__ import annotations

import json
import logging
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..server.sockets import BoundSocket

_VARIABLE = "MOUNTPOINT_TAKEOVER"

logger = logging.getLogger("mountpoint")


@dataclass(slots=True)
class Inheritance:
    """The things that a process receives from the one that it takes over from.

    ``sockets``         listening sockets, by the text of their address
    ``from_systemd``    whether systemd has bound them
    ``working_mounts``  the keys of the mounts whose apps work in the old process
    ``ready_pipe``      the descriptor for the report that this process serves
    """

    sockets: dict[str, list[socket.socket]] = field(default_factory=dict)
    from_systemd: bool = False
    working_mounts: frozenset[str] = frozenset()
    ready_pipe: int | None = None

    def notify_ready(self) -> None:
        """Report to the old process that this one serves."""
        if self.ready_pipe is not None:
            with suppress(OSError):  # the old process has ended
                os.write(self.ready_pipe, b"ready")
            os.close(self.ready_pipe)
            self.ready_pipe = None


def read_inheritance() -> Inheritance:
    """Return the inheritance from a `Takeover`, empty if none started this process.

    Removes its variable from the environment, so that apps do not see it.
    """
    text = os.environ.pop(_VARIABLE, "")
    if sys.platform == "win32" or not text:
        return Inheritance()
    fields = json.loads(text)
    if fields["pid"] != os.getppid():  # meant for a process in between, which passed its environment on
        return Inheritance()
    sockets: dict[str, list[socket.socket]] = {}
    for address, descriptor in fields["sockets"]:
        os.set_inheritable(descriptor, False)
        sockets.setdefault(address, []).append(socket.socket(fileno=descriptor))
    os.set_inheritable(fields["ready"], False)
    return Inheritance(sockets, fields["are_systemds"], frozenset(fields["working"]), fields["ready"])


class Takeover:
    """Starts the successor: the process that takes over from this one.

    *environ* and *folder* are the environment and working folder of this process before apps could change them.
    """

    def __init__(self, environ: Mapping[str, str], folder: Path | None) -> None:
        self._environ = {**environ}
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._is_closed = False  # whether no further successor may start
        self.is_complete = False  # whether a successor has taken over

    def start(self, bound: Sequence[BoundSocket], working: Iterable[str], on_ready: Callable[[int], object]) -> None:
        """Start the successor and return at once.

        When it serves, *on_ready* is called with its process id, in a thread. *working* are the keys of the mounts that
        work in this process.
        """
        if self._is_closed:
            logger.warning("no new process is started: this one is stopping already")
            return
        if self._process is not None:
            logger.warning("another process is coming up already: %s", self._process.pid)
            return
        if os.getpid() == 1:
            logger.error("no new process is started: this one is process 1, and its container would end with it")
            return
        try:
            ready_pipe, self._process = self._spawn(bound, working)
        except OSError as error:
            logger.error("no new process could be started, this one keeps serving: %s", error)
            return
        if self._is_closed:  # a signal handler called `stop` in between
            self._process.terminate()
        logger.info("process %d is coming up, to take over", self._process.pid)
        arguments = self._process, ready_pipe, on_ready
        threading.Thread(target=self._wait, args=arguments, name="takeover", daemon=True).start()

    def can_complete(self) -> bool:
        """Whether the successor that has reported itself ready still runs, and this process was not told to stop."""
        process = self._process
        if process is not None and process.poll() is not None:
            self._reap(process)
        return self._process is not None and not self._is_closed

    def complete(self) -> None:
        """Record that the successor has taken over."""
        self._is_closed = self.is_complete = True

    def abort(self, reason: str) -> None:
        """End the successor, log the *reason*, and keep this process as the server."""
        process = self._process
        if process is not None:
            logger.error("process %d will not take over: %s", process.pid, reason)
            process.terminate()
            # In a thread: the successor drains first, and this process must serve in the meantime.
            threading.Thread(target=self._reap, args=(process,), name="takeover", daemon=True).start()

    def stop(self) -> None:
        """Start no successor any more, and end one that has not taken over. Safe in a signal handler."""
        if not self._is_closed:
            self._is_closed = True
            if self._process is not None:
                self._process.terminate()

    def _spawn(self, bound: Sequence[BoundSocket], working: Iterable[str]) -> tuple[int, subprocess.Popen[bytes]]:
        """Start the successor; return the read end of the pipe for its report, and the process."""
        read_end, write_end = os.pipe()
        sockets = [(str(one.address), one.socket.fileno()) for one in bound]
        # The successor may be a newer release: these names must stay as they are.
        fields = {
            "pid": os.getpid(),
            "sockets": sockets,
            "are_systemds": any(one.from_systemd for one in bound),
            "working": sorted(working),
            "ready": write_end,
        }
        try:
            return (
                read_end,
                subprocess.Popen(  # noqa: S603 - the command is our own
                    [sys.executable, *sys.orig_argv[1:]],  # sys.argv lacks the options of Python itself
                    env={**self._environ, _VARIABLE: json.dumps(fields)},
                    cwd=self._folder,
                    pass_fds=[write_end, *(descriptor for _, descriptor in sockets)],
                ),
            )
        except OSError:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)

    def _wait(self, process: subprocess.Popen[bytes], pipe: int, on_ready: Callable[[int], object]) -> None:
        try:
            is_ready = _wait_until_ready(process, pipe)
        finally:
            os.close(pipe)
        if is_ready:
            on_ready(process.pid)
        else:
            self._reap(process)

    def _reap(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for the end of *process*, and log it."""
        code = process.wait()
        self._process = None  # before the log line: its reader may start the next successor at once
        logger.error("process %d ended with exit code %d; this one keeps serving", process.pid, code)


def _wait_until_ready(process: subprocess.Popen[bytes], pipe: int) -> bool:
    """Wait for the report of *process* in *pipe*; return False if the process ends without one.

    End of file is not a reliable sign: a child that an app has forked holds the pipe open, and may outlive its parent.
    """
    if sys.platform == "win32":
        raise NotImplementedError
    poller = select.poll()
    poller.register(pipe, select.POLLIN)
    while not poller.poll(1000):  # milliseconds
        if process.poll() is not None:
            return False
    return os.read(pipe, 16) == b"ready"
