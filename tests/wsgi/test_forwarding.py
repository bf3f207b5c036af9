"""Rules 21 to 27: who is believed, about what, and what is made of it."""

import functools

import pytest

from mountpoint import Dispatcher, TrustedProxies
from mountpoint.wsgi.proxy_settings import COUNTED, ProxySettings
from mountpoint.wsgi.record import RequestRecord

PROXY = "192.0.2.7"  # the peer of every request, unless it says otherwise
CLIENT = "203.0.113.9"


@pytest.fixture
def ask(call, echo):
    """Send a request from the proxy: ``ask(x_for=1, HTTP_X_FORWARDED_FOR="203.0.113.9")``, settings and environ.

    There is one mount, ``/tv_ws``, and no app at the root.
    """

    def ask(path="/tv_ws/x", method="GET", **both):
        settings = {
            "trusted": [PROXY],
            **{name: both.pop(name) for name in ProxySettings.__match_args__ if name in both},
        }
        return call(TrustedProxies(Dispatcher({"/tv_ws": echo("tv")}), **settings), path, method, **both)

    return ask


@pytest.fixture
def told(ask):
    """Return what the app is told, as environ; the arguments are those of `ask`."""
    return lambda *args, **both: ask(*args, **both).seen["environ"]


def url(environ):
    return f"{environ['wsgi.url_scheme']}://{environ['HTTP_HOST']}"


# -------------------------------------------------------------------------------------------- 21: from whom, about what


@pytest.mark.parametrize(
    ("trusted", "peer"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.0/24", "192.0.2.255"),
        ("192.0.2.7", "::ffff:192.0.2.7"),
        ("192.0.2.7", "::FFFF:C000:207"),
        ("192.0.2.0/24", "::ffff:192.0.2.9"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "::ffff:192.0.2.7"),
        ("::ffff:192.0.2.0/120", "::ffff:192.0.2.9"),
        ("2001:db8::/32", "2001:db8:1::1"),
        ("2001:DB8::1", "2001:db8:0:0::1"),
        ("fe80::/10", "fe80::1%eth0"),
        ("unix", "localhost"),
        ("unix", ""),
    ],
)
def test_a_trusted_peer_is_believed(told, trusted, peer):
    assert told(trusted=[trusted], x_for=1, REMOTE_ADDR=peer, HTTP_X_FORWARDED_FOR=CLIENT)["REMOTE_ADDR"] == CLIENT


@pytest.mark.parametrize(
    ("trusted", "peer"),
    [
        ("192.0.2.7", "192.0.2.8"),
        ("192.0.2.0/24", "192.0.3.7"),
        ("192.0.2.7", "::ffff:192.0.2.8"),
        ("192.0.2.7", "::192.0.2.7"),
        ("192.0.2.7", "2002:c000:207::"),
        ("0.0.0.0/0", "2001:db8::1"),
        ("::1", "127.0.0.1"),
        ("0.0.0.0/0", ""),
        ("0.0.0.0/0", "localhost"),
        ("127.0.0.1", "localhost"),
        ("unix", "127.0.0.1"),
        ("unix", "Localhost"),
        ("unix", None),
        ("0.0.0.0/0", None),
        ("192.0.2.7", "192.0.2.7, 192.0.2.7"),
        ("192.0.2.7", "192.0.2.7:80"),
        ("192.0.2.7", "unix"),
    ],
)
def test_nobody_else_is_believed(ask, trusted, peer):
    without = ask(trusted=[trusted], x_for=1, x_prefix=1, REMOTE_ADDR=peer)
    headers = {"HTTP_X_FORWARDED_FOR": CLIENT, "HTTP_X_FORWARDED_PREFIX": "//evil.example"}
    assert ask(trusted=[trusted], x_for=1, x_prefix=1, REMOTE_ADDR=peer, **headers).body == without.body


