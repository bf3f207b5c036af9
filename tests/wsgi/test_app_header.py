"""The status and the headers of an app: those that cannot be sent, and those that belong to the server."""

import pytest
from support.app_responses import Channel, Response, responding

from mountpoint.wsgi.app_header import AppHeaderError


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
        ("200 OK", [("Content-Length", "5"), ("content-length", "6")], "has set Content-Length twice"),
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


@pytest.mark.parametrize("via", [[], [("Via", "1.1 other")], [("Via", "waitress")]])
def test_an_app_that_names_its_server_gets_no_via(via):
    response = Response(responding([b"x"], [("SERVER", "of the app"), *via]))
    assert response.headers["Server"] == "of the app"
    assert response.headers.get("Via") == dict(via).get("Via")
    assert response.lines.count("Via: waitress") == via.count(("Via", "waitress"))
    assert response.body == b"x"


# ------------------------------------------------------------------------------------------------- hop-by-hop headers

HOPS = [
    ("Connection", "keep-alive"),
    ("connection", "close"),
    ("Keep-Alive", "timeout=5"),
    ("Proxy-Connection", "keep-alive"),
    ("Proxy-Authenticate", "Basic"),
    ("Proxy-Authorization", "Basic x"),
    ("Proxy-Authentication-Info", "x"),
    ("TE", "trailers"),
    ("Trailer", "Expires"),
    ("Trailers", "Expires"),
    ("Transfer-Encoding", "chunked"),
    ("TRANSFER-ENCODING", "gzip, chunked"),
    ("Upgrade", "websocket"),
]


@pytest.mark.parametrize("hop", HOPS)
def test_a_hop_by_hop_header_is_dropped_and_logged_once_for_its_mount(caplog, hop):
    mount = f"/hop-{hop}"  # a key that no other test has
    for _ in range(3):
        response = Response(responding([b"body"], [("X-Kept", "1"), hop, ("Proxy-Status", "x")]), mount=mount)
        assert response.body == b"body"
        assert set(response.headers) == {"X-Kept", "Proxy-Status", "Content-Length", "Server", "Date"}
        assert not response.task.close_on_finish
    (line,) = caplog.messages
    assert line.startswith(f"{mount}: dropped hop-by-hop headers of the app")
    assert f" {hop[0]}; " in line


def test_the_headers_that_connection_names_are_dropped_too(caplog):
    headers = [
        ("X-Trace", "1"),
        ("Connection", "close, x-TRACE"),
        ("X-Kept", "1"),
        ("Connection", "Content-Length, X-B"),
    ]
    headers += [("X-B", "1"), ("x-b", "2"), ("Content-Length", "4")]
    response = Response(responding(iter([b"body"]), headers), mount="/named")
    assert set(response.headers) == {"X-Kept", "Content-Length", "Server", "Date"}
    assert response.body == b"body"
    assert "Connection, Connection, X-Trace, X-B, X-B; " in caplog.text


def test_the_date_of_an_app_is_kept():
    assert Response(responding([b"body"], [("date", "x")])).lines.count("Date: x") == 1


def test_a_server_without_a_name_sends_none():
    channel = Channel()
    channel.adj.ident = None
    assert set(Response(responding([b"body"]), channel=channel).headers) == {"Content-Type", "Content-Length", "Date"}


def test_a_date_that_connection_names_is_replaced():
    response = Response(responding([b"body"], [("Date", "x"), ("Server", "y"), ("Connection", "date, server")]))
    assert response.headers["Date"] != "x"
    assert response.headers["Server"] == "waitress"
