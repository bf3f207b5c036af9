"""Which mount owns a path: rules 1 to 4 and 7 to 9. (Hosts are in test_hosts.py.)"""

import itertools
import sys
import tracemalloc
from dataclasses import FrozenInstanceError, replace

import pytest
from support.wsgi_calls import never_called as app

from mountpoint import ConfigError, Match, Mount, MountTable


def table_of(*keys):
    return MountTable([Mount(key, app) for key in keys])


def owner(table, path):
    match = table.resolve(path)
    return match and match.mount.key


def wsgi(text):
    return text.encode().decode("latin-1")


# --------------------------------------------------------------------------------------------------------- the key


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("/shop", "/shop"),
        ("/shop/", "/shop"),
        ("/shop/cart/", "/shop/cart"),
        ("/", "/"),
        ("", "/"),
        ("/Shop", "/Shop"),
        ("/shop;v=1", "/shop;v=1"),
        ("/...", "/..."),
        ("/.well-known", "/.well-known"),
        ("/~user", "/~user"),
    ],
)
def test_one_trailing_slash_is_dropped_and_nothing_else_changes(written, key):
    assert Mount(written, app).key == key


REFUSED = {
    "shop": 'shop: expected a path that starts with a slash, found "shop"; write "/shop"',
    "shop/cart": 'shop/cart: expected a path that starts with a slash, found "shop/cart"; write "/shop/cart"',
    " /shop": ' /shop: expected a path that starts with a slash, found " /shop"; write "/shop"',
    "*": '*: expected a path that starts with a slash, found "*"; write "/"',
    "*/shop": '*/shop: expected a path that starts with a slash, found "*/shop"; write "/shop"',
    "//": '//: expected one slash between segments, found an empty segment; write "/"',
    "//shop": '//shop: expected one slash between segments, found an empty segment; write "/shop"',
    "/shop//": '/shop//: expected one slash between segments, found an empty segment; write "/shop"',
    "/shop//cart": '/shop//cart: expected one slash between segments, found an empty segment; write "/shop/cart"',
    "/shop//../x": '/shop//../x: expected one slash between segments, found an empty segment; write "/x"',
    "/shop/./cart": '/shop/./cart: expected a path without dot segments, found "/shop/./cart"; write "/shop/cart"',
    "/shop/../cart": '/shop/../cart: expected a path without dot segments, found "/shop/../cart"; write "/cart"',
    "/..": '/..: expected a path without dot segments, found "/.."; write "/"',
    "/a\0b": r"/a\x00b: expected a path of plain segments, found '\x00'; leave it out",
    "/a\nb": r"/a\nb: expected a path of plain segments, found '\n'; leave it out",
    "/a\x7f": r"/a\x7f: expected a path of plain segments, found '\x7f'; leave it out",
    "/a\x80b": r"/a\x80b: expected a path of plain segments, found '\x80'; leave it out",
    "/a\x85b": r"/a\x85b: expected a path of plain segments, found '\x85'; leave it out",
    "/a b": "/a b: expected a path of plain segments, found ' '; leave it out",
    "/a\u2003b": "/a\u2003b: expected a path of plain segments, found '\\u2003'; leave it out",
    "/a\ud800": "/a\ud800: expected a path of plain segments, found '\\ud800'; leave it out",
    "/a\\b": r"/a\b: expected a path of plain segments, found '\\'; write a slash",
    "/a?b=1": "/a?b=1: expected a path of plain segments, found '?'; leave the query out",
    "/a#top": "/a#top: expected a path of plain segments, found '#'; leave the fragment out",
    "/caf%C3%A9": "/caf%C3%A9: expected a path of plain segments, found '%'; "
    "write the character itself, not its percent-encoding",
    "/shop/*": "/shop/*: expected a path of plain segments, found '*'; leave it out, a mount owns all that is below it",
    '/a"b': "/a\"b: expected a path of plain segments, found '\"'; leave it out",
    "/a'b": "/a'b: expected a path of plain segments, found \"'\"; leave it out",
    "/a`b": "/a`b: expected a path of plain segments, found '`'; leave it out",
    "/item/<id>": "/item/<id>: expected a path of plain segments, found '<'; leave it out",
    "/a>": "/a>: expected a path of plain segments, found '>'; leave it out",
    "http://example.com/shop": "http://example.com/shop: expected [host]/path, found a scheme; "
    'write "example.com/shop"',
    "https://shop/cart": 'https://shop/cart: expected [host]/path, found a scheme; write "/shop/cart"',
    None: 'None: expected a string such as "/shop", found NoneType',
    b"/shop": "b'/shop': expected a string such as \"/shop\", found bytes",
}


@pytest.mark.parametrize("key", list(REFUSED), ids=ascii)
def test_an_invalid_key_is_rejected_with_the_text_to_write_instead(key):
    with pytest.raises(ConfigError) as caught:
        table_of(key)
    assert str(caught.value) == REFUSED[key]


def test_every_invalid_mount_is_named_not_only_the_first():
    with pytest.raises(ConfigError) as caught:
        MountTable(
            [
                Mount("/good", app),
                Mount("bad", app),
                Mount("/good/", app),
                Mount("/none", None),
                Mount("/odd", app, slash="maybe"),
                Mount("/odd/", app, dot_segments="keep"),
            ]
        )
    assert str(caught.value).splitlines() == [
        'bad: expected a path that starts with a slash, found "bad"; write "/bad"',
        "/good: expected one mount with this key, found two; remove one of them",
        "/none: expected a WSGI application (a callable), found None",
        "/odd: slash: expected 'redirect', 'pass' or 'serve', found 'maybe'",
        "/odd: dot_segments: expected 'refuse' or 'pass', found 'keep'",
        "/odd: expected one mount with this key, found two; remove one of them",
    ]
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("pair", [("/a", "/a"), ("/a", "/a/"), ("/", ""), ("example.com", "Example.COM./")])
def test_two_mounts_at_the_same_place_are_rejected(pair):
    with pytest.raises(ConfigError, match="found two; remove one of them"):
        table_of(*pair)


