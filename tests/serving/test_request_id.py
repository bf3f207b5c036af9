"""`request_id = true`: each request has one id, in environ, in the response and in the logs."""

import json
import re
import sys
import threading

import pytest
from support.client import Client, app_file, table
from support.running import serving
from support.site_in_thread import running_site
from support.sources import LINTED
from support.waiting import TIMEOUT

from mountpoint.wsgi.proxy_settings import ProxySettings
from mountpoint.wsgi.router import Router
from mountpoint.wsgi.table import Mount, MountTable

NEW = re.compile(r"[0-9a-f]{32}")
GIVEN = "4bf92f35-77b3-4da6-a3ce-929d0e0e4736"
APP = app_file("own_app")
HAS_WORKERS = sys.platform != "win32"
MOUNTS = ["one", "own"] if HAS_WORKERS else ["one"]
TABLE = f"""
[server]
request_id = true
max_request_header_size = 4096
[defaults]
app = "{APP}:app"
slow_after = 0.2
[mounts."/one"]
max_body = 3
[mounts."/named"]
app = "named:app"
[mounts."/broken"]
app = "named:missing"
"""
OWN = """
[mounts."/own"]
process = "own"
[mounts."/dying"]
process = "own"
[mounts."/late"]
process = "own"
timeout = 0.3
"""
#: An app that responds with an id of its own, and one that logs nothing.
NAMED = f"""
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("x-request-id", "mine"), ("X-Request-ID", "again")])
    return [environ["mountpoint.request_id"].encode()]
{LINTED}"""