BELIEVED = {
    "x_for": (CLIENT, {"REMOTE_ADDR": CLIENT}),
    "x_proto": ("https", {"wsgi.url_scheme": "https"}),
    "x_host": ("a.example", {"HTTP_HOST": "a.example", "SERVER_NAME": "a.example"}),
    "x_port": ("8443", {"HTTP_HOST": "localhost:8443", "SERVER_PORT": "8443"}),
    "x_prefix": ("/apps", {"SCRIPT_NAME": "/apps/tv_ws"}),
    "forwarded": (
        f"for={CLIENT};proto=https;host=a.example",
        {
            "REMOTE_ADDR": CLIENT,
            "wsgi.url_scheme": "https",
            "HTTP_HOST": "a.example",
            "SERVER_NAME": "a.example",
            "SERVER_PORT": "443",
        },
    ),
}


@pytest.mark.parametrize("name", COUNTED)
def test_each_count_believes_its_own_header_and_nothing_else(told, name):
    headers = {header: BELIEVED[other][0] for other, header in COUNTED.items()}
    before = told()
    after = told(**{name: 1}, **headers)
    after.pop(COUNTED[name], None)
    assert dict(after.items() - before.items()) == BELIEVED[name][1]
    assert after.keys() == before.keys()


@pytest.mark.parametrize("name", ["port", "prefix", "PREFIX", "server", "script_name"])
def test_of_forwarded_only_the_names_of_its_rfc_are_believed(told, name):
    """RFC 7239 lets anybody add names; a prefix has a count of its own, which excludes this one."""
    plain = told(forwarded=1, HTTP_FORWARDED=f"for={CLIENT}")
    more = told(forwarded=1, HTTP_FORWARDED=f"for={CLIENT};{name}=/evil;x={name}")
    del plain["HTTP_FORWARDED"], more["HTTP_FORWARDED"]
    assert more == plain


# -------------------------------------------------------------------------------------------------- 22: what is removed


@pytest.mark.parametrize("name", COUNTED)
def test_headers_without_a_count_are_removed_although_the_peer_is_trusted(told, name):
    headers = {header: BELIEVED[other][0] for other, header in COUNTED.items()}
    others = {"HTTP_X_REAL_IP": CLIENT, "HTTP_X_SCRIPT_NAME": "/evil", "HTTP_X_FORWARDED_SERVER": "evil.example"}
    seen = told(**{name: 1}, **headers, **others, HTTP_X_FORWARDED_BY=CLIENT)
    left = {header for header in seen if header.startswith(("HTTP_X_FORWARDED", "HTTP_FORWARDED", "HTTP_X_"))}
    assert left == {COUNTED[name]} - {"HTTP_X_FORWARDED_PREFIX"}


# ------------------------------------------------------------------------------------------ 23: the one that counts


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
def test_the_address_is_the_one_that_many_from_the_right(told, count, value, address):
    assert told(x_for=count, HTTP_X_FORWARDED_FOR=value)["REMOTE_ADDR"] == address


@pytest.mark.parametrize(("count", "value"), [(2, CLIENT), (3, f"{CLIENT}, {CLIENT}"), (1, ""), (1, None), (9, CLIENT)])
def test_with_fewer_values_than_the_count_the_header_is_ignored(told, count, value):
    assert told(x_for=count, HTTP_X_FORWARDED_FOR=value)["REMOTE_ADDR"] == PROXY


@pytest.mark.parametrize("name", ["proto", "host", "port", "prefix"])
def test_with_fewer_values_than_the_count_not_even_a_wrong_one_is_looked_at(ask, name):
    answer = ask(**{f"x_{name}": 2, f"HTTP_X_FORWARDED_{name.upper()}": "//evil?"})
    assert (answer.status, answer.seen["script_name"]) == (200, "/tv_ws")


@pytest.mark.parametrize(
    "value",
    [
        *("unknown", "_hidden", "", "evil.example", "203.0.113", "203.0.113.9.1", "203.0.113.256", "0xcb.0.0.9", "9"),
        *("[2001:db8::9", "[2001:db8::9]x", "[evil]", "2001:db8::9]", "203.0.113.9:x", "203.0.113.9%evil", "[]", ":"),
        *("'203.0.113.9'", "203.0.113.9 x", "\uff11.2.3.4".encode().decode("latin-1"), "\x00", "\xff"),
    ],
)
def test_what_is_no_address_leaves_the_peer_s(told, value):
    assert told(x_for=1, HTTP_X_FORWARDED_FOR=f"198.51.100.1, {value}")["REMOTE_ADDR"] == PROXY


