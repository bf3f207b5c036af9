"""The routes, the key, the host and the headers of the status page."""

from __future__ import annotations

import base64
import json

import pytest
from support.status_snapshot import Process, snapshot_of, troubled
from webtest import TestApp

from mountpoint.status import app as app_module
from mountpoint.status.app import StatusApp

KEY = "0123456789abcdef0123456789abcdef"
DOCUMENTS = ("/", "/status.json", "/metrics")
CHECKS = ("/livez", "/readyz")


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


# ------------------------------------------------------------------------------------------------------------- routes


def test_the_page_is_html_for_a_browser(client):
    response = client().get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert response.content_type == "text/html"
    assert response.text.startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("path", "accept"),
    [("/", "application/json"), ("/", "application/json, text/html;q=0.5"), ("/status.json", "text/html")],
)
def test_json_is_the_snapshot_as_it_is(client, path, accept):
    response = client(snapshot := troubled()).get(path, headers={"Accept": accept})
    assert response.content_type == "application/json"
    assert json.loads(response.body) == json.loads(json.dumps(snapshot))


@pytest.mark.parametrize("accept", ["*/*", "text/html, application/json", "", "image/png", ";;;,q=x"])
def test_a_client_that_does_not_prefer_json_gets_the_page(client, accept):
    assert client().get("/", headers={"Accept": accept}).content_type == "text/html"


@pytest.mark.parametrize("path", DOCUMENTS + CHECKS)
def test_head_has_the_headers_of_get_and_no_body(client, path):
    site = client()
    get, head = site.get(path), site.head(path)
    assert (head.status, head.body) == (get.status, b"")
    assert head.headers == get.headers


@pytest.mark.parametrize("path", ["/x", "/status.json/", "/metrics/x", "/%00", "/%C3%A9", "/%FF", "/livez/../metrics"])
def test_another_path_is_404_with_a_list_of_the_paths(client, path):
    response = client().get(path, status=404)
    assert response.content_type == "text/plain"
    assert response.text == "404 Not Found\nThis address has /, /status.json, /metrics, /livez and /readyz.\n"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", DOCUMENTS + CHECKS)
def test_a_method_that_could_change_something_is_405(client, method, path):
    response = client().request(path, method=method, status=405)
    assert {name.strip() for name in response.headers["Allow"].split(",")} == {"GET", "HEAD"}
    assert response.text.startswith("405 Method Not Allowed\n")


@pytest.mark.parametrize("path", [*DOCUMENTS, *CHECKS, "/nothing"])
def test_each_response_forbids_scripts_frames_caches_and_sniffing(client, path):
    headers = client().get(path, status="*").headers
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["form-action"] == "'none'"
    assert set(policy) == {"default-src", "style-src", "base-uri", "form-action", "frame-ancestors"}
    assert policy["style-src"].startswith("'sha256-")
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_a_fault_of_the_page_is_500_and_logged(caplog):
    def fail():
        raise ZeroDivisionError

    response = TestApp(StatusApp(Process(fail)), lint=True).get("/", status=500)
    assert response.content_type == "text/plain"
    assert "ZeroDivisionError" not in response.text
    assert "ZeroDivisionError" in caplog.text


# ------------------------------------------------------------------------------------------------------------ the key


@pytest.mark.parametrize("path", DOCUMENTS)
@pytest.mark.parametrize(
    "headers",
    [{"Authorization": f"Bearer {KEY}"}, {"Authorization": f"bearer {KEY} "}, basic("", KEY), basic("any", KEY)],
)
def test_the_key_is_accepted_as_bearer_token_and_as_password(client, path, headers):
    client(key=KEY).get(path, headers=headers)


@pytest.mark.parametrize("path", DOCUMENTS)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": KEY},
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {KEY[:-1]}"},
        {"Authorization": f"Bearer {KEY}0"},
        {"Authorization": f"Digest {KEY}"},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": "Basic \u00e9\u00ff"},
        {"Authorization": "Bearer \u00e9\u00ff"},
        {"Authorization": "Basic ===="},
        basic(KEY, ""),
        basic("user", KEY.upper()),
    ],
)
def test_without_the_key_nothing_is_shown(client, path, headers):
    response = client(key=KEY).get(path, headers=headers, status=401)
    assert response.headers["WWW-Authenticate"].startswith("Basic realm=")
    assert "shop" not in response.text
    assert KEY not in response.text


def test_health_checks_need_no_key_and_name_no_mount(client):
    snapshot = troubled()
    snapshot["mounts"][2]["required"] = True
    site = client(snapshot, key=KEY)
    assert site.get("/livez").text == "alive\n"
    assert site.get("/readyz", status=503).text == "not ready\n"
    with_key = site.get("/readyz", headers={"Authorization": f"Bearer {KEY}"}, status=503)
    assert with_key.text == "not ready: /notes is broken\n"


# ----------------------------------------------------------------------------------------------------------- the host


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8081", "127.0.0.1", "localhost:9000", "LOCALHOST", "[::1]:8081", "10.0.0.7:1", "status.lan:80"]
)
def test_the_server_may_be_named_by_address_or_its_own_name(client, host):
    client(hosts={"status.lan"}).get("/", headers={"Host": host})


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8081", "localhost.evil.example", "127.0.0.1.evil.example", "", "[::1", "a:b:c"],
)
@pytest.mark.parametrize("path", [*DOCUMENTS, *CHECKS, "/nothing"])
def test_a_name_that_another_site_could_point_here_is_403(client, host, path):
    response = client(hosts={"127.0.0.1"}).get(path, headers={"Host": host}, status=403)
    assert "shop" not in response.text


def test_every_name_is_admitted_with_a_key_or_a_unix_socket(client):
    client(hosts=None).get("/", headers={"Host": "status.example.com"})


# ---------------------------------------------------------------------------------------------------------- the cache


def test_a_document_is_made_once_a_second_however_often_it_is_asked(monkeypatch):
    now, taken = [100.0], []
    monkeypatch.setattr(app_module.time, "monotonic", lambda: now[0])
    site = TestApp(StatusApp(Process(lambda: taken.append(1) or snapshot_of(pid=len(taken)))))
    for path in ("/", "/status.json", "/metrics", "/"):
        site.get(path)
    assert len(taken) == 1
    now[0] += 1
    assert site.get("/status.json").json["server"]["pid"] == 2
    assert "Process 2" in site.get("/").text


def test_the_refresh_of_one_client_does_not_change_that_of_another(client):
    site = client()
    assert 'content="60"' in site.get("/?refresh=60").text
    assert 'http-equiv="refresh"' not in site.get("/?refresh=0").text
    for query in ("", "?refresh=1", "?refresh=-1", "?refresh=x", "?refresh=0;url=http://evil.example/"):
        assert '<meta http-equiv="refresh" content="10">' in site.get(f"/{query}").text
