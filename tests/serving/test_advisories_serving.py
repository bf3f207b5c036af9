"""Published attacks on this family of programs that need a socket. The others are in wsgi/test_advisories.py."""

import json

import pytest
from support.client import PROBE, Client

TABLE = f"""
[proxy]
trusted = ["127.0.0.1"]
x_for = 1
x_proto = 1
x_host = 1
x_port = 1
x_prefix = 1

[mounts]
"/admin" = "{PROBE}:app"
"/app" = "{PROBE}:app"
"""
AT_THE_ROOT = f"""
[mounts]
"/" = "{PROBE}:app"
"""


@pytest.fixture
def server(serve):
    return serve(TABLE)


def environ(server, *headers, path="/app/x"):
    """Return the environ that the app received."""
    with Client(server.url) as client:
        answer = client.get(path, *headers)
    assert answer.status == 200, answer
    return json.loads(answer.body)


def answers_to(server, *parts):
    """Send *parts* and return the status of each response until the server closes the connection."""
    with Client(server.url) as client:
        client.send(b"".join(parts))
        statuses = []
        while True:
            try:
                answer = client.answer()
            except ConnectionError:
                return statuses
            statuses.append(answer.status)


# ----------------------------------------------------------------------------------------------------- names of headers


@pytest.mark.parametrize(
    "alias",
    [
        *("X_Forwarded_Proto: https", "X-Forwarded_Proto: https", "x_forwarded-proto: https"),
        *("X_Forwarded_Prefix: /evil", "X-Forwarded_Prefix: //evil.example", "X_Forwarded_For: 203.0.113.9"),
        *("X_Forwarded_Host: evil.example", "X_Forwarded_Port: 444", "X_Script_Name: /evil", "X_Real_IP: 203.0.113.9"),
        *("X.Forwarded.Proto: https", "X.Forwarded.Prefix: /evil"),  # CVE-2026-88011, the same with dots
    ],
)
def test_traefik_cve_2026_39858_another_spelling_of_a_forwarding_header(server, alias):
    """GHSA-5m6w-wvh7-57vm: a proxy clears X-Forwarded-Proto, not X_Forwarded_Proto. Both have one key in environ."""

    def seen_with(*headers):
        seen = environ(server, *headers)
        return {name: value for name, value in seen.items() if "." not in name and name != "REMOTE_PORT"}

    assert seen_with(alias) == seen_with()


@pytest.mark.parametrize("alias", ["X-Auth_User: root", "X_Auth_User: root", "X_AUTH-USER: root"])
def test_django_cve_2015_0219_an_underscore_for_a_hyphen(server, alias):
    assert "HTTP_X_AUTH_USER" not in environ(server, alias)
    assert environ(server, "X-Auth-User: ann", alias)["HTTP_X_AUTH_USER"] == "ann"


@pytest.mark.parametrize("name", ["SCRIPT_NAME", "script_name", "Script-Name", "PATH_INFO", "Path-Info"])
def test_gunicorn_issue_2650_a_script_name_from_the_client(server, name):
    """``/REMOVED/admin/x`` with ``script_name: REMOVED/`` went past the rules of nginx and reached ``/admin/x``."""
    seen = environ(server, f"{name}: REMOVED/")
    assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == ("/app", "/x")
    with Client(server.url) as client:
        assert client.get("/REMOVED/admin/x", f"{name}: REMOVED/").status == 404


# -------------------------------------------------------------------------------------------------------- host and path


