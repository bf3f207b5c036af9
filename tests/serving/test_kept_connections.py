"""Connections that stay open after a response without Content-Length, since the client can find its end."""

import http.client
import sys
from contextlib import ExitStack, closing

import pytest
from support.client import Client, app_file
from support.proxies import Front, reserved_ports, version_of
from support.proxies import start as start_proxy
from support.running import children, serving

from mountpoint.config.address import listen_address
from mountpoint.config.reader import load_config
from mountpoint.proxyconf import RenderOptions, proxy_config

TABLE = f"""
[server]
threads = 4
[mounts]
"/app" = "{app_file("kept_app")}:app"
"""
CHUNKED = {
    "pieces": b"one two",
    "written": b"one two",
    "written-and-file": b"written of a file",
}
LENGTH_KNOWN = {"empty": b"", "file": b"of a file"}
BODILESS = ["204", "304", *(f"{status}/{body}" for status in ("204", "304") for body in ("pieces", "file", "empty"))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def server(folder):
    with serving(TABLE, folder) as server:
        yield server


@pytest.mark.parametrize(("path", "body"), [*CHUNKED.items(), *LENGTH_KNOWN.items()])
def test_a_response_without_a_length_keeps_the_connection(server, path, body):
    with Client(server.url) as client:
        for _ in range(3):
            answer = client.get(f"/app/{path}")
            assert (answer.status, answer.body, answer["Connection"]) == (200, body, None)
            assert (answer["Transfer-Encoding"] == "chunked") == (path in CHUNKED)


@pytest.mark.parametrize("path", BODILESS)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_204_and_304_keep_the_connection(server, path, version):
    with Client(server.url) as client:
        for _ in range(3):
            client.request(f"/app/{path}", "Connection: keep-alive", version=version)
            answer = client.answer(bodiless=True)
            assert answer.status == int(path[:3])
            assert answer["Connection"] == ("Keep-Alive" if version == "1.0" else None)
            assert not {"content-length", "transfer-encoding"} & {name.lower() for name in answer.headers}
        assert client.get("/app/pieces").body == b"one two"


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_head_of_a_response_without_a_length_keeps_the_connection(server, version):
    with Client(server.url) as client:
        for path in [*CHUNKED, *LENGTH_KNOWN, "204"]:
            client.request(f"/app/{path}", "Connection: keep-alive", method="HEAD", version=version)
            assert client.answer(bodiless=True).status in (200, 204)
        assert client.get("/app/pieces").body == b"one two"


def test_pipelined_responses_follow_each_other(server):
    with Client(server.url) as client:
        client.pipeline("/app/pieces", "/app/204", "/app/empty", "/app/304/file", "/app/file", "/app/pieces")
        answers = [client.answer() for _ in range(6)]
        assert [answer.status for answer in answers] == [200, 204, 200, 304, 200, 200]
        assert [answer.body for answer in answers] == [b"one two", b"", b"", b"", b"of a file", b"one two"]


@pytest.mark.parametrize(("path", "body"), CHUNKED.items())
def test_an_http_1_0_client_gets_a_body_that_ends_with_its_connection(server, path, body):
    with Client(server.url) as client:
        client.request(f"/app/{path}", "Connection: keep-alive", version="1.0")
        status, headers = client.head()
        assert (status, headers["Connection"], headers["Transfer-Encoding"]) == (200, "close", None)
        assert client.read_to_end() == body


@pytest.mark.parametrize("path", ["pieces", "empty", "204", "304/pieces"])
def test_a_client_that_asks_for_it_gets_its_connection_closed(server, path):
    with Client(server.url) as client:
        answer = client.get(f"/app/{path}", "Connection: close")
        assert answer.closes
        assert client.is_closed()


def test_a_cut_response_has_no_last_chunk(server):
    with Client(server.url) as client:
        client.request("/app/cut")
        _, headers = client.head()
        assert headers["Transfer-Encoding"] == "chunked"
        assert client.read_to_end() == b"4\r\none \r\n"


def test_an_event_arrives_at_once_and_the_connection_is_kept(server, folder):
    with Client(server.url) as client:
        client.request("/app/sse?go")
        _, headers = client.head()
        assert client._file.readline() == b"9\r\n"
        assert client._file.read(11) == b"data: 1\n\n\r\n"
        (folder / "go").touch()
        assert client.body(headers) == b"data: 2\n\n"
        assert client.get("/app/pieces").body == b"one two"
    log = server.wait_for("/app: dropped hop-by-hop headers of the app")
    assert ": Connection; " in log


# ------------------------------------------------------------------------------------------------- behind real proxies


@pytest.fixture(scope="module", params=["nginx", "haproxy", "caddy", "apache"])
def front(request, server, folder):
    if sys.platform == "win32":
        pytest.skip("the proxies are those of Linux and macOS")
    with ExitStack() as stack:
        launch, ports = stack.enter_context(children(Front)), stack.enter_context(reserved_ports())
        options = RenderOptions(
            "localhost",
            upstreams=[listen_address(f"127.0.0.1:{server.port}")],
            standalone=True,
            proxy_version=version_of(request.param),
        )
        text = proxy_config(load_config(folder / "mounts.toml"), request.param, options).text
        yield start_proxy(launch, request.param, text, folder / request.param, ports, None)


def test_a_proxy_gets_each_response_whole_on_kept_connections(front):
    for _ in range(3):
        for path, body in {**CHUNKED, **LENGTH_KNOWN, "204": b"", "304": b"", "304/file": b""}.items():
            answer = front.fetch(f"/app/{path}")
            assert (answer.status, answer.body) == (int(path[:3]) if path[0] in "23" else 200, body)
        assert front.fetch("/app/pieces", method="HEAD").status == 200


def test_a_proxy_does_not_take_a_cut_response_for_a_whole_one(front):
    try:
        assert front.fetch("/app/cut").status == 502
    except (ConnectionError, http.client.HTTPException):
        pass
    except AssertionError:  # Caddy 2.6 notices that the response is cut off, and ends its own response nevertheless
        front.wait_for("aborting with incomplete response")
    assert front.fetch("/app/pieces").body == b"one two"


def test_a_proxy_passes_an_event_on_at_once(front, folder):
    name = f"go-{front.port}"
    with closing(front.connect()) as connection:
        connection.request("GET", f"/app/sse?{name}")
        response = connection.getresponse()
        assert response.read(9) == b"data: 1\n\n"
        (folder / name).touch()
        assert response.read() == b"data: 2\n\n"
