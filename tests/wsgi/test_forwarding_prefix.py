"""Rules 24 to 26: the forwarded prefix, in front of SCRIPT_NAME or restored in front of the path."""

import functools

import pytest

from mountpoint import TrustedProxies

PROXY = "192.0.2.7"  # the peer of every request, unless the test says otherwise


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
def test_no_slash_is_doubled_even_without_a_dispatcher(call, echo, outer):
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
def test_an_invalid_prefix_gets_400(ask, value):
    assert ask(x_prefix=1, HTTP_X_FORWARDED_PREFIX=value).status == 400


def test_the_slash_redirect_has_the_prefix(ask):
    assert ask("/tv_ws", x_prefix=1, HTTP_X_FORWARDED_PREFIX="/caf%C3%A9")["Location"] == "/caf%C3%A9/tv_ws/"


def test_the_header_of_the_prefix_is_removed_even_if_it_is_counted(seen_environ):
    assert "HTTP_X_FORWARDED_PREFIX" not in seen_environ(x_prefix=1, HTTP_X_FORWARDED_PREFIX="/apps")
    assert "HTTP_X_FORWARDED_PREFIX" not in seen_environ(x_prefix=2, HTTP_X_FORWARDED_PREFIX="/apps")


restored = functools.partial(dict, x_prefix=1, restore_prefix=True)


@pytest.mark.parametrize("path", ["/x", "/", "//x", "/tv_ws/x", ""])
def test_the_forwarded_prefix_is_put_back_in_front_of_the_path(ask, path):
    seen = ask(path, "POST", **restored(HTTP_X_FORWARDED_PREFIX="/tv_ws/")).seen
    assert (seen["script_name"], seen["path_info"]) == ("/tv_ws", path)


def test_without_the_header_the_path_is_matched_as_received(ask):
    assert ask("/tv_ws/x", **restored()).seen["path_info"] == "/x"
    assert ask("/x", **restored()).status == 404


def test_a_restored_prefix_does_not_hide_dot_segments(ask):
    assert ask("/../x", **restored(HTTP_X_FORWARDED_PREFIX="/tv_ws")).status == 400


@pytest.mark.parametrize(("prefix", "path"), [("/tv", "_ws/x"), ("/tv_ws", "x"), ("/tv_ws", "*"), ("/tv_ws", "?")])
def test_a_restored_prefix_does_not_turn_a_bad_path_into_a_good_one(ask, prefix, path):
    assert ask(path, **restored(HTTP_X_FORWARDED_PREFIX=prefix)).status == 400


def test_restore_prefix_leaves_options_of_the_server_alone(ask):
    assert ask("*", "OPTIONS", **restored(HTTP_X_FORWARDED_PREFIX="/tv_ws")).status == 204
