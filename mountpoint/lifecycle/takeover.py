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
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ..server.sockets import BoundSocket
from .inheritance import VARIABLE, identity

HANG_SECONDS = 10.0  # from its start, after which a second signal replaces a successor that does not serve
KILL_SECONDS = 5  # from SIGTERM to SIGKILL, for a successor that was replaced

logger = logging.getLogger("mountpoint")


class Takeover:
    """Starts the successor: the process that takes over from this one.

    *environ* and *folder* are the environment and working folder of this process before apps could change them.
    """

    def __init__(self, environ: Mapping[str, str], folder: Path | None) -> None:
        self._environ = {**environ}
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0  # of the process, from `time.monotonic`
        self._pending: Callable[[], object] | None = None  # starts another process, if this one hangs
        self._is_closed = False  # whether no further successor may start
        self.is_complete = False  # whether a successor has taken over

    def start(
        self,
        bound: Sequence[BoundSocket],
        status: Sequence[BoundSocket],
        working: Iterable[str],
        on_ready: Callable[[int], object],
    ) -> None:
        """Start the successor and return at once.

        When it serves, *on_ready* is called with its process id, in a thread. *bound* are the sockets of the server,
        *status* those of the status page. *working* are the keys of the mounts that
        work in this process.
        """
        if self._is_closed:
            logger.warning("no new process is started: this one is stopping already")
            return
        process = self._process
        if process is not None and process.poll() is not None:
            self._reap(process)
        elif process is not None:
            seconds = time.monotonic() - self._started_at
            if seconds < HANG_SECONDS:
                logger.warning(
                    "another process is coming up already: %d, for %.1f s; if it does not serve %g s after its start, "
                    "a new one replaces it; SIGUSR1 makes it log the place where it is",
                    process.pid,
                    seconds,
                    HANG_SECONDS,
                )
                self._pending = lambda: self.start(bound, status, working, on_ready)
                return
            logger.error("process %d does not serve after %.1f s; a new one replaces it", process.pid, seconds)
            self._process = None
            process.terminate()
        if os.getpid() == 1:
            logger.error("no new process is started: this one is process 1, and its container would end with it")
            return
        try:
            ready_pipe, self._process = self._spawn(bound, status, working)
        except OSError as error:
            logger.error("no new process could be started, this one keeps serving: %s", error)
            return
        process, self._started_at = self._process, time.monotonic()
        if self._is_closed:  # a signal handler called `stop` in between
            self._process.terminate()
        logger.info("process %d is coming up, to take over", self._process.pid)
        arguments = process, ready_pipe, on_ready
        try:
            threading.Thread(target=self._wait, args=arguments, name="takeover", daemon=True).start()
        except (RuntimeError, MemoryError) as error:  # the system or the container allows no more threads
            os.close(ready_pipe)
            process.kill()  # it does not serve yet
            logger.error("process %d cannot be waited for, so it is ended: %s; send SIGUSR2 again", process.pid, error)
            self._reap(process)

    def start_pending(self) -> None:
        """Replace the successor if it hangs and another one was asked for. The loop calls this repeatedly."""
        if self._pending is None:
            return
        if self._process is None:
            self._pending = None  # it has ended, and the log says so
        elif time.monotonic() - self._started_at >= HANG_SECONDS:
            pending, self._pending = self._pending, None
            pending()

    def can_complete(self, pid: int) -> bool:
        """Whether the successor *pid*, which has reported itself ready, runs, and this process was not told to stop."""
        process = self._process
        if process is not None and process.poll() is not None:
            self._reap(process)
        return self._process is not None and self._process.pid == pid and not self._is_closed

    def complete(self) -> None:
        """Record that the successor has taken over."""
        self._is_closed = self.is_complete = True

    def abort(self, reason: str) -> None:
        """End the successor, log the *reason*, and keep this process as the server."""
        process = self._process
        if process is not None:
            logger.error("process %d will not take over: %s", process.pid, reason)
            process.terminate()
            # In a thread: the successor drains first, and this process must serve in the meantime. Without one, the
            # next call of `start` reaps it.
            with suppress(RuntimeError):
                threading.Thread(target=self._reap, args=(process,), name="takeover", daemon=True).start()

    def stop(self) -> None:
        """Start no successor any more, and end one that has not taken over. Safe in a signal handler."""
        if not self._is_closed:
            self._is_closed = True
            if self._process is not None:
                self._process.terminate()

    def _spawn(
        self, bound: Sequence[BoundSocket], status: Sequence[BoundSocket], working: Iterable[str]
    ) -> tuple[int, subprocess.Popen[bytes]]:
        """Start the successor; return the read end of the pipe for its report, and the process."""
        read_end, write_end = os.pipe()
        sockets = [(str(one.address), one.socket.fileno()) for one in (*bound, *status)]
        # The successor may be a newer release: these names must stay as they are.
        fields = {
            "pid": os.getpid(),
            "sockets": sockets,
            "status": len(status),
            "are_systemds": any(one.from_systemd for one in bound),
            "working": sorted(working),
            "ready": write_end,
            "identities": [identity(descriptor) for descriptor in (*(number for _, number in sockets), write_end)],
        }
        try:
            return (
                read_end,
                subprocess.Popen(  # noqa: S603 - the command is our own
                    [sys.executable, *sys.orig_argv[1:]],  # sys.argv lacks the options of Python itself
                    env={**self._environ, VARIABLE: json.dumps(fields)},
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
            is_ready = _wait_until_ready(process, pipe, lambda: self._process is process)
        finally:
            os.close(pipe)
        if is_ready and self._process is process:
            on_ready(process.pid)
        else:
            self._reap(process)

    def _reap(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for the end of *process*, and log it."""
        code = process.wait()
        if self._process is process:
            self._process = None  # before the log line: its reader may start the next successor at once
        logger.error("process %d ended with exit code %d; this one keeps serving", process.pid, code)


def working_folder() -> Path | None:
    """Return the working folder of this process, None if it has been deleted."""
    try:
        return Path.cwd()
    except OSError:
        return None


def _wait_until_ready(process: subprocess.Popen[bytes], pipe: int, is_wanted: Callable[[], bool]) -> bool:
    """Wait for the report of *process* in *pipe*; return False if the process ends without one.

    Once *is_wanted* is false, the process has been told to end, and is killed if it does not.

    The end of file does not tell: a child that an app has forked holds the pipe open, and may outlive its parent.
    """
    if sys.platform == "win32":
        raise NotImplementedError
    poller = select.poll()
    poller.register(pipe, select.POLLIN)
    unwanted_seconds = 0
    while not poller.poll(1000):  # milliseconds
        if process.poll() is not None:
            return False
        if not is_wanted():
            unwanted_seconds += 1
            if unwanted_seconds > KILL_SECONDS:
                process.kill()
    return os.read(pipe, 16) == b"ready"
