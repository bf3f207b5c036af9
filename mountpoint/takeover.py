"""SIGUSR2: a new process takes over the listening sockets, and no connection is refused meanwhile.

The new one is the same command, started afresh: it reads the file and the code as they are now. Both listen on the same
sockets until it says, through a pipe, that it serves; only then does the old one drain. If it ends before, or an app
that works in the old one fails in it, the old one goes on as if nothing had happened.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from .sockets import Bound

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
        self._is_over = False

    def begin(self, bound: Sequence[Bound], working: Iterable[str], done: Callable[[int], object]) -> None:
        """Start the new process; *done* is called with its id, in a thread, when it serves. Returns at once."""
        if self._process is not None or self._is_over:
            pid = self._process.pid if self._process else "the latest one"
            logger.warning("another process is coming up already: %s", pid)
            return
        sockets = [(str(one.address), one.socket.fileno()) for one in bound]
        theirs, ours = os.pipe()
        left = {
            "pid": os.getpid(),
            "sockets": sockets,
            "are_systemds": any(one.is_systemds for one in bound),
            "working": sorted(working),
            "ready": ours,
        }
        # Not argv, which says nothing of options of Python's own.
        command = [sys.executable, *sys.orig_argv[1:]]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the command is our own
                command,
                env={**self._environ, _VARIABLE: json.dumps(left)},
                cwd=self._folder,
                pass_fds=[ours, *(descriptor for _, descriptor in sockets)],
            )
        except OSError as error:
            os.close(theirs)
            logger.error("no new process could be started, this one goes on: %s", error)
            return
        finally:
            os.close(ours)
        logger.info("process %d is coming up, to take over", self._process.pid)
        threading.Thread(target=self._wait, args=(self._process, theirs, done), name="takeover", daemon=True).start()

    def _wait(self, process: subprocess.Popen[bytes], pipe: int, done: Callable[[int], object]) -> None:
        with os.fdopen(pipe, "rb") as reader:
            said = reader.read()
        if said == b"ready":
            done(process.pid)
        else:
            self._ended(process)

    def _ended(self, process: subprocess.Popen[bytes]) -> None:
        logger.error("process %d ended with exit code %d; this one goes on", process.pid, process.wait())
        self._process = None

    def complete(self) -> bool:
        """Let the new process, which serves, be the one; return False if it has ended since."""
        process = self._process
        if process is None or process.poll() is not None:
            if process is not None:
                self._ended(process)
            return False
        self._is_over = True
        return True

    def give_up(self, why: str) -> None:
        """End the new process, for the reason *why*; this one goes on."""
        process = self._process
        if process is not None:
            logger.error("process %d is not to take over: %s", process.pid, why)
            process.terminate()
            self._ended(process)

    def cancel(self) -> None:
        """End a process that is still coming up: this one was told to stop, and that one is not to stay."""
        if self._process is not None and not self._is_over:
            self._process.terminate()
