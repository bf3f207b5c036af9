"""The commands that ask a running server, as child processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from support.waiting import TIMEOUT


def mountpoint(*arguments: object, **options) -> subprocess.CompletedProcess[str]:
    """Run ``mountpoint`` with *arguments* and return the finished process."""
    command = [sys.executable, "-m", "mountpoint", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT, **options)


@contextmanager
def running(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run ``mountpoint`` with *arguments* beside the body of the ``with`` statement."""
    command = [sys.executable, "-m", "mountpoint", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
