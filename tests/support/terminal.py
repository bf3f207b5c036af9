"""A program in a terminal of its own, whose screen a test can read: a pseudo-terminal, drawn by pyte."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyte

_SECONDS = 30.0
# A process gets SIGWINCH and Ctrl+C from the terminal that it has taken.
_TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)


class Terminal:
    """The terminal of a running *process*, with its *screen*."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int, columns: int, rows: int) -> None:
        self.process = process
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self._descriptor = descriptor

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def press(self, keys: str) -> None:
        os.write(self._descriptor, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        """Change the size; the kernel sends SIGWINCH."""
        self.screen.resize(rows, columns)
        _set_size(self._descriptor, columns, rows)

    def wait_for(self, condition: str | Callable[[], bool]) -> None:
        """Wait until the screen has the text, or fulfils the condition."""
        deadline = time.monotonic() + _SECONDS
        while not (condition in self.text if isinstance(condition, str) else condition()):
            assert time.monotonic() < deadline, f"{condition!r} does not come:\n{self.text}"
            if not self._read(0.05) and self.process.poll() is not None:
                assert condition in self.text if isinstance(condition, str) else condition(), self.text

    def wait_end(self) -> int:
        """Wait for the end of the process; return its exit code."""
        deadline = time.monotonic() + _SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.text
            self._read(0.05)
        while self._read(0):
            pass
        return self.process.returncode

    def _read(self, seconds: float) -> bool:
        if not select.select([self._descriptor], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._descriptor, 65_536)
        except OSError:  # the process has closed its end
            return False
        self._stream.feed(data)
        return bool(data)


@contextmanager
def terminal(
    *arguments: str, cwd: Path, env: Mapping[str, str] | None = None, columns: int = 80, rows: int = 24
) -> Iterator[Terminal]:
    """Run ``mountpoint`` with *arguments* in a terminal, and end it afterwards."""
    ours, theirs = pty.openpty()
    _set_size(theirs, columns, rows)
    process = subprocess.Popen(
        [sys.executable, "-ISc", _TAKE_TERMINAL, sys.executable, "-P", "-m", "mountpoint", *arguments],
        cwd=cwd,
        env={**os.environ, "TERM": "linux", **(env or {})},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours, columns, rows)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
        os.close(ours)


def _set_size(descriptor: int, columns: int, rows: int) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
