"""The app of the other servers' suites: `app` records the requests that it gets, `recorded` returns and forgets them.

`fixture` runs one of the apps of waitress's functional tests, `choose` says which.
"""

import importlib
import json

from fuzz_app import respond

requests = []
chosen = [respond]


def app(environ, start_response):
    """Record the request. The body is Latin-1 text, since JSON has no bytes."""
    response = respond(environ | {"wsgi.input": (body := _Body(environ))}, start_response)
    headers = {name: value for name, value in environ.items() if name.startswith(("HTTP_", "CONTENT_"))}
    requests.append(
        {
            "method": environ["REQUEST_METHOD"],
            "target": environ["REQUEST_URI"],
            "protocol": environ["SERVER_PROTOCOL"],
            "headers": headers,
            "body": body.data.decode("latin-1"),
        }
    )
    return response


class _Body:
    """The body of a request, which stays readable in `data`."""

    def __init__(self, environ):
        self.data = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))

    def read(self, size):
        return self.data[:size]


def recorded(environ, start_response):
    body = json.dumps(requests).encode()
    requests.clear()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def choose(environ, start_response):
    """Let `fixture` run the app that the query names, as ``module:attribute``."""
    module, _, attribute = environ["QUERY_STRING"].partition(":")
    chosen[0] = getattr(importlib.import_module(module), attribute)
    start_response("204 No Content", [])
    return []


def fixture_or_choose(environ, start_response):
    """Do both in one mount, which has a process of its own."""
    app = choose if environ["PATH_INFO"].startswith("/choose") else fixture
    return app(environ, start_response)


def fixture(environ, start_response):
    return chosen[0](environ, start_response)