@pytest.mark.parametrize("node", ["unknown", "_hidden", '"_hidden:80"', '"unknown:_port"', '""'])
def test_a_hidden_client_of_forwarded_leaves_the_peer_s_address(told, node):
    seen = told(forwarded=1, HTTP_FORWARDED=f"for={CLIENT}, for={node};proto=https")
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
def test_a_value_outside_its_grammar_is_answered_400(ask, name, value):
    assert ask(**{f"x_{name}": 1, f"HTTP_X_FORWARDED_{name.upper()}": f"ignored, {value}"}).status == 400


@pytest.mark.parametrize(
    "value",
    [
        *('for="', 'for="1.2.3.4', 'for=1.2.3.4"', 'for="1.2.3.4\\"', 'for="a"b', 'for="a""b"', "for=a b"),
        *('for="x, for=1.2.3.4;by="_y"', "for", "for;proto=http", "=a", "for =a", 'for= "a"x', "for=a proto=http"),
        *("for=a;for=b", "for=a;FOR=b", "proto=ftp", "host=a/b", 'host="a, b"', "host=a:99999", "\xff=a"),
    ],
)
def test_a_forwarded_header_outside_its_grammar_is_answered_400(ask, value):
    assert ask(forwarded=1, HTTP_FORWARDED=value).status == 400


@pytest.mark.parametrize(
    ("count", "value", "address", "origin"),
    [
        (1, "for=203.0.113.9;proto=https;host=a.example", "203.0.113.9", "https://a.example"),
        (1, 'For="203.0.113.9:80" ; Proto=HTTPS ;HOST="a.example:8443"', "203.0.113.9", "https://a.example:8443"),
        (1, 'for="[2001:db8::9]:4711";by=_proxy', "2001:db8::9", "http://localhost"),
        (1, "for=[2001:db8::9]", "2001:db8::9", "http://localhost"),  # not quoted, as some proxies write it
        (1, "for=1.1.1.1;host=evil.example, for=203.0.113.9", "203.0.113.9", "http://localhost"),
        (2, "for=203.0.113.9;host=a.example, proto=https", "203.0.113.9", "http://a.example"),
        (1, 'for=203.0.113.9;host="a.\\e\\xample"', "203.0.113.9", "http://a.example"),
        (1, 'for="x;host=evil.example", for=203.0.113.9', "203.0.113.9", "http://localhost"),
        (1, 'for="_a, for=1.1.1.1;host=evil.example";proto=https', PROXY, "https://localhost"),
        (2, "for=203.0.113.9, , ,for=1.1.1.1,", "203.0.113.9", "http://localhost"),
        (3, "for=203.0.113.9,for=1.1.1.1", PROXY, "http://localhost"),
        (1, ",;, ;", PROXY, "http://localhost"),
    ],
)
def test_forwarded_is_read_as_rfc_7239_has_it(told, count, value, address, origin):
    seen = told(forwarded=count, HTTP_FORWARDED=value)
    assert (seen["REMOTE_ADDR"], url(seen)) == (address, origin)


def test_a_refused_request_reaches_no_app_and_is_told_nothing(ask):
    record = RequestRecord(PROXY)
    answer = ask(x_prefix=1, HTTP_X_FORWARDED_PREFIX="//evil.example", **{"mountpoint.request": record})
    assert (answer.status, answer.body) == (400, b"400 Bad Request\n")
    assert record.mount is None
    assert record.reason
    assert ask(method="HEAD", x_prefix=1, HTTP_X_FORWARDED_PREFIX="//evil.example").body == b""


def test_the_record_has_the_client_s_address(ask):
    record = RequestRecord(PROXY)
    ask(x_for=1, HTTP_X_FORWARDED_FOR=CLIENT, **{"mountpoint.request": record})
    assert record.remote_addr == CLIENT


def test_the_name_and_port_of_the_proxy_do_not_stay_beside_the_client_s_address(told):
    seen = told(x_for=1, HTTP_X_FORWARDED_FOR=CLIENT, REMOTE_HOST="proxy.example", REMOTE_PORT="4711")
    assert seen["REMOTE_HOST"] == CLIENT
    assert "REMOTE_PORT" not in seen


# ------------------------------------------------------------------------------------------------- 24, 25: the prefix


