"""The app of serving/test_kept_connections.py: responses without a length, by the first segment of the path."""

import time
from io import BytesIO
from pathlib import Path

from app_lint import linted

TEXT = ("Content-Type", "text/plain")
HOLD_TIMEOUT = 60  # seconds


def pieces(environ):
    yield b"one "
    yield b""
    yield b"two"


def empty(environ):
    return iter([])


def cut(environ):
    yield b"one "
    raise RuntimeError("on purpose")


def events(environ):
    """Yield an event, and another one when the test has created the file that the query names."""
    yield b"data: 1\n\n"
    deadline = time.monotonic() + HOLD_TIMEOUT
    while not Path(environ["QUERY_STRING"]).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    yield b"data: 2\n\n"


def file(environ):
    return environ["wsgi.file_wrapper"](BytesIO(b"of a file"))


def written(environ, write):
    write(b"one ")
    write(b"two")
    return []


def written_and_file(environ, write):
    write(b"written ")
    return file(environ)


BODIES = {"pieces": pieces, "empty": empty, "cut": cut, "events": events, "file": file}
STATUSES = {"204": "204 No Content", "304": "304 Not Modified"}


def respond(environ, start_response):
    first, _, second = environ["PATH_INFO"].lstrip("/").partition("/")
    if first in STATUSES:
        start_response(STATUSES[first], [("ETag", '"1"')])
        return BODIES[second](environ) if second else []
    if first == "sse":
        start_response("200 OK", [("Content-Type", "text/event-stream"), ("Connection", "keep-alive")])
        return events(environ)
    write = start_response("200 OK", [TEXT])
    if first in ("written", "written-and-file"):
        return (written if first == "written" else written_and_file)(environ, write)
    return BODIES[first](environ)


#: The validator rejects a body of 204 and 304, and hop-by-hop headers. It hides a file from the server.
app = linted(respond, unlinted=["204", "304", "sse", "file", "written-and-file"])
