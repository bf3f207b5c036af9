"""The app of serving/test_stuck_clients.py: responses larger than the sockets and the server hold together."""

import io
import time
from pathlib import Path

from app_lint import linted

LARGE = 64 << 20  # bytes
MIDDLE = 24 << 20  # bytes: more than the kernel takes, and than waitress's outbuf_high_watermark


def respond(environ, start_response):
    route, _, argument = environ["PATH_INFO"].lstrip("/").partition("/")
    if route == "large":
        return large(environ, start_response, argument)
    if route in ("file", "truncated"):
        ok(start_response, LARGE)
        with Path(route).open("ab") as file:
            file.truncate(LARGE)  # leaves a file of that size as it is
        return environ["wsgi.file_wrapper"](Path(route).open("rb"))
    if route == "far":
        ok(start_response, MIDDLE)
        return environ["wsgi.file_wrapper"](Far(environ, argument))
    if route == "middle":
        ok(start_response, MIDDLE)
        return (bytes(1 << 20) for _ in range(MIDDLE >> 20))
    if route == "paused":
        return paused(environ, start_response, argument)
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)) or b"ok"
    ok(start_response, len(body))
    return [body]


def ok(start_response, length=None):
    lengths = [] if length is None else [("Content-Length", str(length))]
    start_response("200 OK", [("Content-Type", "text/plain"), *lengths])


class Far(io.BytesIO):
    """A file on a slow disk, with seek and tell: its second half comes when the test creates the file *name*."""

    def __init__(self, environ, name):
        super().__init__(bytes(MIDDLE))
        self._environ, self._name = environ, name

    def read(self, size=-1):
        if self.tell() > MIDDLE // 2 and not Path(self._name).exists():
            say(self._environ, "far away")
            while not Path(self._name).exists():
                time.sleep(0.01)
        return super().read(size)


def large(environ, start_response, how):
    ok(start_response, LARGE if how == "sized" else None)
    say(environ, "begun")
    try:
        for _ in range(LARGE >> 16):
            yield bytes(1 << 16)
    finally:
        say(environ, "generator closed")


def paused(environ, start_response, name):
    ok(start_response, 2)
    yield b"1"
    say(environ, "paused")
    while not Path(name).exists():
        time.sleep(0.01)
    yield b"2"


def say(environ, text):
    environ["wsgi.errors"].write(f"{text}\n")
    environ["wsgi.errors"].flush()


app = linted(respond, unlinted=["file", "truncated", "far"])  # the server sends these files itself


def app_at_prefix(environ, start_response):
    """Serve `app` below /app under a server that does not know mountpoint."""
    environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix("/app")
    return app(environ, start_response)
