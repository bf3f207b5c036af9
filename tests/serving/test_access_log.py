"""The access log: one line for each request, in the Combined format plus the mount and the milliseconds."""

import re

import pytest
from support.client import TABLE, Client, table

LINE = re.compile(
    r"""
    ^(?P<client>\S+)\ -\ -\ \[[0-9]{2}/[A-Z][a-z]{2}/[0-9]{4}(?::[0-9]{2}){3}\ [+-][0-9]{4}\]
    \ "(?P<request>(?:[^"\\]|\\.)*)"\ (?P<status>[0-9]{3}|-)\ (?P<size>[0-9]+|-)
    \ "(?P<referer>(?:[^"\\]|\\.)*)"\ "(?P<agent>(?:[^"\\]|\\.)*)"
    \ (?P<mount>\S+)\ (?P<milliseconds>[0-9]+\.[0-9])$
    """,
    re.VERBOSE | re.MULTILINE,
)


def lines(server):
    """Stop *server* and return the lines of its access log. Fails if another line looks like one."""
    assert server.stop() == 0
    found = [match.groupdict() for match in LINE.finditer(server.log())]
    assert len(found) == server.log().count('] "')
    return found


def only_line(server):
    (line,) = lines(server)
    return line


def fields(line):
    return line["request"], line["status"], line["size"], line["mount"]


def test_a_request_has_one_line(serve):
    server = serve(TABLE)
    with Client(server.url) as client:
        client.get("/app/sized/5?q=1", "Referer: http://example.com/a", "User-Agent: tester/1.0 (x)")
    line = only_line(server)
    assert float(line.pop("milliseconds")) >= 0
    assert line == {
        "client": "127.0.0.1",
        "request": "GET /app/sized/5?q=1 HTTP/1.1",
        "status": "200",
        "size": "5",
        "referer": "http://example.com/a",
        "agent": "tester/1.0 (x)",
        "mount": "/app",
    }


@pytest.mark.parametrize(
    ("path", "status", "size", "mount"),
    [
        ("/app/sized/100000", "200", "100000", "/app"),
        ("/app/streamed/100000", "200", "100000", "/app"),
        ("/app/file/100000", "200", "100000", "/app"),
        ("/app/sized/0", "200", "-", "/app"),
        ("/app/status/204", "204", "-", "/app"),
        ("/app/status/304", "304", "-", "/app"),
        ("/app", "308", "23", "/app"),
        ("/elsewhere", "404", "14", "-"),
        ("/app/../x", "400", "16", "-"),
        ("//app/", "404", "14", "-"),
    ],
)
def test_the_line_has_status_and_size_of_the_response(serve, path, status, size, mount):
    server = serve(TABLE)
    with Client(server.url) as client:
        assert str(client.get(path).status) == status
    assert fields(only_line(server)) == (f"GET {path} HTTP/1.1", status, size, mount)


def test_a_response_to_head_has_no_size(serve):
    server = serve(TABLE)
    with Client(server.url) as client:
        client.request("/elsewhere", method="HEAD")
        assert client.answer(bodiless=True).headers["Content-Length"] == "14"
    assert fields(only_line(server)) == ("HEAD /elsewhere HTTP/1.1", "404", "-", "-")


@pytest.mark.parametrize(
    ("sent", "written"),
    [
        ('/app/%22"', '/app/%22\\"'),
        ("/app/\\", "/app/\\\\"),
        ("/app/%0A%0d%00", "/app/%0A%0d%00"),
        ("/app/caf\xc3\xa9\x85\x9b", "/app/caf\\xc3\\xa9\\x85\\x9b"),
        ("/app/\t", "/app/\\t"),
        ("/app/\x1b[2J\x7f", "/app/\\x1b[2J\\x7f"),
    ],
)
def test_the_request_line_is_escaped_as_apache_does(serve, sent, written):
    server = serve(TABLE)
    with Client(server.url) as client:
        client.get(sent)
    assert only_line(server)["request"] == f"GET {written} HTTP/1.1"


def test_logged_headers_are_escaped(serve):
    server = serve(TABLE)
    with Client(server.url) as client:
        client.get("/app/", 'User-Agent: "x" \xe9\\', 'Referer: http://a/"\\')
    line = only_line(server)
    assert (line["agent"], line["referer"]) == (r"\"x\" \xe9\\", r"http://a/\"\\")


def test_a_path_cannot_forge_a_line_of_the_error_log(serve):
    server = serve(TABLE)
    forged = "2026-01-01 00:00:00,000 INFO forged"
    with Client(server.url) as client:
        assert client.get("/app/boom/%0A" + forged.replace(" ", "%20")).status == 500
    assert only_line(server)["status"] == "500"
    assert forged not in server.log().splitlines()


@pytest.mark.parametrize("what", ["boom", "leave", "interrupt"])
def test_an_app_that_raises_has_one_line_with_500(serve, what):
    server = serve(TABLE)
    with Client(server.url) as client:
        assert client.get(f"/app/{what}").status == 500
    assert fields(only_line(server)) == (f"GET /app/{what} HTTP/1.1", "500", "110", "/app")
    assert server.log().count("Traceback") == 1 + server.log().count("direct cause")


@pytest.mark.parametrize("what", ["late-boom", "late-leave"])
def test_an_app_that_raises_halfway_has_one_line_with_the_bytes_sent(serve, what):
    server = serve(TABLE)
    with Client(server.url) as client:
        client.request(f"/app/{what}")
        _, headers = client.head()
        with pytest.raises(ConnectionError):
            client.body(headers)
    assert fields(only_line(server)) == (f"GET /app/{what} HTTP/1.1", "200", "10", "/app")


