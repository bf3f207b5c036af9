"""An app's response as the client receives it, without a socket: the WSGI call of PEP 3333, HEAD, and the log."""

import itertools
import logging
import sys
from contextlib import suppress
from types import SimpleNamespace

import pytest
from waitress.adjustments import Adjustments
from waitress.channel import ClientDisconnected

from mountpoint.server.app_header import AppHeaderError
from mountpoint.server.parser import Parser
from mountpoint.server.tasks import AppTask
from mountpoint.wsgi.dispatch import Route

TEXT = [("Content-Type", "text/plain")]


class Channel:
    """A channel that keeps the bytes of the response."""

    def __init__(self):
        self.addr = ("192.0.2.7", 5000)
        self.adj = Adjustments()
        self.server = SimpleNamespace(draining=False, adj=self.adj)
        self.requests = []
        self.sent = b""

    def cork(self):
        pass

    def uncork(self):
        pass

    def write_soon(self, data):
        self.sent += data
        return len(data)


class Response:
    """The response of *app* to a request, as the client receives it."""

    def __init__(self, app, method="GET", channel=None):
        self.channel = channel or Channel()
        request = Parser(self.channel.adj)
        request.received(f"{method} / HTTP/1.1\r\nHost: example.com\r\n\r\n".encode())
        assert request.completed
        assert not request.error
        request.route = Route(app, {}, "/")
        self.channel.requests = [request]
        self.task = AppTask(self.channel, request)
        self.task.service()
        head, _, self.body = self.channel.sent.partition(b"\r\n\r\n")
        self.status, *self.lines = head.decode("latin-1").split("\r\n")
        self.headers = dict(line.split(": ", 1) for line in self.lines)


class Body(list):
    """A body that remembers whether it was closed."""

    is_closed = False

    def close(self):
        self.is_closed = True


# ------------------------------------------------------------------------------------------------------- start_response


def test_start_response_takes_its_arguments_by_name_too():
    def app(environ, start_response):
        start_response(status="200 OK", headers=TEXT, exc_info=None)
        return [b"named"]

    assert Response(app).body == b"named"


def test_exc_info_replaces_status_headers_and_length():
    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", "1000"), ("X-First", "1")])
        try:
            raise KeyError("on purpose")
        except KeyError:
            start_response("503 Service Unavailable", TEXT, sys.exc_info())
        return [b"sorry"]

    response = Response(app)
    assert response.status == "HTTP/1.1 503 Service Unavailable"
    assert (response.headers["Content-Length"], response.body) == ("5", b"sorry")
    assert "X-First" not in response.headers


def test_exc_info_after_the_header_raises_its_exception():
    def app(environ, start_response):
        start_response("200 OK", TEXT)
        yield b"begun"
        try:
            raise KeyError("on purpose")
        except KeyError:
            start_response("500 Internal Server Error", TEXT, sys.exc_info())

    with pytest.raises(KeyError, match="on purpose"):
        Response(app)


@pytest.mark.parametrize(
    ("status", "headers", "message"),
    [
        (200, [], "status 200 is not a string"),
        ("200 OK\r\nX: 1", [], "line feed character present in status"),
        ("200 OK", [("X\n", "1")], "line feed character present in header name"),
        ("200 OK", [("X", "1\r")], "line feed character present in header value"),
        ("200 OK", [(b"X", "1")], "header name b'X' is not a string"),
        ("200 OK", [("X", None)], "header value None is not a string"),
        ("200 OK", [("Content-Length", "many")], "invalid literal"),
        ("200 OK", [("Content-Length", "+5")], "invalid literal"),
        ("200 OK", [("Content-Length", "5_0")], "invalid literal"),
        ("200 OK", [("Content-Length", "\u0665")], "not latin-1"),
        ("200 OK", [("Content-Length", "\xb2")], "invalid literal"),
        ("200 OK", [("Content-Length", "")], "invalid literal"),
        ("200 OK", [("Content-Length", "9" * 20)], "invalid literal"),
        ("200 OK", [("Content-Length", "5"), ("content-length", "6")], "stands twice"),
        ("", [], 'not such as "200 OK"'),
        ("200", [], 'not such as "200 OK"'),
        ("200OK", [], 'not such as "200 OK"'),
        ("2000 OK", [], 'not such as "200 OK"'),
        (" 200 OK", [], 'not such as "200 OK"'),
        ("20x OK", [], 'not such as "200 OK"'),
        ("\u0662\u0660\u0660 OK", [], 'not such as "200 OK"'),
        ("100 Continue", [], 'not such as "200 OK"'),
        ("101 Switching Protocols", [], 'not such as "200 OK"'),
        ("600 Strange", [], 'not such as "200 OK"'),
        ("200 O\0K", [], 'not such as "200 OK"'),
        ("200 \u20ac", [], 'not such as "200 OK"'),
        ("200 OK", [("", "1")], "header name '' is not a token"),
        ("200 OK", [("X Y", "1")], "header name 'X Y' is not a token"),
        ("200 OK", [("X:", "1")], "is not a token"),
        ("200 OK", [("X\0", "1")], "is not a token"),
        ("200 OK", [("X\xe9", "1")], "is not a token"),
        ("200 OK", [("X", "a\0b")], "not latin-1 without control characters"),
        ("200 OK", [("X", "a\x7f")], "not latin-1 without control characters"),
        ("200 OK", [("X", "\u20ac")], "not latin-1 without control characters"),
        ("200 OK", [("X", 1)], "header value 1 is not a string"),
        ("200 OK", [("Connection", "close")], 'Connection is a "hop-by-hop" header'),
    ],
)
def test_start_response_rejects_what_would_break_the_header(status, headers, message):
    def app(environ, start_response):
        start_response(status, headers)
        return []

    with pytest.raises(AppHeaderError, match=f"^mount /: .*{message}"):
        Response(app)


