"""The echo: it reports how a request arrived, to a client with the key, and does not exist without a key."""

from __future__ import annotations

import pytest

from mountpoint.wsgi.echo import Echo
from mountpoint.wsgi.proxy_settings import ProxySettings
from mountpoint.wsgi.record import RECORD_KEY, RequestRecord
from mountpoint.wsgi.router import Router
from mountpoint.wsgi.table import Mount, MountTable

KEY = "0123456789abcdef0123456789abcdef"


def test_the_report_has_forwarding_headers_and_no_other_header(call, echo):
    response = call(
        Echo(echo("app"), KEY),
        "/a/\u00e4",
        HTTP_X_MOUNTPOINT_ECHO=KEY,
        HTTP_X_FORWARDED_FOR="192.0.2.1",
        HTTP_FORWARDED="for=x",
        HTTP_COOKIE="session=secret",
        HTTP_AUTHORIZATION="Basic x",
        SCRIPT_NAME="/outer",
    )
    assert (response.status, response["Cache-Control"]) == (200, "no-store")
    assert response["Content-Type"] == "application/json"
    assert response.seen == {
        "path": "/a/\u00e4",
        "script_name": "/outer",
        "peer": "192.0.2.7",
        "forwarding": {"HTTP_FORWARDED": "for=x", "HTTP_X_FORWARDED_FOR": "192.0.2.1"},
    }


@pytest.mark.parametrize("given", ["", "x", KEY[:-1], KEY + "0", KEY.upper(), f"{KEY},{KEY}", "\u00ff" * 32, "\udcff"])
def test_a_wrong_key_is_removed_before_the_app(call, echo, given):
    response = call(Echo(echo("app"), KEY), "/", HTTP_X_MOUNTPOINT_ECHO=given)
    assert response.seen["app"] == "app"
    assert "HTTP_X_MOUNTPOINT_ECHO" not in response.seen["environ"]


def test_a_request_without_a_key_reaches_the_app_unchanged(call, echo):
    app = Echo(lambda environ, start_response: echo("app")(environ.copy(), start_response), KEY)
    assert call(app, "/x").seen["path_info"] == "/x"


def test_the_response_to_head_has_no_body(call, echo):
    response = call(Echo(echo("app"), KEY), "/", "HEAD", HTTP_X_MOUNTPOINT_ECHO=KEY)
    assert (response.status, response.body) == (200, b"")


def test_the_record_of_the_request_names_the_echo_as_the_reason(call, echo):
    record = RequestRecord("192.0.2.7")
    call(Echo(echo("app"), KEY), "/", **{"HTTP_X_MOUNTPOINT_ECHO": KEY, RECORD_KEY: record})
    assert (record.mount, record.reason) == (None, "an echo for mountpoint doctor")


def test_the_echo_runs_before_dispatch_and_before_headers_are_removed(call, echo):
    response = call(
        Router(MountTable([Mount("/a", echo("app"))]), ProxySettings(), KEY),
        "/unknown/../path",
        HTTP_X_MOUNTPOINT_ECHO=KEY,
        HTTP_X_FORWARDED_PREFIX="//evil",
    )
    assert response.seen["path"] == "/unknown/../path"
    assert response.seen["forwarding"] == {"HTTP_X_FORWARDED_PREFIX": "//evil"}


@pytest.mark.parametrize("given", ["", KEY])
def test_without_a_key_there_is_no_echo(call, echo, given):
    router = Router(MountTable([Mount("/a", echo("app"))]), ProxySettings())
    assert call(router, "/", HTTP_X_MOUNTPOINT_ECHO=given).status == 404
