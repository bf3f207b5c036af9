"""Odd and hostile requests: the server responds correctly, and answers the next valid request."""

import json
from contextlib import ExitStack

import pytest
from support.client import PROBE, TABLE, Client, table

ROOT = f"""
[mounts]
"/" = "{PROBE}:app"
"/admin" = "{PROBE}:app"
"""


def environ(client, path="/app/", *headers):
    """Return the environ that the app received."""
    answer = client.get(path, *headers)
    assert answer.status == 200, answer
    return json.loads(answer.body)


def request(target, *headers, method="GET", version="1.1"):
    return "\r\n".join([f"{method} {target} HTTP/{version}", *headers, "", ""])


def assert_answers(server, path="/app/"):
    with Client(server.url) as client:
        assert client.get(path).status == 200
    assert server.stop() == 0
    assert "Traceback" not in server.log()


# ------------------------------------------------------------------------------------------------------------- the host


@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [
        ("/app/", ["Host: example.com"], 200),
        ("/app/", ["Host: EXAMPLE.com.:8080"], 200),
        ("/app/", ["Host: [::1]:8080"], 200),
        ("/app/", [], 400),
        ("/app/", ["Host:"], 400),
        ("/app/", ["Host: example.com", "Host: example.com"], 400),
        ("/app/", ["Host: example.com", "host: evil.example"], 400),
        ("/app/", ["Host: example.com, evil.example"], 400),
        ("/app/", ["Host: user@example.com"], 400),
        ("/app/", ["Host: example.com/x"], 400),
        ("/app/", ["Host: example.com:http"], 400),
        ("/app/", ["Host: [::1"], 400),
        ("/app/", ["Host: a b"], 400),
        ("http://example.com/app/", ["Host: example.com"], 200),
        ("HTTP://Example.com:80/app/", ["Host: example.COM:80"], 200),
        ("http://example.com/app/", ["Host: example.com:80"], 200),
        ("http://other.example/app/", ["Host: example.com"], 200),
        ("http://other.example/app/", ["Host: a b"], 400),
        ("http://user@example.com/app/", ["Host: example.com"], 400),
        ("http://example.com/app/", [], 400),
    ],
)
def test_the_host_is_named_once_and_without_contradiction(serve, target, headers, status):
    server = serve(TABLE)
    with Client(server.url) as client:
        client.send(request(target, *headers))
        assert client.answer().status == status
    assert_answers(server)


def test_http_1_0_may_omit_the_host(serve):
    server = serve(TABLE)
    with Client(server.url) as client:
        client.send(request("/app/", version="1.0"))
        answer = client.answer()
    assert answer.status == 200
    assert "HTTP_HOST" not in json.loads(answer.body)


def test_http_1_0_may_name_the_host_in_the_target(serve):
    server = serve(TABLE)
    with Client(server.url) as client:
        client.send(request("http://example.com/app/x?y", version="1.0"))
        got = json.loads(client.answer().body)
    assert (got["HTTP_HOST"], got["PATH_INFO"], got["QUERY_STRING"]) == ("example.com", "/x", "y")


@pytest.mark.parametrize("host", ["b.example", "A.example:80", "admin.example"])
def test_the_authority_of_an_absolute_target_replaces_the_host(serve, host):
    server = serve(TABLE.replace('"/app"', '"a.example/"'))
    with Client(server.url) as client:
        client.send(request("http://a.example:81/x", f"Host: {host}"))
        got = json.loads(client.answer().body)
    assert (got["HTTP_HOST"], got["mountpoint.mount"]) == ("a.example:81", "a.example/")


def test_a_host_in_the_table_has_its_own_mounts(serve):
    server = serve(TABLE.replace('"/app"', '"app.example.com/"'))
    with Client(server.url) as client:
        assert client.get("/app/").status == 404
        client.host = "App.Example.Com.:80"
        assert environ(client, "/x")["mountpoint.mount"] == "app.example.com/"


# ----------------------------------------------------------------------------------------------------------- the target