@pytest.mark.parametrize("status", ["200 ", "299 Caf\xe9", "404 Not\tFound", "599 x"])
def test_a_status_of_the_grammar_is_sent_as_it_is(status):
    def app(environ, start_response):
        start_response(status, [("X-Value", "caf\xe9\t(x)"), ("Content-Length", " 0 ")])
        return []

    response = Response(app)
    assert response.status == f"HTTP/1.1 {status}"
    assert response.headers["X-Value"] == "caf\xe9\t(x)"


def test_an_app_that_ignores_the_exception_has_not_responded():
    def app(environ, start_response):
        start_response("200 OK", [("X", "1")])
        try:
            raise KeyError("on purpose")
        except KeyError:
            with suppress(ValueError):
                start_response("2000 OK", [], sys.exc_info())
        return [b"body"]

    with pytest.raises(RuntimeError, match="start_response was not called"):
        Response(app)


@pytest.mark.parametrize("via", [[], [("Via", "1.1 other")], [("Via", "waitress")]])
def test_an_app_that_names_its_server_gets_no_via(via):
    response = Response(responding([b"x"], [("SERVER", "of the app"), *via]))
    assert response.headers["Server"] == "of the app"
    assert response.headers.get("Via") == dict(via).get("Via")
    assert response.lines.count("Via: waitress") == via.count(("Via", "waitress"))
    assert response.body == b"x"


def test_a_second_start_response_without_exc_info_is_an_error():
    def app(environ, start_response):
        start_response("200 OK", TEXT)
        start_response("200 OK", TEXT)
        return []

    with pytest.raises(AssertionError, match="a second time"):
        Response(app)


def test_a_body_without_start_response_is_an_error():
    with pytest.raises(RuntimeError, match="start_response was not called"):
        Response(lambda environ, start_response: [b"body"])


# ------------------------------------------------------------------------------------------------------------- the body


def responding(body, headers=TEXT):
    """Return an app that responds with *body*."""

    def app(environ, start_response):
        start_response("200 OK", headers)
        return body

    return app


def test_a_body_of_one_piece_gets_a_content_length():
    response = Response(responding([b"piece"]))
    assert (response.headers["Content-Length"], response.body) == ("5", b"piece")


def test_a_body_of_unknown_length_is_chunked():
    response = Response(responding(iter([b"one", b"", b"two"])))
    assert (response.headers["Transfer-Encoding"], response.body) == ("chunked", b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")


def test_the_header_waits_for_the_first_byte_of_the_body():
    channel = Channel()
    seen = []

    def body():
        yield b""
        seen.append(channel.sent)
        yield b"byte"

    Response(responding(body()), channel=channel)
    assert seen == [b""]


@pytest.mark.parametrize("piece", [None, 7])
def test_a_first_piece_that_is_not_bytes_is_an_error(piece):
    with pytest.raises(TypeError):
        Response(responding([piece, b"bytes"]))


def test_a_body_that_is_too_short_closes_the_connection(caplog):
    response = Response(responding([b"four"], [("Content-Length", "9")]))
    assert response.task.close_on_finish
    assert caplog.messages == ["application returned too few bytes (4) for specified Content-Length (9) via app_iter"]


def test_a_body_that_is_too_long_is_cut_at_its_length(caplog):
    assert Response(responding([b"too long"], [("Content-Length", "3")])).body == b"too"


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_the_body_is_closed_when_an_iteration_fails(error):
    class Failing(Body):
        def __iter__(self):
            raise error("on purpose")

    body = Failing()
    with pytest.raises((ValueError, RuntimeError), match="on purpose"):
        Response(responding(body))
    assert body.is_closed


def test_the_body_is_closed_when_the_client_has_gone():
    class Gone(Channel):
        def write_soon(self, data):
            raise ClientDisconnected

    body = Body([b"piece"])
    with pytest.raises(ClientDisconnected):
        Response(responding(body), channel=Gone())
    assert body.is_closed


# ---------------------------------------------------------------------------------------------------- HEAD, drain, log


def test_head_stops_an_endless_body_and_closes_it():
    class Endless(Body):
        def __iter__(self):
            return itertools.repeat(b"more")

    body = Endless()
    response = Response(responding(body), "HEAD")
    assert (response.status, response.body) == ("HTTP/1.1 200 OK", b"")
    assert body.is_closed


def test_a_draining_server_closes_after_the_last_request():
    channel = Channel()
    channel.server.draining = True
    response = Response(responding([b"last"]), channel=channel)
    assert response.headers["Connection"] == "close"
    assert response.task.close_on_finish


@pytest.mark.parametrize(("method", "size"), [("GET", "5"), ("HEAD", "-")])
def test_a_response_is_logged_with_the_size_of_its_body(caplog, method, size):
    caplog.set_level(logging.INFO, "mountpoint.access")
    Response(responding([b"piece"]), method)
    (line,) = caplog.messages
    assert f'"{method} / HTTP/1.1" 200 {size} "-" "-"' in line
