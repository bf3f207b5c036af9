"""Child processes of the benchmarks: find a free port, start a server, wait until it listens, end it."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 20  # seconds until a benchmark gives up


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def script(name: str) -> str:
    """Return the path of a console script in this environment."""
    file = Path(sys.executable).with_name(name)
    if not file.exists():
        sys.exit(f"{file} is missing: pip install -e '.[test]' with {sys.executable}")
    return str(file)


@contextmanager
def running(
    command: Sequence[str], folder: str | Path, port: int, path: str | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """Start *command* in *folder* and wait until it listens on *port*; yield the process and the seconds waited.

    With *path*, wait until it answers a request of the path with 200. ``mountpoint serve`` answers 503 while it loads
    its apps.
    """
    with tempfile.TemporaryFile() as log:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        try:
            while not (_listens(port) if path is None else _serves(port, path)):
                if process.poll() is not None or time.perf_counter() - start > PATIENCE:
                    log.seek(0)
                    sys.exit(f"{' '.join(command)} does not serve on port {port}:\n{log.read().decode()}")
                time.sleep(0.0005)
            yield process, time.perf_counter() - start
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _serves(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
