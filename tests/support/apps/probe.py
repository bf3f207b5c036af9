"""The app behind most tests of the server. The path selects a response; a file in the working folder lets it go on."""

import hashlib
import json
import time
from pathlib import Path

from app_lint import linted

HOLD_TIMEOUT = 60  # seconds
CHUNK = 65_536


def respond(environ, start_response):
    route, _, argument = environ["PATH_INFO"].lstrip("/").partition("/")
    return ROUTES.get(route, echo)(environ, start_response, argument)


def plain(start_response, body, status="200 OK"):
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def echo(environ, start_response, _):
    """Respond with the strings in environ, as JSON."""
    body = json.dumps({key: value for key, value in environ.items() if isinstance(value, str)}).encode()
    return plain(start_response, body)


def hold(environ, start_response, name):
    """Log that the request is held, and respond when the test has created the file *name*."""
    wait_for(environ, name)
    return plain(start_response, f"held {name}".encode())


def hold_half(environ, start_response, name):
    """Send one half of the body, and the other half when the test has created the file *name*."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    yield b"1"
    wait_for(environ, name)
    yield b"2"


def wait_for(environ, name):
    say(environ, f"holding {name}")
    deadline = time.monotonic() + HOLD_TIMEOUT
    while not Path(name).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    say(environ, f"released {name}")


def say(environ, text):
    environ["wsgi.errors"].write(f"{text}\n")
    environ["wsgi.errors"].flush()


def sized(_, start_response, size):
    """Respond with *size* bytes, in chunks, with a Content-Length."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", size)])
    return chunks(int(size))


def streamed(_, start_response, size):
    """Respond with *size* bytes, in chunks, without a Content-Length."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return chunks(int(size))


def chunks(size):
    for start in range(0, size, CHUNK):
        yield b"x" * min(CHUNK, size - start)


def endless(environ, start_response, _):
    """Respond without an end; log when the server closes the response."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    try:
        while True:
            yield b"x" * CHUNK
    finally:
        say(environ, "closed the endless response")


def file(environ, start_response, size):
    """Respond with a file of *size* bytes, which the server sends itself."""
    path = Path(f"file-{size}")
    path.write_bytes(b"x" * int(size))
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", size)])
    return environ["wsgi.file_wrapper"](path.open("rb"))


def upload(environ, start_response, _):
    """Respond with the digest of the request body."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    return plain(start_response, hashlib.sha256(body).hexdigest().encode())


def status(_, start_response, code):
    headers = [("Content-Type", "text/plain"), ("Content-Length", "0")] if code == "200" else []
    start_response(f"{code} As Asked", headers)
    return []


def boom(environ, start_response, _):
    raise RuntimeError("boom")


def leave(environ, start_response, _):
    raise SystemExit("an app should not")


def interrupt(environ, start_response, _):
    raise KeyboardInterrupt


def late_boom(environ, start_response, _):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "100")])
    yield b"x" * 10
    raise RuntimeError("late boom")


def late_leave(environ, start_response, _):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "100")])
    yield b"x" * 10
    raise SystemExit("an app should not")


ROUTES = {
    "hold": hold,
    "hold-half": hold_half,
    "sized": sized,
    "streamed": streamed,
    "endless": endless,
    "file": file,
    "upload": upload,
    "status": status,
    "boom": boom,
    "leave": leave,
    "interrupt": interrupt,
    "late-boom": late_boom,
    "late-leave": late_leave,
}

app = linted(respond, unlinted=["file"])
