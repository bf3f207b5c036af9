"""The app of serving/test_slow.py. ``/hold`` and ``/within`` wait until the test creates the file ``go``."""

import time
from pathlib import Path

from app_lint import linted

HEADERS = [("Content-Type", "text/plain"), ("Content-Length", "2")]


def respond(environ, start_response):
    route, _, argument = environ["PATH_INFO"].lstrip("/").partition("/")
    if route == "within":
        return within(environ, start_response)
    if route == "large":
        return large(environ, start_response)
    if route == "hold":
        hold(environ)
    elif route == "short":
        short(float(argument))
    start_response("200 OK", HEADERS)
    return [b"ok"]


def hold(environ):
    environ["wsgi.errors"].write("holding\n")
    environ["wsgi.errors"].flush()
    while not Path("go").exists():
        time.sleep(0.01)  # the app is here


def within(environ, start_response):
    start_response("200 OK", HEADERS)
    yield b"o"
    hold(environ)
    yield b"k"


def short(seconds):
    time.sleep(seconds)  # a short one is here


def large(environ, start_response):
    start_response("200 OK", HEADERS[:1])
    environ["wsgi.errors"].write("holding\n")
    for _ in range(1000):
        yield bytes(1 << 20)


app = linted(respond)