def test_a_table_needs_a_mount():
    with pytest.raises(ConfigError) as caught:
        MountTable([])
    assert str(caught.value) == 'expected at least one mount, found none; write one, such as "/" for the root'


def test_an_item_that_is_not_a_mount_is_rejected():
    with pytest.raises(ConfigError) as caught:
        MountTable([("/shop", app), Mount("/good", app)])
    assert str(caught.value) == "expected a Mount, found a tuple; write Mount(key, app)"


def test_a_key_that_is_not_ascii_stays_readable_and_is_matched_as_utf_8():
    table = table_of("/café")
    match = table.resolve(wsgi("/café/menü"))
    assert match.mount.key == "/café"
    assert (match.script_name, match.path_info) == ("/caf\xc3\xa9", "/men\xc3\xbc")
    assert table.resolve("/café") is None, "this is latin-1 on the wire"


def test_composed_and_decomposed_letters_are_different_paths():
    composed, decomposed = "/caf\u00e9", "/cafe\u0301"
    table = table_of(composed, decomposed)
    assert owner(table, wsgi(composed)) == composed
    assert owner(table, wsgi(decomposed)) == decomposed


# --------------------------------------------------------------------------------------------------------- matching


@pytest.mark.parametrize("path", ["/tv_ws", "/tv_ws/", "/tv_ws/x", "/tv_ws//x", "/tv_ws/tv_wsx"])
def test_a_mount_owns_its_prefix_and_all_below_it(path):
    assert owner(table_of("/tv_ws"), path) == "/tv_ws"


@pytest.mark.parametrize(
    "path", ["/tv_wsx", "/TV_WS", "/tv_ws;v=1", "/tv_ws\\x", "//tv_ws", "/tv_w", "/x/tv_ws", "/", "", "/tv_ws%2Fx"]
)
def test_a_mount_does_not_own_a_path_that_only_resembles_it(path):
    assert owner(table_of("/tv_ws"), path) is None
    assert owner(table_of("/tv_ws", "/"), path) == "/"


@pytest.mark.parametrize("keys", list(itertools.permutations(["/", "/a", "/a/b", "/a/b/c/d"])))
def test_the_longest_mount_wins_in_any_order(keys):
    table = table_of(*keys)
    paths = ["", "/", "/x", "/a", "/ab", "/a/b", "/a/bc", "/a/b/c", "/a/b/c/", "/a/b/c/d", "/a/b/c/dd", "/a/b/c/d/e"]
    owners = ["/", "/", "/", "/a", "/", "/a/b", "/a", "/a/b", "/a/b", "/a/b/c/d", "/a/b", "/a/b/c/d"]
    assert [owner(table, path) for path in paths] == owners


def test_the_root_owns_every_path_and_only_paths():
    table = table_of("/")
    assert table.resolve("/x") == Match(next(iter(table)), "", "/x")
    assert table.resolve("") == Match(next(iter(table)), "", "")
    assert table.resolve("*") is None
    assert table.resolve("x/y") is None


@pytest.mark.parametrize("tail", ["//x", "/./x", "/../x", "/%2Fx", "/a\\b", "/\xff\x00", "/;v=1", "/"])
def test_the_tail_does_not_change_by_a_byte(tail):
    assert table_of("/tv_ws").resolve("/tv_ws" + tail)[1:] == ("/tv_ws", tail)


def cost(function, *args):
    """Return how many functions of Python and of C *function* calls, and its peak memory in bytes."""
    calls = []
    sys.setprofile(lambda frame, event, arg: calls.append(event))
    try:
        function(*args)
    finally:
        sys.setprofile(None)
    tracemalloc.start()
    try:
        function(*args)
        return len(calls), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("path", ["/a/b/c", "/a/x", "/nowhere", "/" * 100])
def test_a_look_up_costs_the_same_for_any_number_of_mounts(path):
    few, many = table_of("/a/b"), table_of("/a/b", *(f"/{number}/b" for number in range(5_000)))
    assert cost(many.resolve, path)[0] == cost(few.resolve, path)[0]


@pytest.mark.parametrize("start", ["/a/b", "/a", ""])
def test_a_long_path_costs_no_more_steps_and_one_copy_of_its_tail(start):
    table = table_of("/", "/a/b")
    few, _ = cost(table.resolve, start + "/" * 20)
    many, memory = cost(table.resolve, start + "/" * 260_000)
    assert many == few
    assert memory < 2 * 260_000


# --------------------------------------------------------------------------------------------------------- the objects


def test_the_fields_of_a_mount_and_of_a_match():
    mount = Mount("Example.com/café/", app, slash="pass")
    assert (mount.key, mount.host, mount.prefix) == ("example.com/café", "example.com", "/caf\xc3\xa9")
    assert (mount.slash, mount.dot_segments, mount.problems) == ("pass", "refuse", ())
    assert replace(mount, slash="redirect").prefix == mount.prefix
    assert Match(mount, "/caf\xc3\xa9", "/x")._fields == ("mount", "script_name", "path_info")
    with pytest.raises(FrozenInstanceError):
        mount.key = "/other"


def test_a_table_lists_its_mounts_in_the_order_given():
    table = table_of("/b", "/a", "example.com/")
    assert [mount.key for mount in table] == ["/b", "/a", "example.com/"]
    assert len(table) == 3