@pytest.mark.parametrize(
    "host", ["a/?x=", "evil.example/", "example.com?x", "example.com#x", "user@example.com", "a b"]
)
@pytest.mark.parametrize("table", [TABLE, AT_THE_ROOT], ids=["mounts", "root"])
def test_rack_cve_2026_34835_starlette_cve_2026_48710_host_delimiters(serve, table, host):
    """The server checks the host even if the table names no host."""
    server = serve(table)
    assert answers_to(server, f"GET /app/x HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()) == [400]


@pytest.mark.parametrize("target", ["/app../admin", "/app%2e%2e/admin", "/app/../admin/x", "/app/%2e%2e/admin/x"])
def test_traefik_cve_2026_48020_dot_segments(server, target):
    with Client(server.url) as client:
        assert client.get(target).status in (400, 404)


@pytest.mark.parametrize(
    "target", ["//evil.example/..", "//evil.example", "//evil.example/%2f..", "///evil.example/app"]
)
@pytest.mark.parametrize("table", [TABLE, AT_THE_ROOT], ids=["mounts", "root"])
def test_cpython_cve_2021_28861_django_cve_2018_14574_two_slashes(serve, table, target):
    with Client(serve(table).url) as client:
        answer = client.get(target)
    assert answer.status in ((200, 400) if table is AT_THE_ROOT else (400, 404))
    assert answer.headers["Location"] is None


def test_a_path_with_two_slashes_gets_no_slash_redirect(server):
    with Client(server.url) as client:
        assert client.get("//app").status == 404
        assert client.get("/app").headers["Location"] == "/app/"


@pytest.mark.parametrize(
    "target", ["javascript%3Aalert(1)", "javascript:alert(1)", "app/x", "@evil.example", "%2Fapp%2Fx"]
)
@pytest.mark.parametrize("table", [TABLE, AT_THE_ROOT], ids=["mounts", "root"])
def test_a_target_without_a_leading_slash_is_rejected(serve, table, target):
    """Not from an advisory: an app that links to the requested path would link to a script."""
    server = serve(table)
    request = f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
    assert answers_to(server, request) == [200 if target == "%2Fapp%2Fx" else 400]


# --------------------------------------------------------------------------------------- where a request ends: waitress

SMUGGLED = b"GET /admin/smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


def post(*headers, body=b""):
    return b"\r\n".join([b"POST /app/x HTTP/1.1", b"Host: a", *headers, b"", body])


@pytest.mark.parametrize(
    "request_",
    [
        post(b"Content-Length: %d" % len(SMUGGLED), b"X-Header: x\nContent-Length: 0", body=SMUGGLED),
        post(b"X-Header: x\nTransfer-Encoding: chunked", body=b"0\r\n\r\n" + SMUGGLED),
        post(b"X-Header: x\rContent-Length: 0", b"Content-Length: %d" % len(SMUGGLED), body=SMUGGLED),
    ],
)
def test_waitress_cve_2019_16785_a_line_that_ends_with_a_bare_lf_or_cr(server, request_):
    """The proxy saw one header with odd bytes, and waitress two headers, so that it took the body for a request."""
    assert answers_to(server, request_) == [400]
    assert "smuggled" not in server.log()


@pytest.mark.parametrize("blank", [b"\x0b", b"\x0c", b"\x1c", b"\xa0", b"\x85"])
def test_waitress_cve_2019_16789_white_space_around_chunked(server, blank):
    """The proxy used Content-Length, since ``\\x0bchunked`` is not a coding, and waitress read it as ``chunked``."""
    request = post(
        b"Content-Length: %d" % (5 + len(SMUGGLED)),
        b"Transfer-Encoding: " + blank + b"chunked",
        body=b"0\r\n\r\n" + SMUGGLED,
    )
    [status] = answers_to(server, request)
    assert status in (400, 501)
    assert "smuggled" not in server.log()


@pytest.mark.parametrize("length", [b"+10", b"-1", b"1_0", b"0x0a", b"10 ", b"1e1", b"\xd9\xa1", b"10, 10", b""])
def test_waitress_cve_2022_24761_a_length_that_only_python_parses(server, length):
    request = post(b"Content-Length: " + length, body=b"0123456789" + SMUGGLED)
    if length.strip() != length:  # RFC 9110 section 5.5: white space around a value is not part of it
        assert answers_to(server, request, b"GET /app/close HTTP/1.0\r\n\r\n") == [200, 200, 200]
    else:
        assert answers_to(server, request) == [400]
        assert "smuggled" not in server.log()


@pytest.mark.parametrize(
    "chunk",
    [b"+2\r\n12", b"0x2\r\n12", b"-2\r\n12", b"1_0\r\n0123456789abcdef", b"2;\x00\r\n12", b"2;a\nb\r\n12", b" 2\r\n12"],
)
def test_waitress_cve_2022_24761_a_chunk_size_that_only_python_parses(server, chunk):
    request = post(b"Transfer-Encoding: chunked", body=chunk + b"\r\n0\r\n\r\n" + SMUGGLED)
    assert answers_to(server, request) == [400]
    assert "smuggled" not in server.log()
