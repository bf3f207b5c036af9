"""SIGUSR2: a new process takes over the listening sockets, and no connection is refused meanwhile.

The new one is the same command, started afresh: it reads the file and the code as they are now. Both listen on the same
sockets until it says, through a pipe, that it serves; only then does the old one drain. If it ends before, or an app
that works in the old one fails in it, the old one goes on as if nothing had happened.
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
    """What a process has from the one that it takes over from.

    ``sockets``      listening sockets, by the text of their address
    ``are_systemds`` whether systemd has made them
    ``working``      the keys of the mounts whose apps work there
    ``ready``        the descriptor of the pipe through which it is told that this one serves
    """

    sockets: dict[str, list[socket.socket]] = field(default_factory=dict)
    are_systemds: bool = False
    working: frozenset[str] = frozenset()
    ready: int | None = None

    def tell_ready(self) -> None:
        """Tell the old process that this one serves."""
        if self.ready is not None:
            with suppress(OSError):  # it has ended meanwhile
                os.write(self.ready, b"ready")
            os.close(self.ready)
            self.ready = None


def inheritance() -> Inheritance:
    """Return what this process was started with by a `Takeover`; empty if it was not. Apps do not see it."""
    text = os.environ.pop(_VARIABLE, "")
    if sys.platform == "win32" or not text:
        return Inheritance()
    left = json.loads(text)
    if left["pid"] != os.getppid():  # meant for a process in between, which has handed its environment on
        return Inheritance()
    sockets: dict[str, list[socket.socket]] = {}
    for address, descriptor in left["sockets"]:
        os.set_inheritable(descriptor, False)
        sockets.setdefault(address, []).append(socket.socket(fileno=descriptor))
    os.set_inheritable(left["ready"], False)
    return Inheritance(sockets, left["are_systemds"], frozenset(left["working"]), left["ready"])


class Takeover:
    """Starts the process that takes over from this one.

    *environ* and *folder* are those that this process was started with, before apps could change them.
    """

    def __init__(self, environ: Mapping[str, str], folder: Path | None) -> None:
        self._environ = {**environ}
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._is_over = False  # whether no other is to come up
        self._is_complete = False

    def begin(self, bound: Sequence[BoundSocket], working: Iterable[str], done: Callable[[int], object]) -> None:
        """Start the new process; *done* is called with its id, in a thread, when it serves. Returns at once."""
        if self._is_over:
            logger.warning("no new process is started: this one ends already")
            return
        if self._process is not None:
            logger.warning("another process is coming up already: %s", self._process.pid)
            return
        if os.getpid() == 1:
            logger.error("no new process is started: this one is process 1, with which its container would end")
            return
        try:
            theirs, self._process = self._start(bound, working)
        except OSError as error:
            logger.error("no new process could be started, this one goes on: %s", error)
            return
        if self._is_over:  # a signal has come meanwhile
            self._process.terminate()
        logger.info("process %d is coming up, to take over", self._process.pid)
        threading.Thread(target=self._wait, args=(self._process, theirs, done), name="takeover", daemon=True).start()

    def _start(self, bound: Sequence[BoundSocket], working: Iterable[str]) -> tuple[int, subprocess.Popen[bytes]]:
        """Start the new process; return the end of the pipe at which it says that it serves, and the process."""
        theirs, ours = os.pipe()
        sockets = [(str(one.address), one.socket.fileno()) for one in bound]
        left = {
            "pid": os.getpid(),
            "sockets": sockets,
            "are_systemds": any(one.is_systemds for one in bound),
            "working": sorted(working),
            "ready": ours,
        }
        try:
            return (
                theirs,
                subprocess.Popen(  # noqa: S603 - the command is our own
                    [sys.executable, *sys.orig_argv[1:]],  # not argv, which says nothing of options of Python's own
                    env={**self._environ, _VARIABLE: json.dumps(left)},
                    cwd=self._folder,
                    pass_fds=[ours, *(descriptor for _, descriptor in sockets)],
                ),
            )
        except OSError:
            os.close(theirs)
            raise
        finally:
            os.close(ours)

    def _wait(self, process: subprocess.Popen[bytes], pipe: int, done: Callable[[int], object]) -> None:
        try:
            ready = _is_ready(process, pipe)
        finally:
            os.close(pipe)
        if ready:
            done(process.pid)
        else:
            self._ended(process)

    def _ended(self, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        self._process = None  # first: who reads the log may start the next at once
        logger.error("process %d ended with exit code %d; this one goes on", process.pid, code)

    def stands(self) -> bool:
        """Whether the new process, which has come up, is still to take over: it has not ended, nor have we to stop."""
        process = self._process
        if process is not None and process.poll() is not None:
            self._ended(process)
        return self._process is not None and not self._is_over

    def complete(self) -> None:
        """Let the new process be the one."""
        self._is_over = self._is_complete = True

    def give_up(self, why: str) -> None:
        """End the new process, for the reason *why*; this one goes on."""
        process = self._process
        if process is not None:
            logger.error("process %d is not to take over: %s", process.pid, why)
            process.terminate()
            # In a thread: it finishes what it has begun, and we are to serve meanwhile.
            threading.Thread(target=self._ended, args=(process,), name="takeover", daemon=True).start()

    def cancel(self) -> bool:
        """Start no process any more, and end one that is coming up: this one was told to stop, and that one with it.

        Return False if another has taken over.
        """
        if not self._is_over:
            self._is_over = True
            if self._process is not None:
                self._process.terminate()
        return not self._is_complete


def _is_ready(process: subprocess.Popen[bytes], pipe: int) -> bool:
    """Wait until *process* says through *pipe* that it serves, or ends; return which.

    Not until the end of the pipe: a child that an app has forked there has it too, and may outlive its parent.
    """
    if sys.platform == "win32":
        raise NotImplementedError
    poller = select.poll()
    poller.register(pipe, select.POLLIN)
    while not poller.poll(1000):  # milliseconds
        if process.poll() is not None:
            return False
    return os.read(pipe, 16) == b"ready"
