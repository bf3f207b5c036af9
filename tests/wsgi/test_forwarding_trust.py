"""Rules 21 and 22: which peers and headers are trusted, and which headers are removed."""

import pytest

from mountpoint.wsgi.proxy_settings import COUNTED

CLIENT = "203.0.113.9"


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
        ("::ffff:192.0.2.0/120", "192.0.2.255"),
        ("::ffff:0:0/96", "198.51.100.1"),
        ("2001:db8::/32", "2001:db8:1::1"),
        ("2001:DB8::1", "2001:db8:0:0::1"),
        ("fe80::/10", "fe80::1%eth0"),
        ("unix", "localhost"),
        ("unix", ""),
    ],
)
def test_the_headers_of_a_trusted_peer_are_used(seen_environ, trusted, peer):
    seen = seen_environ(trusted=[trusted], x_for=1, REMOTE_ADDR=peer, HTTP_X_FORWARDED_FOR=CLIENT)
    assert seen["REMOTE_ADDR"] == CLIENT


@pytest.mark.parametrize(
    ("trusted", "peer"),
    [
        ("192.0.2.7", "192.0.2.8"),
        ("192.0.2.0/24", "192.0.3.7"),
        ("192.0.2.7", "::ffff:192.0.2.8"),
        ("192.0.2.7", "::192.0.2.7"),
        ("::ffff:192.0.2.0/120", "192.0.3.0"),
        ("::ffff:192.0.2.0/120", "::ffff:192.0.3.0"),
        ("::ffff:0:0/96", "2001:db8::1"),
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
def test_the_headers_of_another_peer_are_not_used(ask, trusted, peer):
    without = ask(trusted=[trusted], x_for=1, x_prefix=1, REMOTE_ADDR=peer)
    headers = {"HTTP_X_FORWARDED_FOR": CLIENT, "HTTP_X_FORWARDED_PREFIX": "//evil.example"}
    assert ask(trusted=[trusted], x_for=1, x_prefix=1, REMOTE_ADDR=peer, **headers).body == without.body


VALUES = {
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
def test_each_count_applies_its_own_header_and_nothing_else(seen_environ, name):
    headers = {header: VALUES[other][0] for other, header in COUNTED.items()}
    before = seen_environ()
    after = seen_environ(**{name: 1}, **headers)
    after.pop(COUNTED[name], None)
    assert dict(after.items() - before.items()) == VALUES[name][1]
    assert after.keys() == before.keys()


@pytest.mark.parametrize("name", ["port", "prefix", "PREFIX", "server", "script_name"])
def test_only_the_names_that_rfc_7239_defines_are_used(seen_environ, name):
    """RFC 7239 allows extensions. A prefix has its own count, which excludes `forwarded`."""
    plain = seen_environ(forwarded=1, HTTP_FORWARDED=f"for={CLIENT}")
    more = seen_environ(forwarded=1, HTTP_FORWARDED=f"for={CLIENT};{name}=/evil;x={name}")
    del plain["HTTP_FORWARDED"], more["HTTP_FORWARDED"]
    assert more == plain


@pytest.mark.parametrize("name", COUNTED)
def test_headers_without_a_count_are_removed_even_from_a_trusted_peer(seen_environ, name):
    headers = {header: VALUES[other][0] for other, header in COUNTED.items()}
    others = {"HTTP_X_REAL_IP": CLIENT, "HTTP_X_SCRIPT_NAME": "/evil", "HTTP_X_FORWARDED_SERVER": "evil.example"}
    seen = seen_environ(**{name: 1}, **headers, **others, HTTP_X_FORWARDED_BY=CLIENT)
    left = {header for header in seen if header.startswith(("HTTP_X_FORWARDED", "HTTP_FORWARDED", "HTTP_X_"))}
    assert left == {COUNTED[name]} - {"HTTP_X_FORWARDED_PREFIX"}
