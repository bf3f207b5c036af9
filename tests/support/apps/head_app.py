"""The app of serving/test_head.py: each way to make a response, by the first segment of the path."""

import time
from pathlib import Path

from app_lint import linted

BODY = b"0123456789"
LENGTH = ("Content-Length", str(len(BODY)))


def respond(environ, start_response):
    return ROUTES[environ["PATH_INFO"].lstrip("/")](environ, start_response)


def ok(start_response, *headers, status="200 OK"):
    return start_response(status, [("Content-Type", "text/plain"), *headers])


def list_of_two(environ, start_response):
    ok(start_response, LENGTH)
    return [BODY[:5], BODY[5:]]


def list_of_one(environ, start_response):
    ok(start_response)
    return [BODY]


def large(environ, start_response):
    ok(start_response)
    return [BODY * 10_000]


def generator(environ, start_response):
    ok(start_response, LENGTH)
    yield BODY[:5]
    yield BODY[5:]


def chunked(environ, start_response):
    ok(start_response)
    yield BODY[:5]
    yield BODY[5:]


def write(environ, start_response):
    write = ok(start_response, LENGTH)
    write(BODY[:5])
    write(BODY[5:])
    return []


def nothing(environ, start_response):
    ok(start_response, LENGTH)
    return []


def not_found(environ, start_response):
    ok(start_response, LENGTH, status="404 Not Found")
    return [BODY]


def boom(environ, start_response):
    raise RuntimeError("boom")


def late_boom(environ, start_response):
    ok(start_response, LENGTH)
    yield BODY[:5]
    raise RuntimeError("late boom")


class ReportingFile:
    """A file that reports to the log when it is closed."""

    def __init__(self, environ, path):
        self._environ = environ
        self._file = file = Path(path).open("rb")  # noqa: SIM115 - `close` closes it
        self.read, self.seek, self.tell, self.fileno = file.read, file.seek, file.tell, file.fileno

    def close(self):
        self._file.close()
        say(self._environ, "the file is closed")


def say(environ, text):
    environ["wsgi.errors"].write(f"{text}\n")
    environ["wsgi.errors"].flush()


def reporting_file(environ, start_response):
    ok(start_response, LENGTH)
    Path("reporting").write_bytes(BODY)
    return environ["wsgi.file_wrapper"](ReportingFile(environ, "reporting"))


def file(environ, start_response):
    ok(start_response, LENGTH)
    Path("file").write_bytes(BODY)
    return environ["wsgi.file_wrapper"](Path("file").open("rb"))


def endless(environ, start_response):
    ok(start_response)
    try:
        while True:
            yield BODY
    finally:
        say(environ, "the generator is closed")


def hold(environ, start_response):
    say(environ, "holding")
    while not Path("go").exists():
        time.sleep(0.01)
    return list_of_one(environ, start_response)


ROUTES = {
    "list": list_of_two,
    "one": list_of_one,
    "large": large,
    "generator": generator,
    "chunked": chunked,
    "write": write,
    "nothing": nothing,
    "not-found": not_found,
    "boom": boom,
    "late-boom": late_boom,
    "reporting-file": reporting_file,
    "file": file,
    "endless": endless,
    "hold": hold,
}
#: The server finds out the length of these itself, from a file or from a list with one item.
FOUND_OUT = ["one", "large", "file", "reporting-file", "hold"]

app = linted(respond, unlinted=FOUND_OUT)
