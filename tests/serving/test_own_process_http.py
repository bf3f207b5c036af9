"""A mount with a process of its own responds as the same app in the server's process does, byte for byte."""

import re
import sys

import pytest
from support.client import app_file
from support.running import serving
from support.waiting import wait_until

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
    *("empty_before_start", "body_of_304", "pairs", "bad_length_handled", "raise_close_length", "file_short"),
    *("file", "file_length", "file_empty", "file_like", "duplicates", "not_modified", "no_content", "reason"),
    *("server", "too_few", "too_many", "raise", "raise_started", "raise_later", "raise_close", "exit", "interrupt"),
    *("not_started", "started_twice", "exc_info", "exc_info_late", "none", "item_none", "bad_status"),
    *("mapping", "no_pair", "text", "number", "close_text", "string"),
    *("bad_header", "bad_header_handled", "bad_length", "wide_header", "fork", "nowhere", "caf%E9/%FF%20?q=%zz&\xe9"),
]
#: Parts of the messages about the mistakes of an app, by the page.
MISTAKES = {
    "text": "the app returned 'text' (str); expected an iterable of bytes, such as [b\"text\"]; encode the text",
    "none": "the app returned None; expected an iterable of bytes",
    "number": "the body of the app has 5 (int); expected bytes",
    "mapping": "the headers are {'Content-Type': 'text/plain'} (dict); expected a list of tuples of two strings",
    "no_pair": "the headers have 'Content-Type: text/plain' (str)",
    "close_text": "the close of the body is 'close' (str); expected a method without arguments",
    "bad_length": "invalid literal for Content-Length: '+5'",
    "bad_header": "carriage return/line feed character present in header value 'a\\r\\nb: c'",
    "not_started": "start_response was not called before the first byte of the body",
    "started_twice": "start_response was called a second time without exc_info",
}
BODIES = [b"", b"x", b"a\nb\r\n\nlast", b"line\n" * 30_000, bytes(range(256)) * 4000]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(TABLE, tmp_path_factory.mktemp("own")) as server:
        server.wait_for("is ready")
        yield server


def exchange(server, connect, mount, page, method="GET", body=b"", version="1.1", headers=()):
    """Return the response without chunked framing and varying fields, and whether it is complete."""
    client = connect(server)
    client.request(f"/{mount}/{page}", "Connection: close", *headers, method=method, body=body, version=version)
    head, _, body = without_chance(client.read_to_end(), mount).partition(b"\r\n\r\n")
    body, is_complete = dechunked(body) if b"Transfer-Encoding: chunked" in head else (body, True)
    return head + b"\r\n\r\n" + body, is_complete


def without_chance(data, mount):
    """Return *data* without the fields that vary: date, port and mount."""
    data = re.sub(rb"\r\nDate: [^\r]*", b"", data)
    data = re.sub(rb'"REMOTE_PORT": "\d+"', b'"REMOTE_PORT": ""', data)
    return data.replace(f"/{mount}".encode(), b"/MOUNT")


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


@pytest.mark.parametrize("page", [page for page in PAGES if page not in ("huge_piece", "big_pieces")])  # other chunks
def test_a_connection_ends_or_goes_on_as_in_the_servers_process(server, connect, page):
    found = []
    for mount in ("one", "own"):
        client = connect(server)
        requests = f"GET /{mount}/{page} HTTP/1.1\r\nHost: x\r\n\r\nGET /{mount}/ HTTP/1.0\r\n\r\n"
        client.socket.sendall(requests.encode("latin-1"))
        found.append(without_chance(client.read_to_end(), mount))
    assert found[0] == found[1]


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


def test_a_client_that_waits_for_100_sends_its_body(server, connect):
    shared, own = both(server, connect, "read_all", "POST", b"x" * 100_000, headers=["Expect: 100-continue"])
    assert own == shared
    assert own[0].startswith(b"HTTP/1.1 100 Continue")
    assert b"100000 12000000" in own[0]


def test_headers_of_any_bytes_arrive_as_they_are(server, connect):
    headers = ["X-Bytes: \xe9\xff\x80", "X-Twice: a", "X-Twice: b", "X-Empty:", "Cookie: a=\xc3\xa9"]
    headers.append("X-Long: " + "y" * 60_000)
    shared, own = both(server, connect, "environ", headers=headers)
    assert own == shared
    assert b"HTTP_X_BYTES" in own[0]


def test_a_client_of_head_ends_a_body_without_end(server, connect):
    shared, own = both(server, connect, "write_endless", "HEAD")
    assert own == shared


@pytest.mark.parametrize("page", MISTAKES)
def test_the_log_explains_a_mistake_as_it_does_in_the_servers_process(server, connect, page):
    message = f"mount /own: {MISTAKES[page]}"
    before = server.log().count(message)
    assert exchange(server, connect, "own", page)[0].startswith(b"HTTP/1.1 500 ")
    wait_until(lambda: server.log().count(message) > before)
    exchange(server, connect, "one", page)
    wait_until(lambda: message.replace("/own", "/one") in server.log())


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
