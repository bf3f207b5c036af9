"""For any bytes in the forwarding headers, nothing raises, and the app gets only valid values.

MOUNTPOINT_FUZZ_EXAMPLES=250000 pytest tests/wsgi/test_forwarding_properties.py -k fuzz    # about ten minutes
"""

import ipaddress
import os
import re

from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.wsgi_calls import never_called

from mountpoint import Dispatcher, TrustedProxies
from mountpoint.wsgi.forwarding_headers import NAMES
from mountpoint.wsgi.keys import host_name
from mountpoint.wsgi.proxy_settings import COUNTED

PEER = "10.0.0.1"
EXAMPLES = int(os.environ.get("MOUNTPOINT_FUZZ_EXAMPLES", settings.default.max_examples))

#: Parts of valid and of malformed values.
PIECES = [
    *"/.,;=:\"\\[]%_- \t@#?<>'*+&|~\x00\x01\x0b\x0c\x1f\x7f\x80\x85\xa0\xad\xc3\xa9\xff",
    *("for=", "proto=", "host=", "by=", "prefix=", "port=", "FOR=", 'for="', "http", "https", "HTTPS", "javascript:"),
    *("10.0.0.1", "203.0.113.9", "::1", "[2001:db8::1]", "::ffff:10.0.0.1", "%eth0", "unknown", "_hidden", ":_port"),
    *(":80", ":443", ":0", ":65536", "99999", "00080", "1e3", "example.com", "evil.example", "//evil.example", "xn--"),
    *("/tv_ws", "/apps/", "/..", "/.", "%2f", "%5C", "%2e%2e", "%25", "%C3%A9", "%ff", "%zz", "a" * 1020),
]
latin_1 = st.text(st.characters(max_codepoint=255), max_size=30)
values = st.lists(st.sampled_from(PIECES), max_size=8).map("".join) | latin_1
OF_FAMILIES = {"HTTP_X_FORWARDED_SSL", "HTTP_X_FORWARDED_USER", "HTTP_REMOTE_USER", "HTTP_X_SSL_CLIENT_S_DN"}
FORWARDING = {*COUNTED.values(), *NAMES, *OF_FAMILIES}
headers = st.dictionaries(st.sampled_from(sorted(FORWARDING)), values, max_size=5)
paths = st.sampled_from(["/", "", "/x", "//x", "/tv_ws", "*", "x", "_admin", "/../x", None])
outer_variables = st.fixed_dictionaries(
    {},
    optional={
        "SCRIPT_NAME": st.sampled_from(["/", "/outer", "/outer/"]),
        "PATH_INFO": paths,
        "HTTP_HOST": values,
        "REMOTE_HOST": st.just("proxy.example"),
        "REMOTE_PORT": st.just("4711"),
        "wsgi.url_scheme": st.sampled_from(["http", "https"]),
    },
)
counts = st.integers(0, 3)
settings_of_x = st.fixed_dictionaries({name: counts for name in COUNTED if name != "forwarded"}).flatmap(
    lambda x: st.booleans().map(lambda restores: {**x, "restore_prefix": restores and x["x_prefix"] > 0})
)
settings_of_trust = settings_of_x | st.fixed_dictionaries({"forwarded": st.integers(1, 3)})


def send(environ, **options):
    """Return the status of the response, and the environ that the app got, None if the app was not called.

    Without a linter, since no linter accepts these values.
    """
    reached, answered = [], []

    def app(environ, start_response):
        reached.append(environ)
        start_response("200 OK", [])
        return []

    before = dict(environ)
    TrustedProxies(app, **options)(environ, lambda status, headers, exc_info=None: answered.append(status))
    assert environ == before, "the caller's environ was changed"
    [status] = answered
    return int(status[:3]), reached[0] if reached else None


def is_address(text):
    try:
        return text == str(ipaddress.ip_address(text))
    except ValueError:
        return False


def is_prefix(wsgi):
    """Whether *wsgi* is a prefix that rule 24 allows."""
    text = wsgi.encode("latin-1").decode()
    segments = text.split("/")[1:]
    return (
        text[:1] == "/" and not re.search(r"[\x00-\x20\x7f-\x9f\\?#\"'<]", text) and not {"", ".", ".."} & {*segments}
    )


def check(make_environ, options, sent, variables):
    """Send a request with the headers *sent*, and check that the app gets only values that are valid and counted."""
    environ = make_environ(**{"REMOTE_ADDR": PEER, **variables, **sent})
    status, inner = send(environ, trusted=["10.0.0.0/8"], **options)
    assert status in (200, 400)
    if inner is None:
        assert sent
        assert status == 400
        return
    assert "HTTP_X_FORWARDED_PREFIX" not in inner
    assert all(options.get(name) for name, header in COUNTED.items() if header in inner)
    assert not (FORWARDING - set(COUNTED.values())) & inner.keys()
    assert is_address(inner["REMOTE_ADDR"])
    assert inner["wsgi.url_scheme"] in ("http", "https")
    assert 0 < int(inner["SERVER_PORT"]) < 65_536
    if inner.get("HTTP_HOST") != environ.get("HTTP_HOST"):
        default = {"http": "80", "https": "443"}[inner["wsgi.url_scheme"]]
        assert host_name(inner["HTTP_HOST"])
        assert not re.search(rf":0*(?:{default})?\Z", inner["HTTP_HOST"].rpartition("]")[2])
    outer = environ.get("SCRIPT_NAME", "").rstrip("/")
    if inner.get("SCRIPT_NAME") != environ.get("SCRIPT_NAME"):
        assert options["x_prefix"]
        assert inner["SCRIPT_NAME"].endswith(outer)
        assert is_prefix(inner["SCRIPT_NAME"])
    if inner.get("PATH_INFO") != environ.get("PATH_INFO"):
        path = environ.get("PATH_INFO", "")
        assert options["restore_prefix"]
        assert path[:1] in ("", "/")
        assert inner["PATH_INFO"].endswith(path)
        assert is_prefix(inner["PATH_INFO"].removesuffix(path))
    rewritten = {"REMOTE_ADDR", "REMOTE_HOST", "REMOTE_PORT", "SERVER_NAME", "SERVER_PORT", "SCRIPT_NAME", "PATH_INFO"}
    rewritten |= {"wsgi.url_scheme", "HTTP_HOST"} | FORWARDING
    assert {k: v for k, v in inner.items() if k not in rewritten} == {
        k: v for k, v in environ.items() if k not in rewritten
    }


