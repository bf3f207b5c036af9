"""An HTTP client on a raw socket, which can send half a request, several at once, or bytes that are not HTTP."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import time
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from support.response import Response
from support.waiting import TIMEOUT

APPS = Path(__file__).parent / "apps"


def app_file(name: str) -> str:
    """Return the path of an app in `support.apps`, as a mount table writes it."""
    return (APPS / f"{name}.py").as_posix()


PROBE = app_file("probe")
#: A table with the app of probe.py.
TABLE = f"""
[mounts]
"/app" = "{PROBE}:app"
"""


def table(**server: object) -> str:
    """Return `TABLE` with the keys *server* in the section ``[server]``."""
    lines = (f"{key} = {json.dumps(value)}" for key, value in server.items())  # a value in JSON is TOML too
    return "\n".join(["[server]", *lines, TABLE])


class Client:
    """A connection to ``http://host:port`` or ``unix:/path``. A small *buffer* holds few unread bytes."""

    def __init__(self, url: str, *, buffer: int | None = None) -> None:
        unix = url.startswith("unix:")
        parts = urlsplit(url)
        self.host = "localhost" if unix else parts.netloc
        family = socket.AF_UNIX if unix else socket.AF_INET6 if "[" in parts.netloc else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self.socket.settimeout(TIMEOUT)
            if buffer:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            self.socket.connect(url.removeprefix("unix:") if unix else (parts.hostname, parts.port))
        except BaseException:
            self.socket.close()
            raise
        self._file = self.socket.makefile("rb", buffering=8192)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def reset(self) -> None:
        """Close with RST, as a client that was killed does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def send(self, data: bytes | str) -> None:
        """Send *data* unchanged; a string is encoded as Latin-1."""
        self.socket.sendall(data.encode("latin-1") if isinstance(data, str) else data)

    def request(self, path: str, *headers: str, method: str = "GET", body: bytes = b"", version: str = "1.1") -> None:
        """Send a request with *headers*, each a whole line, after the header Host."""
        lines = [f"{method} {path} HTTP/{version}", f"Host: {self.host}", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def pipeline(self, *paths: str) -> None:
        """Send a GET request for each of *paths*, all at once."""
        self.send("".join(f"GET {path} HTTP/1.1\r\nHost: {self.host}\r\n\r\n" for path in paths))

    def head(self) -> tuple[int, http.client.HTTPMessage]:
        """Read the status line and the headers of a response. Raises ConnectionError if the connection ends first."""
        line = self._file.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError(f"closed after {line!r} of a response")
        return int(line.split()[1]), http.client.parse_headers(self._file)

    def body(self, headers: http.client.HTTPMessage) -> bytes:
        """Read the body of a response with *headers*. Raises ConnectionError if the connection ends first."""
        if headers["Transfer-Encoding"] == "chunked":
            body = bytearray()
            while size := int(self._line(), 16):
                body += self._exactly(size)
                self._line()
            self._line()
            return bytes(body)
        return self._exactly(int(headers.get("Content-Length", 0)))

    def answer(self, *, bodiless: bool = False) -> Response:
        """Read a response, without a body if *bodiless*. Raises ConnectionError if the connection ends first."""
        status, headers = self.head()
        return Response(status, headers, b"" if bodiless else self.body(headers))

    def get(self, path: str, *headers: str) -> Response:
        self.request(path, *headers)
        return self.answer()

    def read_to_end(self) -> bytes:
        """Return all bytes until the server closes the connection."""
        return self._file.read()

    def is_closed(self) -> bool:
        """Wait for the next byte or the end of the connection. Return whether it was the end."""
        try:
            return self._file.read(1) == b""
        except ConnectionError:
            return True

    def _line(self) -> bytes:
        line = self._file.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError("closed within a response")
        return line

    def _exactly(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise ConnectionError(f"closed after {len(data)} bytes of a body of {size}")
        return data


def wait_until_refused(url: str) -> None:
    """Connect repeatedly until the address refuses a connection."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        try:
            Client(url).close()
        except (ConnectionRefusedError, FileNotFoundError):
            return
        except ConnectionResetError:
            continue
    raise AssertionError(f"{url} still accepts connections")
