"""Requests to an app in this process: the environ that it gets, and the result of its response."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from mountpoint.doctor.addresses import Origin
from mountpoint.doctor.fetch import WsgiSite

ORIGIN = Origin("http", "localhost", 80)


def environ_of(url, origin=ORIGIN, strips="", **request):
    """Return the strings in the environ that an app gets for *url*."""

    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "application/json")])
        seen = {name: value for name, value in environ.items() if isinstance(value, str)}
        return [json.dumps({**seen, "body": environ["wsgi.input"].read().decode()}).encode()]

    result = WsgiSite(app, origin, 10, strips).request(request.get("method", "GET"), url, **request.get("rest", {}))
    return json.loads(result.body)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("//x", "//x"),
        ("/a//b/", "/a//b/"),
        ("/a%2Fb", "/a/b"),
        ("/%FF", "/\u00ff"),
        ("/caf%C3%A9", "/caf\u00c3\u00a9"),
        ("/a;b=1", "/a;b=1"),
        ("", "/"),
    ],
)
def test_the_path_reaches_the_app_byte_for_byte(target, path):
    environ = environ_of(f"http://localhost{target}?q=%20&r=//")
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"], environ["QUERY_STRING"]) == ("", path, "q=%20&r=//")
    assert environ["REQUEST_URI"] == f"{target or '/'}?q=%20&r=//"


@pytest.mark.parametrize(
    ("url", "host", "name", "port"),
    [
        ("http://localhost/", "localhost", "localhost", "80"),
        ("https://localhost/", "localhost", "localhost", "443"),
        ("http://localhost:8080/", "localhost:8080", "localhost", "8080"),
        ("http://[::1]:8080/", "[::1]:8080", "[::1]", "8080"),
    ],
)
def test_the_host_and_the_port_are_those_of_the_url(url, host, name, port):
    origin = Origin("http", name, 80)
    environ = environ_of(url, origin)
    assert (environ["HTTP_HOST"], environ["SERVER_NAME"], environ["SERVER_PORT"]) == (host, name, port)
    assert environ["wsgi.url_scheme"] == url.partition(":")[0]


def test_the_app_gets_method_headers_and_body():
    environ = environ_of(
        "http://localhost/", method="POST", rest={"headers": [("X-Test", "1")], "body": iter([b"ab", b"c"])}
    )
    assert (environ["REQUEST_METHOD"], environ["HTTP_X_TEST"]) == ("POST", "1")
    assert (environ["CONTENT_LENGTH"], environ["body"]) == ("3", "abc")


def test_the_stripped_prefix_is_not_part_of_the_path():
    assert environ_of("http://localhost/apps/x", strips="/apps")["PATH_INFO"] == "/x"
    assert environ_of("http://localhost/apps", strips="/apps")["PATH_INFO"] == "/"


def test_a_path_outside_the_stripped_prefix_does_not_reach_the_app():
    def app(environ, start_response):
        raise AssertionError

    result = WsgiSite(app, ORIGIN, 10, "/apps").get("http://localhost/appsx")
    assert (result.status, result.error) == (404, "")


def test_an_endless_body_is_read_to_a_bound_and_closed():
    closed = []

    def app(environ, start_response):
        start_response("200 OK", [])
        try:
            while True:
                yield b"x" * 100_000
        finally:
            closed.append(True)

    result = WsgiSite(app, ORIGIN, 10).get("http://localhost/")
    assert result.status == 200
    assert 2**20 < len(result.body) < 2**21
    assert closed == [True]


def test_events_of_an_app_are_not_read():
    closed = []

    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        try:
            yield b": hello\n\n"
            raise AssertionError("a second event was read")
        finally:
            closed.append(True)

    result = WsgiSite(app, ORIGIN, 10).get("http://localhost/")
    assert (result.status, result.body, closed) == (200, b"", [True])


def raises(environ, start_response):
    raise KeyError("x")


def raises_in_the_body(environ, start_response):
    start_response("200 OK", [])
    yield b"half"
    raise KeyError("x")


def passes_exc_info(environ, start_response):
    try:
        raise KeyError("x")
    except KeyError:
        start_response("500 Oops", [], sys.exc_info())
    return []


@pytest.mark.parametrize("app", [raises, raises_in_the_body, passes_exc_info])
def test_an_exception_of_the_app_is_a_500_that_names_it(app):
    result = WsgiSite(app, ORIGIN, 10).get("http://localhost/")
    assert (result.status, result.error) == (500, "the app raised KeyError: 'x'")


def test_the_write_callable_of_start_response_adds_to_the_body():
    def app(environ, start_response):
        start_response("200 OK", [])(b"a")
        return [b"b"]

    assert WsgiSite(app, ORIGIN, 10).get("http://localhost/").body == b"ab"


def test_werkzeug_is_not_imported_until_an_app_is_called():
    code = "import sys, mountpoint.doctor.main; print('werkzeug' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "False\n"