X_ALL = {"x_for": 1, "x_proto": 1, "x_host": 1, "x_port": 1, "x_prefix": 1, "restore_prefix": False}
RESTORES = {"x_prefix": 1, "restore_prefix": True}


@settings(max_examples=EXAMPLES)
@given(settings_of_trust, headers, outer_variables)
@example({"forwarded": 1}, {"HTTP_FORWARDED": "for=203.0.113.9;prefix=/evil;port=1"}, {})
@example(X_ALL, {"HTTP_X_FORWARDED_HOST": "example.com:99999"}, {})
@example(X_ALL, {"HTTP_X_FORWARDED_HOST": "example.com:0"}, {})
@example(X_ALL, {"HTTP_X_FORWARDED_HOST": "example.com:080"}, {})
@example(X_ALL, {"HTTP_X_FORWARDED_PORT": "00080"}, {})
@example(X_ALL, {"HTTP_X_FORWARDED_PORT": "444"}, {"HTTP_HOST": "evil.example/x?"})
@example(X_ALL, {"HTTP_X_FORWARDED_PREFIX": "/tv_ws"}, {"SCRIPT_NAME": "/"})
@example(RESTORES, {"HTTP_X_FORWARDED_PREFIX": "/tv_ws"}, {"PATH_INFO": "_admin"})
@example(RESTORES, {"HTTP_X_FORWARDED_PREFIX": "/tv_ws"}, {"PATH_INFO": "*"})
def test_fuzz_nothing_raises_and_the_app_gets_only_valid_values(make_environ, options, sent, variables):
    check(make_environ, options, sent, variables)


@given(settings_of_trust, headers, outer_variables, st.sampled_from(["192.0.2.7", "::1", "", "localhost", "x", None]))
def test_headers_of_an_untrusted_peer_change_nothing(make_environ, options, sent, variables, peer):
    environ = make_environ(**{"REMOTE_ADDR": peer, **variables, **sent})
    status, inner = send(environ, trusted=["10.0.0.0/8"], **options)
    assert status == 200
    assert inner == {name: value for name, value in environ.items() if name not in FORWARDING}


@given(headers, outer_variables)
def test_with_no_count_no_header_changes_anything(make_environ, sent, variables):
    environ = make_environ(**{"REMOTE_ADDR": PEER, **variables, **sent})
    _, inner = send(environ, trusted=["10.0.0.0/8", "unix"])
    assert inner == {name: value for name, value in environ.items() if name not in FORWARDING}


@given(settings_of_trust, outer_variables)
def test_without_forwarding_headers_the_same_environ_is_passed_on(make_environ, options, variables):
    environ = make_environ(**{"REMOTE_ADDR": PEER, **variables})
    _, inner = send(environ, trusted=["10.0.0.0/8"], **options)
    assert inner is environ


@given(values)
def test_no_prefix_makes_a_redirect_that_leaves_the_site(call, prefix):
    site = TrustedProxies(Dispatcher({"/tv_ws": never_called}), trusted=[PEER], x_prefix=1)
    response = call(site, "/tv_ws", REMOTE_ADDR=PEER, HTTP_X_FORWARDED_PREFIX=prefix)
    assert response.status in (308, 400)
    if response.status == 308:
        assert re.fullmatch(r"(?:/[A-Za-z0-9!$&'()*+,;=:@._~%-]+)+/", response["Location"])


TRUE = {
    "x_for": "203.0.113.9",
    "x_proto": "https",
    "x_host": "www.example.com",
    "x_port": "8443",
    "x_prefix": "/apps",
    "forwarded": 'for="[2001:db8::9]";proto=https;host="www.example.com:8443"',
}


@given(settings_of_trust, values)
def test_a_value_to_the_left_of_the_proxies_values_is_not_trusted(make_environ, options, written):
    """At worst, a client's unbalanced quotes make the whole ``Forwarded`` malformed, and the response is 400."""

    def effect(*before):
        sent = {header: ", ".join([*before, *[TRUE[name]] * options.get(name, 0)]) for name, header in COUNTED.items()}
        status, inner = send(make_environ(REMOTE_ADDR=PEER, **sent), trusted=[PEER], **options)
        return status, {k: v for k, v in (inner or {}).items() if k not in FORWARDING and not k.startswith("wsgi.i")}

    assert effect(written) == effect() or (effect(written) == (400, {}) and "forwarded" in options)