@pytest.mark.parametrize(
    ("value", "script_name"),
    [
        ("/apps", "/apps/tv_ws"),
        ("/apps/", "/apps/tv_ws"),
        ("/a/b/c", "/a/b/c/tv_ws"),
        ("/", "/tv_ws"),
        ("", "/tv_ws"),
        ("/old, /apps", "/apps/tv_ws"),
        ("/caf%C3%A9", "/caf\xc3\xa9/tv_ws"),
        ("/caf\xc3\xa9", "/caf\xc3\xa9/tv_ws"),
        ("/a%2cb", "/a,b/tv_ws"),
        ("/a;v=1", "/a;v=1/tv_ws"),
        ("/..a/.../a.", "/..a/.../a./tv_ws"),
        ("/" + 1023 * "a", "/" + 1023 * "a" + "/tv_ws"),
    ],
)
def test_the_prefix_goes_in_front_of_script_name(ask, value, script_name):
    seen = ask(x_prefix=1, HTTP_X_FORWARDED_PREFIX=value).seen
    assert (seen["script_name"], seen["path_info"]) == (script_name, "/x")


@pytest.mark.parametrize("outer", ["", None, "/", "/outer", "/outer/"])
def test_no_slash_is_doubled_though_no_dispatcher_follows(call, echo, outer):
    app = TrustedProxies(echo("app"), trusted=[PROXY], x_prefix=1)
    seen = call(app, "/x", SCRIPT_NAME=outer, HTTP_X_FORWARDED_PREFIX="/apps").seen
    assert seen["script_name"] == "/apps" + (outer or "").rstrip("/")


@pytest.mark.parametrize(
    "value",
    [
        *("//evil.example", "//", "///", "/a//b", "/a//", "/\tevil.example", "/\\evil.example", "\\\\evil.example"),
        *("@evil.example", ".evil.example", "evil.example", "evil.example/a", "https://evil.example", "a", "*"),
        *("/..", "/.", "/../a", "/a/..", "/a/./b", "/%2e%2e", "/%2E%2e/a", "/a/%2e"),
        *("/a%2fb", "/a%2Fb", "/%2fevil.example", "/a%5cb", "/a%5Cb", "/%252fevil", "/%2", "/%", "/%zz", "/a%"),
        *("/a b", "/a%20b", "/a?b", "/a%3fb", "/a#b", "/a%23b", "/a<b", "/a%3Cscript", "/a'b", '/a"b', "/a%22b"),
        *("/a\x00b", "/a%00b", "/a%0d%0aSet-Cookie:x", "/a\x7f", "/a%7f", "/a\x1f", "/a\xc2\x85b", "/a%C2%A0b"),
        *("/\xff", "/%ff", "/%C3", "/%ED%A0%80", "/a\xe3\x80\x80", "/" + 1024 * "a", "/a" * 10_000, ";/a", "[::1]/a"),
    ],
)
def test_what_is_no_prefix_is_answered_400(ask, value):
    assert ask(x_prefix=1, HTTP_X_FORWARDED_PREFIX=value).status == 400


def test_the_slash_redirect_has_the_prefix(ask):
    assert ask("/tv_ws", x_prefix=1, HTTP_X_FORWARDED_PREFIX="/caf%C3%A9")["Location"] == "/caf%C3%A9/tv_ws/"


def test_the_header_of_the_prefix_is_removed_once_it_is_believed(told):
    assert "HTTP_X_FORWARDED_PREFIX" not in told(x_prefix=1, HTTP_X_FORWARDED_PREFIX="/apps")
    assert "HTTP_X_FORWARDED_PREFIX" not in told(x_prefix=2, HTTP_X_FORWARDED_PREFIX="/apps")


# ------------------------------------------------------------------------------------------------- 26: restore_prefix

restored = functools.partial(dict, x_prefix=1, restore_prefix=True)


@pytest.mark.parametrize("path", ["/x", "/", "//x", "/tv_ws/x", ""])
def test_the_forwarded_prefix_is_put_back_in_front_of_the_path(ask, path):
    seen = ask(path, "POST", **restored(HTTP_X_FORWARDED_PREFIX="/tv_ws/")).seen
    assert (seen["script_name"], seen["path_info"]) == ("/tv_ws", path)