def serving_ids(folder, proxy=""):
    (folder / "named.py").write_text(NAMED)
    return serving(TABLE + (OWN if HAS_WORKERS else "") + proxy, folder)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that trusts no proxy."""
    with serving_ids(tmp_path_factory.mktemp("open")) as server:
        if HAS_WORKERS:
            server.wait_for("is ready", count=3)
        yield server


@pytest.fixture(scope="module")
def behind_proxy(tmp_path_factory):
    """A server for which the tests are a trusted proxy."""
    with serving_ids(tmp_path_factory.mktemp("behind"), '[proxy]\ntrusted = ["127.0.0.1"]\nx_for = 1\n') as server:
        if HAS_WORKERS:
            server.wait_for("is ready", count=3)
        yield server


def ids_of(response):
    """Return the ids that the app behind *response* has in its environ, and those of the response."""
    environ = json.loads(response.body)
    return environ["HTTP_X_REQUEST_ID"], environ["mountpoint.request_id"], *response.headers.get_all("X-Request-ID")


@pytest.mark.parametrize("mount", MOUNTS)
@pytest.mark.parametrize("sent", [[], [f"X-Request-ID: {GIVEN}"], ["X_Request_ID: forged"]])
def test_a_client_gets_a_new_id_whatever_it_sends(server, connect, mount, sent):
    client = connect(server)
    first = ids_of(client.get(f"/{mount}/environ", *sent))
    second = ids_of(client.get(f"/{mount}/environ", *sent))  # on the same connection
    assert len({*first}) == len({*second}) == 1
    assert first != second
    assert NEW.fullmatch(first[0])


@pytest.mark.parametrize("mount", MOUNTS)
def test_the_id_of_a_trusted_proxy_is_kept(behind_proxy, connect, mount):
    response = connect(behind_proxy).get(f"/{mount}/environ", f"x-request-id: {GIVEN}")
    assert ids_of(response) == (GIVEN, GIVEN, GIVEN)


@pytest.mark.parametrize(
    "sent",
    [
        ["X-Request-ID:"],
        ["X-Request-ID: " + "a" * 129],
        ["X-Request-ID: one", "X-Request-ID: two"],
        ["X-Request-ID: one", "X-Request-ID: one"],
        ["X-Request-ID: a\r\n folded"],
        ["X-Request-ID: caf\xe9"],
        ['X-Request-ID: a" 200 1 "-" "-" /one 0.1'],
        ["X-Request-ID: a%0d%0aforged"],
    ],
)
def test_a_wrong_id_of_a_trusted_proxy_is_replaced(behind_proxy, connect, sent):
    found = {*ids_of(connect(behind_proxy).get("/one/environ", *sent))}
    assert len(found) == 1
    assert NEW.fullmatch(found.pop())


def test_the_id_replaces_the_ones_that_an_app_sends(behind_proxy, connect):
    response = connect(behind_proxy).get("/named/", f"X-Request-ID: {GIVEN}")
    assert response.body == GIVEN.encode()
    assert response.headers.get_all("X-Request-ID") == [GIVEN]


@pytest.mark.parametrize("mount", MOUNTS)
def test_a_request_whose_body_comes_later_has_an_id_too(server, connect, mount):
    client = connect(server)
    client.request(
        f"/{mount}/environ", "X-Request-ID: forged", "Expect: 100-continue", "Content-Length: 2", method="POST"
    )
    assert client.head()[0] == 100
    client.send("ok")
    found = {*ids_of(client.answer())}
    assert len(found) == 1
    assert NEW.fullmatch(found.pop())


@pytest.mark.parametrize("mount", MOUNTS)
def test_a_trace_of_the_w3c_reaches_the_app_untouched(server, connect, mount):
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    sent = [f"traceparent: {traceparent}", "tracestate: congo=t61rcWkgMzE", "tracestate: rojo=00f067aa0ba902b7"]
    environ = json.loads(connect(server).get(f"/{mount}/environ", *sent).body)
    assert environ["HTTP_TRACEPARENT"] == traceparent
    assert environ["HTTP_TRACESTATE"] == "congo=t61rcWkgMzE, rojo=00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/elsewhere", 404),
        ("/one", 308),
        ("/one/../x", 400),
        ("/broken/", 503),
        ("/one/raise", 500),
        pytest.param("/dying/die", 502, marks=pytest.mark.skipif(not HAS_WORKERS, reason="Windows has no workers")),
        pytest.param("/late/sleep", 504, marks=pytest.mark.skipif(not HAS_WORKERS, reason="Windows has no workers")),
    ],
)
def test_responses_of_mountpoint_itself_have_the_id(behind_proxy, connect, path, status):
    response = connect(behind_proxy).get(path, f"X-Request-ID: {GIVEN}")
    assert (response.status, response.headers.get_all("X-Request-ID")) == (status, [GIVEN])


def test_an_upload_that_no_app_reads_has_the_id(behind_proxy, connect):
    client = connect(behind_proxy)
    client.request("/one/", f"X-Request-ID: {GIVEN}", "Content-Length: 4", method="POST")
    response = client.answer()
    assert (response.status, response.headers.get_all("X-Request-ID")) == (413, [GIVEN])


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("GARBAGE\r\n\r\n", 400),
        ("GET /one/ HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (f"GET /one/ HTTP/1.1\r\nHost: a\r\nCookie: {'x' * 5000}\r\n\r\n", 431),
        ("POST /one/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    ],
)
def test_a_request_that_cannot_be_read_has_an_id(server, connect, sent, status):
    client = connect(server)
    client.send(sent)
    response = client.answer()
    (found,) = response.headers.get_all("X-Request-ID")
    assert response.status == status
    assert NEW.fullmatch(found)
    server.wait_for(re.compile(rf"\" {status} \d+ .* {found}$", re.MULTILINE))


# ---------------------------------------------------------------------------------------------------------- in the logs


@pytest.mark.parametrize("path", ["/one/", "/elsewhere", "/one/raise"])
def test_the_access_log_ends_with_the_id(behind_proxy, connect, path):
    given = f"access{path.replace('/', '-')}"
    connect(behind_proxy).get(path, f"X-Request-ID: {given}")
    behind_proxy.wait_for(re.compile(rf'^127\.0\.0\.1 - - .*"GET {path} HTTP/1\.1" .* \d+\.\d {given}$', re.MULTILINE))


@pytest.mark.parametrize("mount", MOUNTS)
def test_the_error_log_has_the_id(behind_proxy, connect, mount):
    connect(behind_proxy).get(f"/{mount}/raise", f"X-Request-ID: error-{mount}")
    behind_proxy.wait_for(f"Exception while serving /{mount}/raise, mount /{mount}, request error-{mount}\nTraceback")


def test_the_slow_log_has_the_id(behind_proxy, connect, tmp_path):
    client = connect(behind_proxy)
    client.request(f"/one/hold?{tmp_path}/go", "X-Request-ID: slow-1")
    behind_proxy.wait_for("/one: GET '/one/hold' (request slow-1) has run for")
    (tmp_path / "go").touch()
    assert client.answer().status == 200
    behind_proxy.wait_for("/one: GET '/one/hold' (request slow-1) ended after")


def test_a_request_that_is_cut_off_is_logged_with_its_id(serve, connect):
    server = serve(f"[server]\nrequest_id = true\ndrain_timeout = 0\n[mounts]\n'/' = '{APP}:app'\n")
    client = connect(server)
    client.request("/sleep_later?60")
    _, headers = client.head()
    server.stop()
    assert f"'GET /sleep_later?60 HTTP/1.1' of 127.0.0.1, mount /, request {headers['X-Request-ID']}\n" in server.log()


# --------------------------------------------------------------------------------------------------------------- reload


def test_a_reload_that_turns_ids_on_applies_to_pending_bodies(tmp_path):
    seen = {}

    def app(environ, start_response):
        seen.update(environ)
        start_response("200 OK", [("Content-Length", "0")])
        return []

    def router(**options):
        return Router(MountTable([Mount("/app", app)]), ProxySettings(), **options)

    with running_site(tmp_path) as site, Client(site.url) as client:
        server, replaced = site.server, threading.Event()
        client.request("/app/", "X-Request-ID: forged", "Expect: 100-continue", "Content-Length: 2", method="POST")
        assert client.head()[0] == 100

        def replace():
            server.replace(router(has_request_ids=True), {}, server.settings)
            replaced.set()

        server.call_soon_threadsafe(replace)
        assert replaced.wait(TIMEOUT)
        client.send("ok")
        response = client.answer()
    found = {seen["HTTP_X_REQUEST_ID"], seen["mountpoint.request_id"], response.headers["X-Request-ID"]}
    assert len(found) == 1
    assert NEW.fullmatch(found.pop())


# ------------------------------------------------------------------------------------------------------ off by default


def test_without_the_setting_the_app_gets_the_header_of_the_client(serve):
    server = serve(table())
    with Client(server.url) as client:
        response = client.get("/app/", f"X-Request-ID: {GIVEN}")
        assert "X-Request-ID" not in response.headers
        environ = json.loads(response.body)
    assert environ["HTTP_X_REQUEST_ID"] == GIVEN
    assert "mountpoint.request_id" not in environ
    assert GIVEN not in server.log()
