"""An app's response: the WSGI call of PEP 3333, the framing of its body, HEAD, and the log."""

import itertools
import logging
import sys
from contextlib import suppress
from io import BytesIO

import pytest
from support.app_responses import TEXT, Body, Channel, Response, responding
from waitress.channel import ClientDisconnected

from mountpoint.server.file_wrapper import FileWrapper
from mountpoint.wsgi.app_header import AppHeaderError

# ------------------------------------------------------------------------------------------------------- start_response


def test_start_response_takes_its_arguments_by_name_too():
    def app(environ, start_response):
        start_response(status="200 OK", headers=TEXT, exc_info=None)
        return [b"named"]

    assert Response(app).body == b"named"


FIRST = [("Content-Length", "1000"), ("Set-Cookie", "a=1"), ("Transfer-Encoding", "chunked"), ("Date", "x"), *TEXT]


@pytest.mark.parametrize(
    ("headers", "length", "body"),
    [
        (TEXT, "5", b"sorry"),
        ([("Content-Length", "5"), ("Set-Cookie", "b=2")], "5", b"sorry"),
        ([("Content-Length", "3")], "3", b"sor"),
    ],
)
@pytest.mark.parametrize("first", [("200 OK", FIRST), ("204 No Content", []), ("304 Not Modified", FIRST)])
def test_exc_info_replaces_status_headers_and_length(first, headers, length, body):
    def app(environ, start_response):
        start_response(*first)
        try:
            raise KeyError("on purpose")
        except KeyError:
            start_response("503 Service Unavailable", headers, sys.exc_info())
        return [b"sorry"]

    response = Response(app)
    assert response.status == "HTTP/1.1 503 Service Unavailable"
    assert (response.headers["Content-Length"], response.body) == (length, body)
    assert response.headers.get("Set-Cookie") == dict(headers).get("Set-Cookie")
    assert "Transfer-Encoding" not in response.headers
    assert response.headers["Date"] != "x"
    assert not response.task.close_on_finish


def test_exc_info_of_a_status_without_a_body_drops_the_body():
    def app(environ, start_response):
        start_response("200 OK", FIRST)
        start_response("204 No Content", [], (None, None, None))
        return [b"dropped"]

    response = Response(app)
    assert (response.status, response.body) == ("HTTP/1.1 204 No Content", b"")
    assert not {"Content-Length", "Set-Cookie", "Transfer-Encoding"} & set(response.headers)


def test_exc_info_without_an_exception_is_an_error_after_the_header():
    def app(environ, start_response):
        start_response("200 OK", TEXT)
        yield b"begun"
        start_response("500 Internal Server Error", TEXT, (None, None, None))

    with pytest.raises(AppHeaderError, match="after the header was sent"):
        Response(app)


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


def test_an_app_that_ignores_the_exception_has_not_responded():
    def app(environ, start_response):
        start_response("200 OK", [("X", "1")])
        try:
            raise KeyError("on purpose")
        except KeyError:
            with suppress(ValueError):
                start_response("2000 OK", [], sys.exc_info())
        return [b"body"]

    with pytest.raises(AppHeaderError, match=r"^mount /: start_response was not called"):
        Response(app)


def test_a_second_start_response_without_exc_info_is_an_error():
    def app(environ, start_response):
        start_response("200 OK", TEXT)
        start_response("200 OK", TEXT)
        return []

    with pytest.raises(AppHeaderError, match=r"^mount /: start_response was called a second time"):
        Response(app)


def test_a_body_without_start_response_is_an_error():
    with pytest.raises(AppHeaderError, match=r"^mount /: start_response was not called"):
        Response(lambda environ, start_response: [b"body"])


# ------------------------------------------------------------------------------------------------------------- the body


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


@pytest.mark.parametrize("piece", [None, 7, "text"])
def test_a_piece_that_is_not_bytes_is_an_error(piece):
    for body in ([piece, b"bytes"], [b"", piece]):
        channel = Channel()
        with pytest.raises(TypeError, match=r"^mount /: .*; expected bytes"):
            Response(responding(body), channel=channel)
        assert channel.sent == b""


def test_the_length_of_a_list_counts_only_before_the_header():
    def app(environ, start_response):
        start_response("200 OK", TEXT)(b"written")
        return [b"one"]

    response = Response(app)
    assert response.body == b"7\r\nwritten\r\n3\r\none\r\n0\r\n\r\n"
    assert not response.task.close_on_finish


@pytest.mark.parametrize("body", [[], (), iter([]), [b""], iter([b""]), iter([b"", b""])])
def test_an_empty_body_has_the_length_0(body):
    response = Response(responding(body))
    assert (response.headers["Content-Length"], response.body) == ("0", b"")
    assert not response.task.close_on_finish


@pytest.mark.parametrize("body", [[], [b""], iter([])])
def test_head_without_a_body_does_not_say_that_get_has_none(body):
    response = Response(responding(body), "HEAD")
    assert "Content-Length" not in response.headers
    assert not response.task.close_on_finish


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
@pytest.mark.parametrize("headers", [TEXT, [("Content-Length", "9")]])
@pytest.mark.parametrize("body", [[], [b"dropped"], iter([b"dropped", b"too"])])
def test_a_status_without_a_body_keeps_the_connection(caplog, status, headers, body):
    def app(environ, start_response):
        start_response(status, headers)
        return body

    response = Response(app)
    assert (response.status, response.body) == (f"HTTP/1.1 {status}", b"")
    assert not {"Content-Length", "Transfer-Encoding", "Connection"} & set(response.headers)
    assert not response.task.close_on_finish
    assert "too few bytes" not in caplog.text


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_a_file_of_a_status_without_a_body_is_not_sent(status):
    class File(BytesIO):
        def close(self):
            closed.append(self.tell())
            super().close()

    def app(environ, start_response):
        start_response(status, TEXT)
        return FileWrapper(File(bytes(100_000)))

    closed = []
    response = Response(app)
    assert response.body == b""
    assert len(closed) == 1  # and it was not read to its end
    assert closed[0] < 100_000
    assert not response.task.close_on_finish


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_an_endless_body_of_a_status_without_one_is_stopped_and_closed(status):
    class Endless(Body):
        def __iter__(self):
            return itertools.repeat(b"more")

    def app(environ, start_response):
        start_response(status, TEXT)
        return body

    body = Endless()
    assert Response(app).body == b""
    assert body.is_closed


def test_a_body_that_is_too_short_closes_the_connection(caplog):
    response = Response(responding([b"four"], [("Content-Length", "9")]))
    assert response.task.close_on_finish
    assert caplog.messages == ["application returned too few bytes (4) for specified Content-Length (9) via app_iter"]


@pytest.mark.parametrize("body", [[b"too long"], [b"to", b"o long"], [b"too", b" ", b"long"]])
def test_a_body_that_is_too_long_is_cut_at_its_length(caplog, body):
    response = Response(responding(body, [("Content-Length", "3")]))
    assert (response.body, response.task.close_on_finish) == (b"too", False)
    assert caplog.messages == ["application-written content exceeded its Content-Length (3)"]


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
