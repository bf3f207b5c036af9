"""Rule 23: which value of a forwarding header is used, and which values get 400."""

import pytest

from mountpoint.wsgi.record import RequestRecord

PROXY = "192.0.2.7"  # the peer of every request, unless the test says otherwise
CLIENT = "203.0.113.9"


def url(environ):
    return f"{environ['wsgi.url_scheme']}://{environ['HTTP_HOST']}"


@pytest.mark.parametrize(
    ("count", "value", "address"),
    [
        (1, "198.51.100.1, 203.0.113.9", "203.0.113.9"),
        (2, "198.51.100.1, 203.0.113.9", "198.51.100.1"),
        (2, "192.0.2.66,198.51.100.1,\t 203.0.113.9 ", "198.51.100.1"),
        (1, "evil, //, 203.0.113.9", "203.0.113.9"),
        (1, "203.0.113.9:4711", "203.0.113.9"),
        (1, "[2001:db8::9]:4711", "2001:db8::9"),
        (1, "[2001:db8::9]", "2001:db8::9"),
        (1, "2001:DB8:0::9", "2001:db8::9"),
        (1, "::ffff:203.0.113.9", "203.0.113.9"),
        (1, "fe80::9%eth0", "fe80::9"),
    ],
)
def test_the_count_selects_the_address_from_the_right(seen_environ, count, value, address):
    assert seen_environ(x_for=count, HTTP_X_FORWARDED_FOR=value)["REMOTE_ADDR"] == address


@pytest.mark.parametrize(
    ("count", "value"), [(2, CLIENT), (3, f"{CLIENT}, {CLIENT}"), (1, ""), (1, " "), (1, None), (9, CLIENT)]
)
def test_with_fewer_values_than_the_count_the_header_is_ignored(seen_environ, count, value):
    assert seen_environ(x_for=count, HTTP_X_FORWARDED_FOR=value)["REMOTE_ADDR"] == PROXY


@pytest.mark.parametrize("name", ["proto", "host", "port", "prefix"])
def test_with_fewer_values_than_the_count_a_malformed_one_is_ignored(ask, name):
    response = ask(**{f"x_{name}": 2, f"HTTP_X_FORWARDED_{name.upper()}": "//evil?"})
    assert (response.status, response.seen["script_name"]) == (200, "/tv_ws")


NOT_ADDRESSES = [
    *("unknown", "_hidden", "", "evil.example", "203.0.113", "203.0.113.9.1", "203.0.113.256", "0xcb.0.0.9", "9"),
    *("[2001:db8::9", "[2001:db8::9]x", "[evil]", "2001:db8::9]", "203.0.113.9:x", "203.0.113.9%evil", "[]", ":"),
    *("'203.0.113.9'", "203.0.113.9 x", "\uff11.2.3.4".encode().decode("latin-1"), "\x00", "\xff"),
]


@pytest.mark.parametrize("value", NOT_ADDRESSES)
def test_a_value_that_is_not_an_address_gets_400(ask, value):
    """The app would see the address of the proxy instead, which it may trust more than that of a client."""
    assert ask(x_for=1, HTTP_X_FORWARDED_FOR=f"198.51.100.1, {value}").status == 400


@pytest.mark.parametrize("value", [value for value in NOT_ADDRESSES if value not in ("unknown", "_hidden", "", "\x00")])
def test_a_node_of_forwarded_outside_the_grammar_gets_400(ask, value):
    assert ask(forwarded=1, HTTP_FORWARDED=f'for="{value}";proto=https').status == 400


def test_a_value_that_is_not_counted_may_be_anything(seen_environ):
    assert seen_environ(x_for=1, HTTP_X_FORWARDED_FOR=f"unknown, , {CLIENT}")["REMOTE_ADDR"] == CLIENT


