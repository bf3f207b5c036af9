"""A request can be routed without calling its app, as the queues of ``mountpoint serve`` do."""

import pytest
from support.wsgi_calls import ignore_response, never_called

from mountpoint import Dispatcher, Mount, MountTable
from mountpoint.wsgi.proxy_settings import ProxySettings
from mountpoint.wsgi.record import RECORD_KEY, RequestRecord
from mountpoint.wsgi.responses import OwnResponse
from mountpoint.wsgi.router import Router

PROXY = "192.0.2.7"  # the peer of every request
CLIENT = "203.0.113.9"
ECHO_KEY = "a secret"


def router_of(*keys, echo_key="", **settings):
    return Router(MountTable([Mount(key, never_called) for key in keys]), ProxySettings(**settings), echo_key)


@pytest.fixture(params=[Dispatcher, Router])
def site(request):
    """Return a dispatcher and a router with the mount ``/tv_ws``, whose app must not be called."""
    table = MountTable([Mount("/tv_ws", never_called)])
    return Dispatcher(table) if request.param is Dispatcher else Router(table, ProxySettings())


def test_a_route_has_the_app_of_the_mount_and_its_environ(site, make_environ):
    environ = make_environ("/tv_ws/x", SCRIPT_NAME="/apps")
    before = dict(environ)
    route = site.route(environ)
    assert (route.app, route.mount) == (never_called, "/tv_ws")
    assert (route.environ["SCRIPT_NAME"], route.environ["PATH_INFO"]) == ("/apps/tv_ws", "/x")
    assert route.environ["mountpoint.mount"] == "/tv_ws"
    assert environ == before


@pytest.mark.parametrize(
    ("path", "status", "mount"),
    [
        ("/tv_ws", "308 Permanent Redirect", "/tv_ws"),
        ("/nowhere", "404 Not Found", None),
        ("/tv_ws/../x", "400 Bad Request", None),
        ("x", "400 Bad Request", None),
    ],
)
def test_a_route_without_an_app_has_a_response_of_our_own(site, make_environ, path, status, mount):
    environ = make_environ(path)
    route = site.route(environ)
    assert isinstance(route.app, OwnResponse)
    assert (route.app.status, route.mount) == (status, mount)
    assert route.environ is environ


def test_a_malformed_host_has_a_response_of_our_own(make_environ):
    route = router_of("example.com/").route(make_environ("/", HTTP_HOST="a, b"))
    assert (route.app.status, route.mount) == ("400 Bad Request", None)


@pytest.mark.parametrize(("path", "mount"), [("/tv_ws/x", "/tv_ws"), ("/tv_ws", "/tv_ws"), ("/nowhere", None)])
def test_routing_writes_the_mount_into_the_record(site, make_environ, path, mount):
    record = RequestRecord(PROXY)
    site.route(make_environ(path, **{RECORD_KEY: record}))
    assert (record.mount, record.reason, record.remote_addr) == (mount, None, PROXY)


def test_the_call_uses_the_same_route(site, make_environ):
    route = site.route(make_environ("/nowhere"))
    assert b"".join(site(make_environ("/nowhere"), ignore_response)) == b"".join(
        route.app(route.environ, ignore_response)
    )


def test_a_record_that_is_reset_can_be_routed_on_another_table(make_environ):
    record = RequestRecord(PROXY)
    environ = make_environ("/tv_ws/x", HTTP_X_FORWARDED_FOR=CLIENT, **{RECORD_KEY: record})
    router_of("/tv_ws", trusted=[PROXY], x_for=1).route(environ)
    assert (record.mount, record.remote_addr) == ("/tv_ws", CLIENT)
    record.reset(PROXY)
    assert (record.mount, record.reason, record.remote_addr) == (None, None, PROXY)
    router_of("/", trusted=[]).route(environ)
    assert (record.mount, record.remote_addr) == ("/", PROXY)


def test_a_record_that_is_reset_forgets_its_reason(make_environ):
    record = RequestRecord()
    route = router_of("/tv_ws").route(make_environ("/nowhere", **{RECORD_KEY: record}))
    list(route.app(route.environ, ignore_response))
    assert record.reason == "no mount owns the path"
    record.reset(None)
    assert record.reason is None


# ---------------------------------------------------------------------------------------------------------- the router


def test_a_route_has_the_environ_that_the_proxies_rewrote(make_environ):
    router = router_of("/tv_ws", trusted=[PROXY], x_for=1, x_prefix=1)
    sent = {"HTTP_X_FORWARDED_FOR": CLIENT, "HTTP_X_FORWARDED_PREFIX": "/apps", "HTTP_X_FORWARDED_HOST": "evil.example"}
    inner = router.route(make_environ("/tv_ws/x", **sent)).environ
    assert (inner["REMOTE_ADDR"], inner["SCRIPT_NAME"]) == (CLIENT, "/apps/tv_ws")
    assert "HTTP_X_FORWARDED_HOST" not in inner


def test_a_malformed_forwarding_header_has_a_response_of_our_own(make_environ):
    environ = make_environ("/tv_ws/x", HTTP_X_FORWARDED_PROTO="javascript")
    route = router_of("/tv_ws", trusted=[PROXY], x_proto=1).route(environ)
    assert route.app.status == "400 Bad Request"
    assert route.app.reason == "a forwarding header is wrong: 'javascript' is neither http nor https"
    assert (route.environ, route.mount) == (environ, None)


def test_a_request_with_the_key_of_the_echo_is_not_routed_to_a_mount(call, make_environ):
    router = router_of("/tv_ws", echo_key=ECHO_KEY)
    environ = make_environ("/tv_ws/x", HTTP_X_MOUNTPOINT_ECHO=ECHO_KEY)
    assert router.route(environ).mount is None
    assert call(router, "/tv_ws/x", HTTP_X_MOUNTPOINT_ECHO=ECHO_KEY).seen["path"] == "/tv_ws/x"


def test_a_wrong_key_of_the_echo_is_removed_before_the_app(make_environ):
    route = router_of("/tv_ws", echo_key=ECHO_KEY).route(make_environ("/tv_ws/x", HTTP_X_MOUNTPOINT_ECHO="wrong"))
    assert route.mount == "/tv_ws"
    assert "HTTP_X_MOUNTPOINT_ECHO" not in route.environ