def test_the_server_goes_on_after_apps_that_raise(serve):
    server = serve(table(threads=1))
    for what in ("boom", "leave", "interrupt", "late-boom", "late-leave"):
        with Client(server.url) as client:
            client.request(f"/app/{what}")
            client.head()
    with Client(server.url) as client:
        assert client.get("/app/").status == 200
    assert len(lines(server)) == 6


# ------------------------------------------------------------------------------------------- the server's own responses


def test_an_unparsable_request_has_a_line_with_400(serve):
    server = serve(TABLE)
    with Client(server.url) as client:
        client.send("COMPLETE GARBAGE\r\n\r\n")
        assert client.answer().status == 400
    assert fields(only_line(server))[:2] == ("COMPLETE GARBAGE", "400")


def test_a_request_line_with_a_bare_cr_has_a_line_with_400(serve):
    server = serve(TABLE)
    with Client(server.url) as client:
        client.send("GET /app/\rfoo HTTP/1.1\r\n\r\n")
        assert client.answer().status == 400
    assert fields(only_line(server))[:2] == ("GET /app/\\rfoo HTTP/1.1", "400")


def test_an_invalid_header_has_a_line_with_400(serve):
    server = serve(TABLE)
    with Client(server.url) as client:
        client.send("GET /app/x HTTP/1.1\r\nHost : a\r\n\r\n")
        assert client.answer().status == 400
    assert fields(only_line(server))[:2] == ("GET /app/x HTTP/1.1", "400")


def test_a_body_that_is_too_large_has_a_line_with_413(serve):
    server = serve(table(max_request_body_size=1000))
    with Client(server.url) as client:
        client.request("/app/upload", "Content-Length: 1001", method="POST")
        assert client.answer().status == 413
    assert fields(only_line(server))[:2] == ("POST /app/upload HTTP/1.1", "413")


def test_a_chunked_body_that_is_too_large_has_a_line_with_413(serve):
    server = serve(table(max_request_body_size=1000))
    with Client(server.url) as client:
        client.request("/app/upload", "Transfer-Encoding: chunked", method="POST")
        client.send(f"3e9\r\n{'x' * 1001}\r\n")
        assert client.answer().status == 413
    assert fields(only_line(server))[:2] == ("POST /app/upload HTTP/1.1", "413")


def test_headers_that_are_too_large_have_a_line_with_431(serve):
    server = serve(table(max_request_header_size=1000))
    with Client(server.url) as client:
        client.request("/app/x", f"Cookie: {'x' * 1000}")
        assert client.answer().status == 431
    assert fields(only_line(server))[:2] == ("GET /app/x HTTP/1.1", "431")


def test_a_request_line_in_pieces_is_logged_whole(serve):
    server = serve(table(max_request_header_size=1000, recv_bytes=10))
    with Client(server.url) as client:
        client.request("/app/a/longer/path", f"Cookie: {'x' * 985}")
        assert client.answer().status == 431
    assert fields(only_line(server))[:2] == ("GET /app/a/longer/path HTTP/1.1", "431")


def test_an_unknown_transfer_encoding_has_a_line_with_501(serve):
    server = serve(TABLE)
    with Client(server.url) as client:
        client.request("/app/x", "Transfer-Encoding: gzip, chunked", method="POST")
        assert client.answer().status == 501
    assert fields(only_line(server))[:2] == ("POST /app/x HTTP/1.1", "501")


# -------------------------------------------------------------------------------------------------------------- clients


def test_each_pipelined_request_has_a_line(serve):
    server = serve(TABLE)
    with Client(server.url) as client:
        client.pipeline("/app/1", "/elsewhere", "/app/3")
        assert [client.answer().status for _ in range(3)] == [200, 404, 200]
    assert [fields(line)[:2] for line in lines(server)] == [
        ("GET /app/1 HTTP/1.1", "200"),
        ("GET /elsewhere HTTP/1.1", "404"),
        ("GET /app/3 HTTP/1.1", "200"),
    ]


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_client_that_leaves_during_the_response_has_a_line(serve, leave):
    server = serve(TABLE)
    client = Client(server.url)
    client.request("/app/endless")
    client.head()
    assert client._exactly(1)  # of the body: the size counts a chunk once it is written
    getattr(client, leave)()
    server.wait_for("closed the endless response")
    line = only_line(server)
    assert (line["request"], line["status"]) == ("GET /app/endless HTTP/1.1", "200")
    assert int(line["size"]) > 0


def test_a_client_that_leaves_before_the_response_has_a_line(serve, tmp_path):
    server = serve(TABLE)
    client = Client(server.url)
    client.request("/app/hold/it")
    server.wait_for("holding it")
    client.reset()
    (tmp_path / "it").touch()
    assert only_line(server)["request"] == "GET /app/hold/it HTTP/1.1"
    assert "Traceback" not in server.log()


def test_a_client_that_sends_no_whole_request_has_no_line(serve):
    server = serve(TABLE)
    for half in (
        "",
        "GET /app/ HTTP/1.1\r\nHost: a\r\n",
        "GET /app/ HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx",
    ):
        with Client(server.url) as client:
            client.send(half)
    assert lines(server) == []
    assert "Traceback" not in server.log()


def test_the_client_of_a_unix_socket_is_localhost(serve, socket_path):
    server = serve(TABLE, "--listen", f"unix:{socket_path}")
    with Client(server.url) as client:
        client.get("/app/")
    assert only_line(server)["client"] == "localhost"


def test_the_mount_is_logged_by_its_normalized_key(serve):
    server = serve(TABLE.replace('"/app"', '"LOCALHOST/caf\u00e9/"'))
    with Client(server.url) as client:
        client.host = "localhost"
        client.get("/caf%c3%a9/")
    line = only_line(server)
    assert (line["request"], line["mount"]) == ("GET /caf%c3%a9/ HTTP/1.1", "localhost/caf\u00e9")
