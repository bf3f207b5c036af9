"""Rules 20 and 22: a prefix that the proxy strips, and headers that no setting counts."""

import pytest
from werkzeug.middleware.proxy_fix import ProxyFix

from mountpoint import ConfigError, Dispatcher, TrustedProxies
from mountpoint.wsgi.record import RequestRecord

FORGED = {
    "HTTP_FORWARDED": "for=203.0.113.9;host=evil.example;proto=https",
    "HTTP_X_FORWARDED_BY": "203.0.113.9",
    "HTTP_X_FORWARDED_FOR": "203.0.113.9",
    "HTTP_X_FORWARDED_HOST": "evil.example",
    "HTTP_X_FORWARDED_PORT": "444",
    "HTTP_X_FORWARDED_PREFIX": "//evil.example",
    "HTTP_X_FORWARDED_PROTO": "https",
    "HTTP_X_FORWARDED_SERVER": "evil.example",
    "HTTP_X_REAL_IP": "203.0.113.9",
    "HTTP_X_SCRIPT_NAME": "/evil",
}


# ------------------------------------------------------------------------------------------------- a stripping proxy


@pytest.mark.parametrize(
    ("strips", "outer", "script_name"),
    [
        ("/apps", "", "/apps/tv_ws"),
        ("/apps/", "", "/apps/tv_ws"),
        ("/a/b", "", "/a/b/tv_ws"),
        ("/apps", None, "/apps/tv_ws"),
        ("/apps", "/", "/apps/tv_ws"),
        ("/apps", "/inner", "/apps/inner/tv_ws"),
        ("/appar/blå", "", "/appar/bl\xc3\xa5/tv_ws"),
        ("", "/outer", "/outer/tv_ws"),
        ("/", "", "/tv_ws"),
    ],
)
def test_script_name_begins_with_the_stripped_prefix(call, echo, strips, outer, script_name):
    site = TrustedProxies(Dispatcher({"/tv_ws": echo("tv")}), strips=strips)
    seen = call(site, "/tv_ws/x", SCRIPT_NAME=outer).seen
    assert (seen["script_name"], seen["path_info"]) == (script_name, "/x")


@pytest.mark.parametrize(("outer", "script_name"), [("/", "/apps"), ("/inner/", "/apps/inner"), ("", "/apps")])
def test_no_trailing_slash_is_left_even_without_a_dispatcher(call, echo, outer, script_name):
    seen = call(TrustedProxies(echo("app"), strips="/apps"), "/x", SCRIPT_NAME=outer).seen
    assert seen["script_name"] == script_name


def test_the_path_is_matched_as_received(call, echo):
    site = TrustedProxies(Dispatcher({"/apps": echo("apps"), "/tv_ws": echo("tv")}), strips="/apps")
    assert call(site, "/apps/tv_ws/x").seen["app"] == "apps"
    assert call(site, "/tv_ws/x").seen["app"] == "tv"


@pytest.mark.parametrize(
    ("strips", "message"),
    [
        ("apps", 'strips: expected a path that starts with a slash, found "apps"; write "/apps"'),
        ("/a//b", 'strips: expected one slash between segments, found an empty segment; write "/a/b"'),
        ("/a/..", 'strips: expected a path without dot segments, found "/a/.."; write "/"'),
        ("example.com/apps", 'strips: expected a path such as "/apps", found a host in "example.com/apps"'),
        (None, 'strips: expected a string such as "/shop", found NoneType'),
    ],
)
def test_an_invalid_strips_is_rejected(strips, message):
    with pytest.raises(ConfigError) as caught:
        TrustedProxies(Dispatcher({"/": lambda *_: []}), strips=strips)
    assert str(caught.value) == message


# ------------------------------------------------------------------------------------------------ forwarding headers


@pytest.mark.parametrize("name", FORGED)
def test_a_forwarding_header_is_removed(call, echo, name):
    seen = call(TrustedProxies(echo("app")), "/x", **{name: FORGED[name]}).seen["environ"]
    assert name not in seen
    assert seen["REMOTE_ADDR"] == "192.0.2.7"


def test_forged_headers_change_nothing_at_all(call, echo):
    site = TrustedProxies(Dispatcher({"/tv_ws": echo("tv")}), strips="/apps")
    assert call(site, "/tv_ws/x", **FORGED).body == call(site, "/tv_ws/x").body
    assert call(site, "/tv_ws", **FORGED)["Location"] == call(site, "/tv_ws")["Location"] == "/apps/tv_ws/"


def test_a_proxy_fix_inside_an_app_finds_no_header(call, echo):
    fixed = ProxyFix(echo("tv"), x_for=1, x_proto=1, x_host=1, x_port=1, x_prefix=1)
    seen = call(TrustedProxies(Dispatcher({"/tv_ws": fixed})), "/tv_ws/x", **FORGED).seen
    assert seen["script_name"] == "/tv_ws"
    assert seen["environ"]["REMOTE_ADDR"] == "192.0.2.7"
    assert seen["environ"]["HTTP_HOST"] == "localhost"


@pytest.mark.parametrize("name", ["HTTP_SCRIPT_NAME", "HTTP_X_PATH_INFO", "HTTP_X_ORIGINAL_URL", "HTTP_PATH_INFO"])
def test_no_other_header_becomes_script_name_or_path_info(call, echo, name):
    seen = call(TrustedProxies(Dispatcher({"/tv_ws": echo("tv")})), "/tv_ws/x", **{name: "/evil"}).seen
    assert (seen["script_name"], seen["path_info"]) == ("/tv_ws", "/x")


def test_all_other_headers_are_kept(call, echo):
    others = {
        "HTTP_X_HTTP_METHOD_OVERRIDE": "PUT",
        "HTTP_X_REQUEST_ID": "2",
        "HTTP_VIA": "1.1 proxy",
        "HTTP_HOST": "localhost",
    }
    seen = call(TrustedProxies(echo("app"), strips="/apps"), "/", **others, **FORGED).seen["environ"]
    assert others.items() <= seen.items()


def test_every_copy_of_environ_shares_the_record(call, echo):
    record = RequestRecord()
    site = TrustedProxies(Dispatcher({"/tv_ws": echo("tv")}), strips="/apps")
    call(site, "/tv_ws/x", **FORGED, **{"mountpoint.request": record})
    assert record.mount == "/tv_ws"


def test_environ_and_response_pass_through_if_nothing_changes(make_environ):
    given = []

    def app(environ, start_response):
        given.extend((environ, start_response))
        return response

    def start_response(status, headers, exc_info=None):
        raise AssertionError

    environ, response = make_environ("/x"), [b"one item"]
    assert TrustedProxies(app)(environ, start_response) is response
    assert given[0] is environ
    assert given[1] is start_response
