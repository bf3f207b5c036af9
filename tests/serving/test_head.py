"""HEAD: the header of GET and no byte more, so that a client finds the next response on the connection."""

import pytest
from support.client import Client, app_file
from support.running import Serving, serving

APP = f"{app_file('head_app')}:app"
TABLE = f"""
[server]
max_request_header_size = 4096
max_request_body_size = 1000
header_timeout = 1

[mounts]
"/app" = "{APP}"

[mounts."/full"]
app = "{APP}"
limit = 1
queue = 0
"""
BODY = b"0123456789"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server for the tests that leave it unchanged."""
    with serving(TABLE, tmp_path_factory.mktemp("head")) as server:
        yield server


def raw(server: Serving, data: str) -> bytes:
    """Send *data* and return all bytes until the server closes the connection."""
    with Client(server.url) as client:
        client.send(data)
        return client.read_to_end()


def fields(head: bytes) -> list[bytes]:
    """Return the sorted lines of a header without Date."""
    return sorted(line for line in head.split(b"\r\n") if not line.startswith(b"Date:"))


# ---------------------------------------------------------------------------------------------------- responses of apps

SIZED = ["list", "one", "large", "generator", "write", "file", "reporting-file", "not-found"]


@pytest.mark.parametrize("what", SIZED)
def test_the_next_response_follows_the_header_of_head(server, what):
    with Client(server.url) as client:
        for _ in range(3):
            client.request(f"/app/{what}", method="HEAD")
            client.request("/app/one")
            assert client.answer(bodiless=True).status in (200, 404)
            assert client.answer().body == BODY


@pytest.mark.parametrize("what", [*SIZED, "chunked", "boom"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_response_to_head_is_the_header_of_get(server, what, version):
    rest = f" /app/{what}?{version} HTTP/{version}\r\nHost: a\r\nConnection: close\r\n\r\n"
    get_head, _, get_body = raw(server, "GET" + rest).partition(b"\r\n\r\n")
    head, _, body = raw(server, "HEAD" + rest).partition(b"\r\n\r\n")
    assert get_body
    assert body == b""
    assert fields(head) == fields(get_head)
    if what in SIZED:
        assert any(line.startswith(b"Content-Length: ") for line in fields(head))
    server.wait_for(f'"HEAD /app/{what}?{version} HTTP/{version}" {head.split()[1].decode()} - ')


def test_an_app_may_omit_the_body_itself(server):
    with Client(server.url) as client:
        client.request("/app/nothing", method="HEAD")
        answer = client.answer(bodiless=True)
        assert answer.headers["Content-Length"] == "10"
        assert not answer.closes
        assert client.get("/app/one").body == BODY
    assert "too few bytes" not in server.log()


def test_an_exception_after_the_header_does_not_cut_it_off(server):
    with Client(server.url) as client:
        client.request("/app/late-boom", method="HEAD")
        answer = client.answer(bodiless=True)
    assert (answer.status, answer.headers["Content-Length"]) == (200, "10")
    with Client(server.url) as client:
        assert client.get("/app/one").status == 200


def test_the_file_of_a_file_wrapper_is_closed(server):
    for count in (1, 2):
        with Client(server.url) as client:
            client.request("/app/reporting-file", method="HEAD")
            assert client.answer(bodiless=True).headers["Content-Length"] == "10"
            server.wait_for("the file is closed", count=count)


def test_an_endless_body_does_not_hold_a_thread(serve):
    server = serve(TABLE, "--threads", "2")
    clients = [Client(server.url) for _ in range(3)]
    for client in clients:
        client.request("/app/endless", method="HEAD")
        assert client.answer(bodiless=True).status == 200
    server.wait_for("the generator is closed", count=3)
    with Client(server.url) as client:
        assert client.get("/app/one").status == 200
    for client in clients:
        client.close()


# ---------------------------------------------------------------------------------------------- responses of the server


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ("HEAD /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 404),
        ("HEAD /app HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 308),
        ("HEAD /app/../x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 400),
        ("HEAD /app/one HTTP/1.1\r\n\r\n", 400),
        ("HEAD /app/one HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n", 413),
        ("HEAD /app/one HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n", 501),
    ],
)
def test_the_server_s_own_response_to_head_has_no_body(server, request_, status):
    head, _, body = raw(server, request_).partition(b"\r\n\r\n")
    assert head.split()[1] == str(status).encode()
    assert body == b""
    server.wait_for(f'"{request_.partition(chr(13))[0]}" {status} - ')


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ("HEAD /app/one HTTP/1.1\r\nHos", 408),
        ("HEAD /" + "a" * 5000, 431),
        ("HEAD /app/one\r\n\r\n", 400),
        ("HEAD /app/one HTTP/1.1\r\nX : y\r\n\r\n", 400),
        ("HEAD /app/one HTTP/1.1\n", 400),
        ("HEAD /app/one HTTP/2.0\r\n\r\n", 505),
    ],
)
def test_the_response_to_a_malformed_head_has_no_body(server, data, status):
    head, _, body = raw(server, data).partition(b"\r\n\r\n")
    assert head.split()[1] == str(status).encode()
    assert body == b""
    assert b"Connection: close" in fields(head)


def test_a_rejected_head_has_no_body_and_keeps_the_connection(serve, tmp_path):
    server = serve(TABLE)
    with Client(server.url) as holding, Client(server.url) as client:
        holding.request("/full/hold")
        server.wait_for("holding")
        client.request("/full/one", method="HEAD")
        client.request("/app/one")
        refusal = client.answer(bodiless=True)
        assert (refusal.status, refusal.headers["Retry-After"]) == (503, "5")
        assert client.answer().body == BODY
        (tmp_path / "go").touch()
        assert holding.answer().status == 200
    server.wait_for('"HEAD /full/one HTTP/1.1" 503 - ')