@pytest.mark.parametrize(
    ("target", "path_info"),
    [
        ("/slow", "/slow"),
        ("//slow", "//slow"),
        ("///", "///"),
        ("/a//b/", "/a//b/"),
        ("/a%2Fb", "/a/b"),
        ("/%61dmin/", "/admin/"),
        ("/a%252Fb", "/a%2Fb"),
        ("/a%", "/a%"),
        ("/a;v=1", "/a;v=1"),
        ("/a\\b", "/a\\b"),
        ("/a:b@c", "/a:b@c"),
        ("/..a/.b", "/..a/.b"),
        ("/caf%C3%A9", "/caf\xc3\xa9"),
        ("/caf\xc3\xa9", "/caf\xc3\xa9"),
        ("/%FF", "/\xff"),
        ("/a%00%09%0A", "/a\x00\t\n"),
        ("http://localhost//x", "//x"),
        ("http://localhost", "/"),
        ("http://localhost?q", "/"),
    ],
)
def test_the_path_arrives_byte_for_byte(serve, target, path_info):
    server = serve(ROOT)
    with Client(server.url) as client:
        client.host = "localhost"
        got = environ(client, target)
        assert got["SCRIPT_NAME"] + got["PATH_INFO"] == path_info
        assert got["REQUEST_URI"] == target
    assert server.stop() == 0


def test_a_path_with_two_slashes_reaches_no_mount_below_the_root(serve):
    server = serve(ROOT)
    with Client(server.url) as client:
        assert environ(client, "//admin/x")["mountpoint.mount"] == "/"
        assert environ(client, "/admin//x")["PATH_INFO"] == "//x"


@pytest.mark.parametrize(
    "target",
    [
        "/ad\tmin",
        "/\tadmin/",
        "\x01/admin/",
        "/admin\x00/",
        "/admin/\x1f",
        "/admin/\x7f",
        "/admin/?a\tb",
        "/admin/#top",
        "/admin/?q#top",
        "//admin/#",
        "/admin/%2e%2e/x",
        "/admin/../x",
        "/admin/..",
        "/./admin/",
        "/x/..%2fadmin/",
        "http://[::1/x",
        "http://[/x",
        "http://a]b/x",
        "http:///x",
        "javascript%3Aalert(1)",
        "javascript:alert(1)",
        "admin/",
        "*",
        "?q",
        "mailto:a@b",
    ],
)
def test_an_invalid_target_is_rejected(serve, target):
    server = serve(ROOT)
    with Client(server.url) as client:
        client.send(request(target, "Host: localhost"))
        answer = client.answer()
        assert answer.status == 400
        assert b"admin" not in answer.body
        assert b"javascript" not in answer.body
        assert "Location" not in answer.headers
    assert_answers(server, "/")


@pytest.mark.parametrize("mount", ["/app", "/"])
def test_options_of_the_whole_server_gets_204(serve, mount):
    server = serve(TABLE.replace('"/app"', f'"{mount}"'))
    with Client(server.url) as client:
        for _ in range(2):
            client.request("*", method="OPTIONS")
            answer = client.answer()
            assert (answer.status, answer.body) == (204, b"")
            if answer.closes:
                break
    assert server.stop() == 0


def test_connect_is_rejected(serve):
    server = serve(ROOT)
    with Client(server.url) as client:
        client.send(request("localhost:443", "Host: localhost:443", method="CONNECT"))
        assert client.answer().status == 400
    assert_answers(server, "/")


def test_the_redirect_of_the_exact_prefix_keeps_the_query(serve):
    server = serve(TABLE)
    with Client(server.url) as client:
        answer = client.get("/app?a=%2F&b=//x")
        assert (answer.status, answer.headers["Location"]) == (308, "/app/?a=%2F&b=//x")
        assert client.get("/app/").status == 200  # on the same connection


def test_the_query_arrives_unchanged(serve):
    server = serve(TABLE)
    with Client(server.url) as client:
        assert environ(client, "/app/?a=%2e%2E/../&?\xc3\xa9")["QUERY_STRING"] == "a=%2e%2E/../&?\xc3\xa9"


def test_a_target_of_60_kb_arrives_whole(serve):
    path = "/" * 60_000
    server = serve(ROOT)
    with Client(server.url) as client:
        assert environ(client, path)["PATH_INFO"] == path


def test_a_header_beyond_64_kib_gets_431_that_names_its_limit(serve):
    server = serve(ROOT)
    with Client(server.url) as client:
        client.send("GET / HTTP/1.1\r\nX: " + "a" * 65_536)
        answer = client.answer()
    assert (answer.status, answer.closes) == (431, True)
    assert b"max_request_header_size of 65536" in answer.body


