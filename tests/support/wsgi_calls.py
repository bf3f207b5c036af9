"""Call a WSGI app in this process, with two linters around it: wsgiref's and WebTest's."""

from __future__ import annotations

import http.client
import io
import json
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.validate import validator

from support.response import Response

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # WebOb imports the deprecated module cgi
    from webtest import lint


def linted(app: Any) -> Any:
    """Return *app* inside the linters, which raise AssertionError when the app or its server breaks PEP 3333."""
    return validator(lint.middleware(app))


def make_environ(path: str | None = "/", method: str = "GET", /, **variables: Any) -> dict[str, Any]:
    """Return the environ that a server would build for a request. A variable that is None is left out."""
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


def call_app(app: Any, path: str | None = "/", method: str = "GET", /, **variables: Any) -> Response:
    """Call *app* as a server would, read the response and close it. Fails if *app* changed the caller's environ.

    The linter in front of *app* sees a plain environ instead, since some tests send values that no linter accepts.
    """
    environ = make_environ(path, method, **variables)
    before = list(environ.items())
    status, headers, body = 0, http.client.HTTPMessage(), list[bytes]()

    def start_response(line: str, pairs: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
        nonlocal status, headers
        status, headers = int(line[:3]), http.client.HTTPMessage()
        for name, value in pairs:
            headers[name] = value  # appends, as HTTPMessage holds a name several times
        return body.append

    iterable = linted(lambda _, start_response: app(environ, start_response))(make_environ("/", method), start_response)
    try:
        body.extend(iterable)
    finally:
        iterable.close()
    assert list(environ.items()) == before, "the app changed the caller's environ"
    return Response(status, headers, b"".join(body))


def ignore_response(*_: object) -> Any:
    """Stand for a server's start_response, and for the write() that it returns."""
    return ignore_response


def begin_app(app: Any, path: str | None = "/", method: str = "GET", /, **variables: Any) -> Any:
    """Call *app* and return its response, neither iterated nor closed."""
    return app(make_environ(path, method, **variables), ignore_response)


# ----------------------------------------------------------------------------------------------------------------- apps


def never_called(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Stand for the app of a mount that no request of the test reaches."""
    raise AssertionError("the app was called")


def echo_list(name: str) -> Any:
    """Return an app that answers with *name* and with the request that it saw, as a list: see `Response.seen`."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body = _describe(name, environ)
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    return linted(app)


def echo_generator(name: str) -> Any:
    """Return an app like that of `echo_list`, which reads its environ long after the call has returned."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "application/json")])
        yield b""
        yield _describe(name, environ)

    return linted(app)


def _describe(name: str, environ: dict[str, Any]) -> bytes:
    seen = {
        "app": name,
        "script_name": environ["SCRIPT_NAME"],
        "path_info": environ["PATH_INFO"],
        "mount": environ.get("mountpoint.mount"),
        "environ": {key: value for key, value in environ.items() if isinstance(value, str)},
    }
    return json.dumps(seen).encode()