@pytest.mark.parametrize("node", ["unknown", "_hidden", '"_hidden:80"', '"unknown:_port"', '""'])
def test_a_hidden_client_of_forwarded_leaves_the_peer_s_address(seen_environ, node):
    seen = seen_environ(forwarded=1, HTTP_FORWARDED=f"for={CLIENT}, for={node};proto=https")
    assert (seen["REMOTE_ADDR"], seen["wsgi.url_scheme"]) == (PROXY, "https")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("proto", value)
            for value in ["ftp", "javascript", "https://", "http:", "ws", "http https", "\xc4\xb1", "on"]
        ),
        *(
            ("host", value)
            for value in ["a b", "user@a", "a/b", "a?b", "a#b", "//a", "a:b", "[::1", "[a]", "\xe4", "a\\"]
        ),
        *(
            ("host", value)
            for value in ["a:0", "a:65536", "a:99999", "a:123456", "a:-1", "a:80:80", ":80", "<a>", "a%00"]
        ),
        *(
            ("port", value)
            for value in ["0", "65536", "99999", "-1", "+80", "80.0", "0x50", "8_0", "https", "80;", "\xb2"]
        ),
    ],
)
def test_a_malformed_value_gets_400(ask, name, value):
    assert ask(**{f"x_{name}": 1, f"HTTP_X_FORWARDED_{name.upper()}": f"ignored, {value}"}).status == 400


@pytest.mark.parametrize(
    "value",
    [
        *('for="', 'for="1.2.3.4', 'for=1.2.3.4"', 'for="1.2.3.4\\"', 'for="a"b', 'for="a""b"', "for=a b"),
        *('for="x, for=1.2.3.4;by="_y"', "for", "for;proto=http", "=a", "for =a", 'for= "a"x', "for=a proto=http"),
        *("for=a;for=b", "for=a;FOR=b", "proto=ftp", "host=a/b", 'host="a, b"', "host=a:99999", "\xff=a"),
    ],
)
def test_a_malformed_forwarded_header_gets_400(ask, value):
    assert ask(forwarded=1, HTTP_FORWARDED=value).status == 400


@pytest.mark.parametrize(
    ("count", "value", "address", "origin"),
    [
        (1, "for=203.0.113.9;proto=https;host=a.example", "203.0.113.9", "https://a.example"),
        (1, 'For="203.0.113.9:80" ; Proto=HTTPS ;HOST="a.example:8443"', "203.0.113.9", "https://a.example:8443"),
        (1, 'for="[2001:db8::9]:4711";by=_proxy', "2001:db8::9", "http://localhost"),
        (1, "for=[2001:db8::9]", "2001:db8::9", "http://localhost"),  # some proxies write no quotes
        (1, "for=1.1.1.1;host=evil.example, for=203.0.113.9", "203.0.113.9", "http://localhost"),
        (2, "for=203.0.113.9;host=a.example, proto=https", "203.0.113.9", "http://a.example"),
        (1, 'for=203.0.113.9;host="a.\\e\\xample"', "203.0.113.9", "http://a.example"),
        (1, 'for="x;host=evil.example", for=203.0.113.9', "203.0.113.9", "http://localhost"),
        (1, 'by="_a, for=1.1.1.1;host=evil.example";proto=https', PROXY, "https://localhost"),
        (2, "for=203.0.113.9, , ,for=1.1.1.1,", "203.0.113.9", "http://localhost"),
        (3, "for=203.0.113.9,for=1.1.1.1", PROXY, "http://localhost"),
        (1, ",;, ;", PROXY, "http://localhost"),
    ],
)
def test_forwarded_is_parsed_as_rfc_7239_defines(seen_environ, count, value, address, origin):
    seen = seen_environ(forwarded=count, HTTP_FORWARDED=value)
    assert (seen["REMOTE_ADDR"], url(seen)) == (address, origin)


def test_a_malformed_header_reaches_no_app_and_is_not_echoed(ask):
    record = RequestRecord(PROXY)
    response = ask(x_prefix=1, HTTP_X_FORWARDED_PREFIX="//evil.example", **{"mountpoint.request": record})
    assert (response.status, response.body) == (400, b"400 Bad Request\n")
    assert record.mount is None
    assert record.reason
    assert ask(method="HEAD", x_prefix=1, HTTP_X_FORWARDED_PREFIX="//evil.example").body == b""


def test_the_record_has_the_client_s_address(ask):
    record = RequestRecord(PROXY)
    ask(x_for=1, HTTP_X_FORWARDED_FOR=CLIENT, **{"mountpoint.request": record})
    assert record.remote_addr == CLIENT


def test_the_name_and_port_of_the_proxy_s_connection_are_replaced(seen_environ):
    seen = seen_environ(x_for=1, HTTP_X_FORWARDED_FOR=CLIENT, REMOTE_HOST="proxy.example", REMOTE_PORT="4711")
    assert seen["REMOTE_HOST"] == CLIENT
    assert "REMOTE_PORT" not in seen