def test_without_the_header_the_path_is_matched_as_received(ask):
    assert ask("/tv_ws/x", **restored()).seen["path_info"] == "/x"
    assert ask("/x", **restored()).status == 404


def test_what_is_put_back_is_no_way_around_the_dot_segments(ask):
    assert ask("/../x", **restored(HTTP_X_FORWARDED_PREFIX="/tv_ws")).status == 400


@pytest.mark.parametrize(("prefix", "path"), [("/tv", "_ws/x"), ("/tv_ws", "x"), ("/tv_ws", "*"), ("/tv_ws", "?")])
def test_what_is_no_path_does_not_become_one(ask, prefix, path):
    assert ask(path, **restored(HTTP_X_FORWARDED_PREFIX=prefix)).status == 400


def test_options_of_the_server_stay_the_server_s(ask):
    assert ask("*", "OPTIONS", **restored(HTTP_X_FORWARDED_PREFIX="/tv_ws")).status == 204


# --------------------------------------------------------------------------------------------------- 27: host and port


@pytest.mark.parametrize(
    ("scheme", "host", "port", "origin"),
    [
        ("https", "a.example", "", "https://a.example"),
        ("https", "a.example:443", "", "https://a.example"),
        ("http", "a.example:80", "", "http://a.example"),
        ("https", "a.example:80", "", "https://a.example:80"),
        ("http", "a.example:443", "", "http://a.example:443"),
        ("https", "a.example", "443", "https://a.example"),
        ("https", "a.example", "8443", "https://a.example:8443"),
        ("https", "a.example:8443", "443", "https://a.example:8443"),
        ("https", "a.example:443", "8443", "https://a.example"),
        ("https", "a.example:", "8443", "https://a.example:8443"),
        ("http", "a.example", "0080", "http://a.example"),
        ("http", "a.example:00080", "", "http://a.example"),
        ("http", "a.example:08080", "", "http://a.example:8080"),
        ("https", "[2001:db8::1]", "", "https://[2001:db8::1]"),
        ("https", "[2001:db8::1]:443", "", "https://[2001:db8::1]"),
        ("https", "[2001:db8::1]", "8443", "https://[2001:db8::1]:8443"),
        ("https", "", "8443", "https://localhost:8443"),
        ("https", "", "443", "https://localhost"),
        ("HTTPS", "A.Example", "", "https://A.Example"),
    ],
)
def test_the_host_is_rebuilt_with_no_port_that_goes_without_saying(told, scheme, host, port, origin):
    headers = {"PROTO": scheme, "HOST": host, "PORT": port}
    seen = told(x_proto=1, x_host=1, x_port=1, **{f"HTTP_X_FORWARDED_{name}": value for name, value in headers.items()})
    assert url(seen) == origin
    bare, _, own_port = origin.partition("://")[2].partition(":" if "[" not in origin else "]:")
    assert seen["SERVER_NAME"].strip("]") == bare.strip("]")
    assert seen["SERVER_PORT"] == (own_port or {"http": "80", "https": "443"}[scheme.lower()])


def test_a_forwarded_port_replaces_the_port_of_the_host_that_came(told):
    assert told(x_port=1, HTTP_HOST="a.example:8080", HTTP_X_FORWARDED_PORT="80")["HTTP_HOST"] == "a.example"


@pytest.mark.parametrize("host", ["evil.example/x?", "a@b", "a, b", "[::1", None])
def test_a_forwarded_port_is_not_put_behind_what_is_no_host(told, host):
    seen = told(x_port=1, HTTP_HOST=host, HTTP_X_FORWARDED_PORT="8443")
    assert seen.get("HTTP_HOST") == host
    assert (seen["SERVER_NAME"], seen["SERVER_PORT"]) == ("localhost", "8443")


def test_the_table_is_asked_about_the_forwarded_host(call, echo):
    stack = TrustedProxies(Dispatcher({"a.example/": echo("a"), "/": echo("all")}), trusted=[PROXY], x_host=1)
    assert call(stack, "/x", HTTP_X_FORWARDED_HOST="A.example:80").seen["app"] == "a"
    assert call(stack, "/x", HTTP_X_FORWARDED_HOST="A.example", REMOTE_ADDR="192.0.2.8").seen["app"] == "all"
