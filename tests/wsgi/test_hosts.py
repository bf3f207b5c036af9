"""Mounts at hosts: rules 1, 5 and 6."""

import pytest
from support.wsgi_calls import never_called as app

from mountpoint import ConfigError, Dispatcher, Mount, MountTable


def owner(keys, path, host):
    match = MountTable([Mount(key, app) for key in keys]).resolve(path, host)
    return match and match.mount.key


# ----------------------------------------------------------------------------------------------------------- the key


@pytest.mark.parametrize(
    ("written", "key", "host"),
    [
        ("example.com/shop", "example.com/shop", "example.com"),
        ("Example.COM./Shop/", "example.com/Shop", "example.com"),
        ("example.com", "example.com/", "example.com"),
        ("*.example.com/", "*.example.com/", "*.example.com"),
        ("localhost/shop", "localhost/shop", "localhost"),
        ("LOCALHOST", "localhost/", "localhost"),
        ("localhost./", "localhost/", "localhost"),
        ("[::1]/shop", "[::1]/shop", "[::1]"),
        ("[2001:DB8::1]", "[2001:db8::1]/", "[2001:db8::1]"),
        ("192.0.2.7/shop", "192.0.2.7/shop", "192.0.2.7"),
        ("my_host.internal/", "my_host.internal/", "my_host.internal"),
        ("xn--bcher-kva.example/", "xn--bcher-kva.example/", "xn--bcher-kva.example"),
        ("v1.0/api", "v1.0/api", "v1.0"),
    ],
)
def test_the_part_before_the_first_slash_is_a_host(written, key, host):
    mount = Mount(written, app)
    assert (mount.key, mount.host, mount.problems) == (key, host, ())


