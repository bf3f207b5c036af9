"""What every test of the core stands on: one way to call an app, and apps that say what they were given.

Both sides are watched by two linters, wsgiref's and WebTest's: what we answer, and what we hand to an app.
"""

from __future__ import annotations

import io
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from wsgiref.validate import validator

import hypothesis
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # WebOb imports the old cgi module
    from webtest import lint

hypothesis.settings.register_profile("here", max_examples=200, deadline=None)
hypothesis.settings.register_profile("ci", parent=hypothesis.settings.get_profile("here"), derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")


@dataclass
class Answer:
    """A response, read to its end."""

    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def __getitem__(self, name: str) -> str | None:
        """Return the value of the header *name*, None if it is not there."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def seen(self) -> dict[str, Any]:
        """What an `echo` app was given."""
        return json.loads(self.body)


def linted(app: Any) -> Any:
    return validator(lint.middleware(app))


def make_environ(path: str | None = "/", method: str = "GET", /, **variables: Any) -> dict[str, Any]:
    """Return the environ of a request as servers make it; a variable that is None is left out."""
    environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.7",
        "HTTP_HOST": "localhost",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **variables,
    }
    return {name: value for name, value in environ.items() if value is not None}


def call_app(app: Any, path: str | None = "/", method: str = "GET", /, **variables: Any) -> Answer:
    """Call *app* as a server would, and return its answer; its environ must come out of it as it went in.

    The linter in front of *app* is shown a plain environ, since some tests send what no linter would let pass.
    """
    environ = make_environ(path, method, **variables)
    before = list(environ.items())
    answer = Answer()
    body = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
        answer.status, answer.headers = int(status[:3]), headers
        return body.append

    iterable = linted(lambda _, start_response: app(environ, start_response))(make_environ("/", method), start_response)
    try:
        body.extend(iterable)
    finally:
        iterable.close()
    answer.body = b"".join(body)
    assert list(environ.items()) == before, "the caller's environ was changed"
    return answer


def _describe(name: str, environ: dict[str, Any]) -> bytes:
    seen = {
        "app": name,
        "script_name": environ["SCRIPT_NAME"],
        "path_info": environ["PATH_INFO"],
        "mount": environ.get("mountpoint.mount"),
        "environ": {key: value for key, value in environ.items() if isinstance(value, str)},
    }
    return json.dumps(seen).encode()


def _echo_list(name: str) -> Any:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body = _describe(name, environ)
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    return linted(app)


def _echo_generator(name: str) -> Any:
    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "application/json")])
        yield b""
        yield _describe(name, environ)  # long after the call has returned

    return linted(app)


@pytest.fixture(scope="session", name="call")
def _call() -> Callable[..., Answer]:
    """Call an app inside the linters: ``call(app, path, method, **environ)``."""
    return call_app


@pytest.fixture(scope="session", name="make_environ")
def _make_environ() -> Callable[..., dict[str, Any]]:
    return make_environ


@pytest.fixture(scope="session", params=[_echo_list, _echo_generator], ids=["list", "generator"])
def echo(request: pytest.FixtureRequest) -> Callable[[str], Any]:
    """Make an app that answers with its name and with what it was given, as a list and as a generator."""
    return request.param