# ---------------------------------------------------------------------------------------------------- lines and headers


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("GARBAGE\r\n\r\n", 400),
        ("GET\r\n\r\n", 400),
        ("GET  /app/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("get /app/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /app/ HTTP/1.1 \x00\r\nHost: a\r\n\r\n", 400),
        ("GET /app/ HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", 400),
        ("GET /app/ HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n", 400),
        ("GET /app/ HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400),
        ("GET /app/ HTTP/1.1\r\n Host: a\r\n\r\n", 400),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        ("GET /app/ HTTP/1.1\n\r\n", 400),
        ("GET /app/ HTTP/1.1\n\n", 400),
        ("GET /app/ HTTP/1.1\r\nHost: a\n\n", 400),
        ("GET /app/ HTTP/1.1\r\nHost: a\r\rX", 400),
        ("\nGET /app/ HTTP/1.1\r\n", 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        ("GET /app/ HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        ("GET /app/ HTTP/0.9\r\nHost: a\r\n\r\n", 505),
        ("GET /app/ HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\nContent-Type: c/d\r\n\r\n", 400),
        ("GET /app/ HTTP/1.1\r\nHost: a\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n", 400),
        ("GET /app/ HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400),
        ("GET /app/ HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        ("GET /app/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n", 400),
        (f"GET /app/ HTTP/1.1\r\nHost: a\r\nContent-Length: {'9' * 5000}\r\n\r\n", 413),
        ("POST /app/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        ("POST /app/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\n\r\nhello", 400),
        ("POST /app/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello5\n", 400),
        ("POST /app/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a\n", 400),
        ("POST /app/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", 400),
        ("POST /app/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\n", 400),
        ("POST /app/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", 400),
        ("POST /app/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ,\r\nContent-Length: 5\r\n\r\n", 400),
        ("POST /app/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", 501),
    ],
)
def test_malformed_http_is_rejected(serve, sent, status):
    server = serve(TABLE)
    with Client(server.url) as client:
        client.send(sent)
        answer = client.answer()
        assert answer.status == status
        assert answer.closes
        assert client.is_closed()
    assert_answers(server)


@pytest.mark.parametrize("version", ["1.1", "1.2", "1.9"])
@pytest.mark.parametrize("size", ["5", "5;a", "5; a=b", '5 ;a = "b"', "5\t;\ta"])
def test_later_minor_versions_and_chunk_extensions_are_read(serve, version, size):
    server = serve(TABLE)
    with Client(server.url) as client:
        lines = request("/app/x", "Host: a", "Transfer-Encoding: chunked", method="POST", version=version)
        client.send(f"{lines}{size}\r\nhello\r\n0\r\n\r\n")
        answer = client.answer()
        assert not answer.closes
        got = json.loads(answer.body)
        assert (got["CONTENT_LENGTH"], got["SERVER_PROTOCOL"]) == ("5", "HTTP/1.1")
        assert client.get("/app/").status == 200  # on the same connection


@pytest.mark.parametrize("lines", [["Connection: TE, close"], ["Connection: TE", "Connection: Close"]])
def test_close_anywhere_in_connection_closes_the_connection(serve, lines):
    server = serve(TABLE)
    with Client(server.url) as client:
        answer = client.get("/app/", *lines)
        assert (answer.status, answer.closes) == (200, True)
        assert client.is_closed()


FORWARDING = [
    "X-Forwarded-For: 192.0.2.1",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: evil.example",
    "X-Forwarded-Port: 444",
    "X-Forwarded-Prefix: //evil.example",
    "X-Forwarded-Server: evil.example",
    "X-Forwarded-By: evil",
    "X-Real-IP: 192.0.2.1",
    "X-Script-Name: /evil",
    "X-Forwarded-Ssl: on",
    "X-Forwarded-User: evil",
    "X-Original-URL: /evil",
    "X-Rewrite-URL: /evil",
    "Front-End-Https: on",
    "Remote-User: evil",
    "Client-IP: 192.0.2.1",
    "Forwarded: for=192.0.2.1;proto=https",
]


@pytest.mark.parametrize("form", [str, str.lower, lambda line: line.replace("-", "_", 3)], ids=["-", "lower", "_"])
def test_untrusted_forwarding_headers_do_not_reach_the_app(serve, form):
    server = serve(TABLE)
    with Client(server.url) as client:
        plain = environ(client, "/app/x")
        assert environ(client, "/app/x", *map(form, FORWARDING)) == plain
        assert environ(client, "/app/x", "X-Other: 1") == plain | {"HTTP_X_OTHER": "1"}


def test_forwarding_headers_do_not_reach_the_log(serve):
    server = serve(TABLE)
    with Client(server.url) as client:
        client.get("/app/", *FORWARDING)
    assert server.stop() == 0
    assert "192.0.2.1" not in server.log()


def test_headers_with_underscores_cannot_replace_other_headers(serve):
    server = serve(TABLE)
    with Client(server.url) as client:
        got = environ(client, "/app/", "X_User: evil", "X-User: good", "Content_Length: 5", "Host_: b")
    assert got["HTTP_X_USER"] == "good"
    assert not got.keys() & {"HTTP_HOST_", "CONTENT_LENGTH"}


def test_strips_restores_the_prefix_and_trusts_no_header(serve):
    server = serve('[proxy]\nstrips = "/apps"\n' + TABLE)
    with Client(server.url) as client:
        got = environ(client, "/app/x", "X-Forwarded-Prefix: /evil")
        assert (got["SCRIPT_NAME"], got["PATH_INFO"]) == ("/apps/app", "/x")
        assert client.get("/app?q").headers["Location"] == "/apps/app/?q"


# ------------------------------------------------------------------------------------------------------ hostile clients


def test_clients_that_send_slowly_delay_no_other(serve):
    server = serve(table(threads=1))
    with ExitStack() as stack:
        slow = [stack.enter_context(Client(server.url)) for _ in range(20)]
        for client in slow:
            client.send("GET /app/ HTTP/1.1\r\nHo")
        other = stack.enter_context(Client(server.url))
        assert other.get("/app/").status == 200
        for client in slow:
            client.send("st: a\r\n\r\n")
            assert client.answer().status == 200
    assert server.stop() == 0


def test_a_request_that_comes_a_byte_at_a_time_is_answered(serve):
    server = serve(TABLE)
    with Client(server.url) as client:
        for byte in request("/app/", "Host: localhost", "X-A: b"):
            client.send(byte)
        assert client.answer().status == 200


def test_clients_that_reset_at_any_moment_leave_no_error(serve):
    server = serve(table(threads=2))
    whole = request("/app/upload", "Host: a", "Content-Length: 10", method="POST") + "x" * 10
    for length in range(0, len(whole) + 1, 3):
        client = Client(server.url)
        client.send(whole[:length])
        client.reset()
    for path in ("/app/sized/1000000", "/app/streamed/1000000", "/app/file/1000000", "/app/endless") * 5:
        client = Client(server.url, buffer=4096)
        client.request(path)
        client.head()
        client.reset()
    assert_answers(server)


def test_readers_that_never_read_hold_only_their_threads(serve):
    server = serve(table(threads=3, drain_timeout=0.2))
    with ExitStack() as stack:
        for _ in range(2):
            reader = stack.enter_context(Client(server.url, buffer=4096))
            reader.request("/app/endless")
            reader.head()
        client = stack.enter_context(Client(server.url))
        assert client.get("/app/").status == 200
        assert server.stop() == 1
    assert server.log().count("cut off: 'GET /app/endless HTTP/1.1'") == 2


def test_garbage_from_a_client_that_left_logs_no_traceback(serve):
    server = serve(TABLE)
    for _ in range(20):
        client = Client(server.url)
        client.send("GARBAGE\r\n\r\n" * 50)
        client.reset()
    assert_answers(server)


def test_a_trusted_peer_tells_the_user_and_its_groups(serve):
    server = serve('[proxy]\ntrusted = ["127.0.0.1"]\nuser = "X-Forwarded-User"\npass = ["X-Role"]\n' + TABLE)
    with Client(server.url) as client:
        plain = environ(client, "/app/")
        assert environ(client, "/app/", "X-Forwarded-User: ada", "X-Role: a", "X_Role: eve", "Remote-User: eve") == (
            plain | {"REMOTE_USER": "ada", "HTTP_X_FORWARDED_USER": "ada", "HTTP_X_ROLE": "a"}
        )
        assert client.get("/app/", "X-Forwarded-User: ada", "X-Forwarded-User: eve").status == 400


def test_another_peer_cannot_tell_the_user(serve):
    server = serve('[proxy]\ntrusted = ["192.0.2.1"]\nuser = "X-User"\npass = ["X-Role"]\n' + TABLE)
    with Client(server.url) as client:
        assert environ(client, "/app/", "X-User: eve", "X-Role: admin", "X_User: eve") == environ(client, "/app/")


def test_a_forwarded_client_without_an_address_gets_400(serve):
    server = serve('[proxy]\ntrusted = ["127.0.0.1"]\nx_for = 1\n' + TABLE)
    with Client(server.url) as client:
        assert environ(client, "/app/", "X-Forwarded-For: 192.0.2.9")["REMOTE_ADDR"] == "192.0.2.9"
        for value in ("unknown", "192.0.2.9, garbage", "192.0.2.9,"):
            assert client.get("/app/", f"X-Forwarded-For: {value}").status == 400
