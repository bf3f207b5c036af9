"""Rule 27: ``Host`` is rebuilt from the forwarded scheme, host and port."""

import pytest

from mountpoint import Dispatcher, TrustedProxies

PROXY = "192.0.2.7"  # the peer of every request, unless the test says otherwise


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
def test_the_host_is_rebuilt_without_the_default_port(seen_environ, scheme, host, port, origin):
    sent = {f"HTTP_X_FORWARDED_{name}": value for name, value in (("PROTO", scheme), ("HOST", host), ("PORT", port))}
    seen = seen_environ(x_proto=1, x_host=1, x_port=1, **sent)
    assert f"{seen['wsgi.url_scheme']}://{seen['HTTP_HOST']}" == origin
    bare, _, own_port = origin.partition("://")[2].partition(":" if "[" not in origin else "]:")
    assert seen["SERVER_NAME"].strip("]") == bare.strip("]")
    assert seen["SERVER_PORT"] == (own_port or {"http": "80", "https": "443"}[scheme.lower()])


def test_a_forwarded_port_replaces_the_port_of_the_received_host(seen_environ):
    assert seen_environ(x_port=1, HTTP_HOST="a.example:8080", HTTP_X_FORWARDED_PORT="80")["HTTP_HOST"] == "a.example"


@pytest.mark.parametrize("host", ["evil.example/x?", "a@b", "a, b", "[::1", None])
def test_a_forwarded_port_is_not_added_to_a_malformed_host(seen_environ, host):
    seen = seen_environ(x_port=1, HTTP_HOST=host, HTTP_X_FORWARDED_PORT="8443")
    assert seen.get("HTTP_HOST") == host
    assert (seen["SERVER_NAME"], seen["SERVER_PORT"]) == ("localhost", "8443")


def test_the_table_is_searched_for_the_forwarded_host(call, echo):
    site = TrustedProxies(Dispatcher({"a.example/": echo("a"), "/": echo("all")}), trusted=[PROXY], x_host=1)
    assert call(site, "/x", HTTP_X_FORWARDED_HOST="A.example:80").seen["app"] == "a"
    assert call(site, "/x", HTTP_X_FORWARDED_HOST="A.example", REMOTE_ADDR="192.0.2.8").seen["app"] == "all"
