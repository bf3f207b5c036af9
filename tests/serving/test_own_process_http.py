"""A mount with a process of its own responds as the same app in the server's process does, byte for byte."""

import re
import sys

import pytest
from support.client import app_file
from support.running import serving

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no workers")

TABLE = f"""
[server]
ident = "x"
[defaults]
app = "{app_file("own_app")}:app"
[mounts."/one"]
[mounts."/own"]
process = "own"
"""

#: Pages whose whole response is compared.
PAGES = [
    *("hello", "environ", "empty_list", "empty_item", "tuple", "list", "generator", "late_start", "late_empty"),
    *("single_closing", "closing", "big", "big_pieces", "huge_piece", "bytearray", "write", "write_only"),
    *("file", "file_length", "file_empty", "file_like", "duplicates", "not_modified", "no_content", "reason"),
    *("server", "too_few", "too_many", "raise", "raise_started", "raise_later", "raise_close", "exit", "interrupt"),
    *("not_started", "started_twice", "exc_info", "exc_info_late", "none", "item_none", "bad_status"),
    *("bad_header", "bad_header_handled", "bad_length", "wide_header", "fork", "nowhere", "caf%E9/%FF%20?q=%zz&\xe9"),
]
BODIES = [b"", b"x", b"a\nb\r\n\nlast", b"line\n" * 30_000, bytes(range(256)) * 4000]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(TABLE, tmp_path_factory.mktemp("own")) as server:
        server.wait_for("is ready")
        yield server


def exchange(server, connect, mount, page, method="GET", body=b"", version="1.1", headers=()):
    """Return the response and whether it is complete, without what differs by chance: date, port, mount, chunks."""
    client = connect(server)
    client.request(f"/{mount}/{page}", "Connection: close", *headers, method=method, body=body, version=version)
    data = client.read_to_end()
    data = re.sub(rb"\r\nDate: [^\r]*", b"", data)
    data = re.sub(rb'"REMOTE_PORT": "\d+"', b'"REMOTE_PORT": ""', data)
    head, _, body = data.partition(b"\r\n\r\n")
    body, is_complete = dechunked(body) if b"Transfer-Encoding: chunked" in head else (body, True)
    return (head + b"\r\n\r\n" + body).replace(f"/{mount}".encode(), b"/MOUNT"), is_complete


def dechunked(body):
    """Return a chunked *body* without its framing, and whether it has its end."""
    pieces = []
    while match := re.match(rb"([0-9A-Fa-f]+)\r\n", body):
        size = int(match[1], 16)
        pieces.append(body[match.end() : match.end() + size])
        body = body[match.end() + size + 2 :]
        if not size:
            return b"".join(pieces), True
    return b"".join(pieces), False


def both(*arguments, **options):
    return [exchange(*arguments[:2], mount, *arguments[2:], **options) for mount in ("one", "own")]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("page", PAGES)
def test_both_kinds_of_mount_send_the_same_bytes(server, connect, page, method):
    shared, own = both(server, connect, page, method)
    assert own == shared
    assert shared[0].startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize("page", ["list", "generator", "big", "file", "raise_later", "too_few", "empty_list"])
def test_an_old_client_gets_the_same_bytes(server, connect, page):
    shared, own = both(server, connect, page, version="1.0")
    assert own == shared


@pytest.mark.parametrize("body", BODIES, ids=len)
@pytest.mark.parametrize(
    "page", ["read_all", "read_pieces", "read_lines", "read_mixed", "read_late", "read_some", "echo", "hello"]
)
def test_a_body_arrives_whole(server, connect, page, body):
    shared, own = both(server, connect, page, "POST", body)
    assert own == shared


def test_headers_of_any_bytes_arrive_as_they_are(server, connect):
    headers = ["X-Bytes: \xe9\xff\x80", "X-Twice: a", "X-Twice: b", "X-Empty:", "Cookie: a=\xc3\xa9"]
    headers.append("X-Long: " + "y" * 60_000)
    shared, own = both(server, connect, "environ", headers=headers)
    assert own == shared
    assert b"HTTP_X_BYTES" in own[0]


def test_an_item_that_is_a_string_gets_500(server):
    assert server.request("/own/string").status == 500


def test_a_connection_serves_both_kinds_one_after_the_other(server, connect):
    client = connect(server)
    for page in ("hello", "big", "file", "read_all", "closing", "hello"):
        for mount in ("own", "one"):
            assert client.get(f"/{mount}/{page}").status == 200


def test_close_runs_once_for_each_response(server, connect):
    counts = {}
    for mount in ("one", "own"):
        before = connect(server).get(f"/{mount}/closed").body.split(b",").count(b"closing")
        for method in ("GET", "HEAD"):
            exchange(server, connect, mount, "closing", method)
        counts[mount] = connect(server).get(f"/{mount}/closed").body.split(b",").count(b"closing") - before
    assert counts == {"one": 2, "own": 2}