REFUSED = {
    "example/shop": 'expected a path that starts with a slash, found "example/shop"; write "/example/shop"',
    "shop./cart": 'expected a path that starts with a slash, found "shop./cart"; write "/shop./cart"',
    "./shop": 'expected a path that starts with a slash, found "./shop"; write "/shop"',
    "*./shop": 'expected a path that starts with a slash, found "*./shop"; write "/shop"',
    "example.com:8080/shop": 'expected a host without a port, found "example.com:8080"; write "example.com/shop"',
    "localhost:8080/shop": 'expected a host without a port, found "localhost:8080"; write "localhost/shop"',
    "*.example.com:80/": 'expected a host without a port, found "*.example.com:80"; write "*.example.com/"',
    "[::1]:80/": 'expected a host without a port, found "[::1]:80"; write "[::1]/"',
    "bücher.example/": 'expected a host as browsers send it, found "bücher.example"; write "xn--bcher-kva.example/"',
    "*.bücher.example": 'expected a host as browsers send it, found "*.bücher.example"; '
    'write "*.xn--bcher-kva.example"',
    "http://Example.com:80/a//b": 'expected [host]/path, found a scheme; write "example.com/a/b"',
    "example.com//shop": 'expected one slash between segments, found an empty segment; write "example.com/shop"',
    "example.com/../shop": 'expected a path without dot segments, found "/../shop"; write "example.com/shop"',
    **{
        f"{bad}/shop": f'expected a host such as "example.com", "*.example.com" or "[::1]", found "{bad}"'
        for bad in (
            "..", ".example.com", "example..com", "example.com..", "*example.com", "www.*.com", "*.*.com", "*.[::1]",
            "me@example.com", "a.example,b.example", "exa mple.com", "[::1", "[::g]", "[1:2]", "[::1:]", "[host]",
            "a.b?c",
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("key", list(REFUSED), ids=ascii)
def test_an_invalid_host_is_rejected_with_the_text_to_write_instead(key):
    with pytest.raises(ConfigError) as caught:
        MountTable([Mount(key, app)])
    assert str(caught.value) == f"{key}: {REFUSED[key]}"


# ---------------------------------------------------------------------------------------------- the host of a request


@pytest.mark.parametrize(
    "host",
    ["example.com", "EXAMPLE.Com", "example.com:8080", "example.com:", "example.com.", "Example.com.:443"],
)
def test_case_port_and_trailing_dot_of_the_host_do_not_matter(call, echo, host):
    dispatcher = Dispatcher({"example.com/": echo("here"), "/": echo("elsewhere")})
    assert call(dispatcher, "/x", HTTP_HOST=host).seen["app"] == "here"
    assert dispatcher.table.resolve("/x", host).mount.key == "example.com/"


@pytest.mark.parametrize("host", ["[::1]", "[::1]:8080"])
def test_an_ipv6_literal_keeps_its_brackets(call, echo, host):
    dispatcher = Dispatcher({"[::1]/": echo("here"), "/": echo("elsewhere")})
    assert call(dispatcher, "/", HTTP_HOST=host).seen["app"] == "here"


def test_the_server_name_is_used_if_the_host_is_missing(call, echo):
    dispatcher = Dispatcher({"example.com/": echo("here"), "/": echo("elsewhere")})
    assert call(dispatcher, "/", HTTP_HOST=None, SERVER_NAME="example.com").seen["app"] == "here"
    assert call(dispatcher, "/", HTTP_HOST="other.example", SERVER_NAME="example.com").seen["app"] == "elsewhere"


def test_an_invalid_server_name_is_not_the_client_s_mistake(call, echo):
    dispatcher = Dispatcher({"example.com/": echo("here"), "/": echo("elsewhere")})
    assert call(dispatcher, "/", HTTP_HOST=None, SERVER_NAME="a server").seen["app"] == "elsewhere"


INVALID = [
    "example.com, other.example",
    "example.com,example.com",
    "me@example.com",
    "example.com/x",
    "example.com\\x",
    "example.com?x",
    "example.com#x",
    "http://example.com",
    "example.com:80:80",
    "example.com:http",
    "example.com:-1",
    "example.com..",
    ".example.com",
    "exam ple.com",
    " example.com",
    "example.com\n",
    "example.com\0",
    "[::1",
    "[::g]",
    "[1:2]",
    "[::1:]",
    "[::1]x",
    "::1",
    "*.example.com",
    "b\xfccher.example",
]


@pytest.mark.parametrize("host", INVALID, ids=ascii)
def test_a_malformed_host_gets_400(call, echo, host):
    response = call(Dispatcher({"example.com/": echo("here"), "/": echo("elsewhere")}), "/", HTTP_HOST=host)
    assert (response.status, response.body) == (400, b"400 Bad Request\n")


@pytest.mark.parametrize("host", INVALID, ids=ascii)
def test_a_malformed_host_matches_only_mounts_without_a_host(host):
    assert owner(["example.com/", "*.example.com/", "/"], "/", host) == "/"
    assert owner(["example.com/", "*.example.com/"], "/", host) is None


def test_options_of_the_whole_server_does_not_skip_the_host_check(call, echo):
    dispatcher = Dispatcher({"example.com/": echo("here")})
    assert call(dispatcher, "*", "OPTIONS", HTTP_HOST="example.com").status == 204
    assert call(dispatcher, "*", "OPTIONS", HTTP_HOST="a, b").status == 400


@pytest.mark.parametrize("host", INVALID, ids=ascii)
def test_a_table_without_hosts_ignores_the_host(call, echo, host):
    assert call(Dispatcher({"/": echo("here")}), "/x", HTTP_HOST=host).seen["app"] == "here"


# ------------------------------------------------------------------------------------------------------ which host wins


KEYS = ["/", "*.example.com/", "*.b.example.com/", "a.b.example.com/", "localhost/"]


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("a.b.example.com", "a.b.example.com/"),
        ("x.b.example.com", "*.b.example.com/"),
        ("x.y.b.example.com", "*.b.example.com/"),
        ("b.example.com", "*.example.com/"),
        ("www.example.com", "*.example.com/"),
        ("x.a.b.example.com", "*.b.example.com/"),
        ("example.com", "/"),
        ("badexample.com", "/"),
        ("www.example.com.evil.example", "/"),
        ("com", "/"),
        ("localhost", "localhost/"),
        ("", "/"),
    ],
)
def test_the_exact_host_wins_then_the_longest_wildcard_then_no_host(host, key):
    assert owner(KEYS, "/x", host) == key
    assert owner(KEYS[::-1], "/x", host) == key


def test_a_host_without_a_mount_for_the_path_leaves_it_to_the_next():
    keys = ["a.example.com/shop", "*.example.com/blog", "*.com/wiki", "/wiki/old"]
    assert owner(keys, "/shop/1", "a.example.com") == "a.example.com/shop"
    assert owner(keys, "/blog/1", "a.example.com") == "*.example.com/blog"
    assert owner(keys, "/wiki/1", "a.example.com") == "*.com/wiki"
    assert owner(keys, "/wiki/old/1", "a.example.com") == "*.com/wiki"
    assert owner(keys, "/wiki/old/1", "localhost") == "/wiki/old"
    assert owner(keys, "/shop/1", "b.example.com") is None


def test_the_host_takes_precedence_over_the_length_of_the_path():
    keys = ["example.com/", "/shop/cart"]
    assert owner(keys, "/shop/cart/1", "example.com") == "example.com/"


def test_a_wildcard_with_more_labels_than_the_host_does_not_match():
    assert owner(["*.a.b.c.d.example/", "/"], "/", "d.example") == "/"
