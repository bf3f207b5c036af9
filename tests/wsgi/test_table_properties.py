"""Properties that hold for every table and every request, checked on generated ones."""

import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from support.wsgi_calls import never_called

from mountpoint import ConfigError, Dispatcher, Mount, MountTable, TrustedProxies

# Few names, so that they often occur together.
SEGMENTS = ["a", "b", "ab", "A", "a.b", "é", "e\u0301", ";a"]
HOSTS = ["", "a.example", "b.a.example", "localhost", "[::1]", "*.example", "*.a.example", "*.b.a.example"]

paths = st.lists(st.sampled_from(SEGMENTS), max_size=4).map(lambda segments: "".join(f"/{name}" for name in segments))
places = st.tuples(st.sampled_from(HOSTS), paths)
tables = st.lists(places, min_size=1, max_size=8, unique=True)
asked_paths = st.lists(st.sampled_from([*SEGMENTS, "", "x"]), max_size=6).map(
    lambda segments: "".join(f"/{name}" for name in segments).encode().decode("latin-1")
)
asked_hosts = st.sampled_from([*HOSTS[:5], "example", "c.example", "c.a.example", "c.b.a.example", "d.c.b.a.example"])
wsgi_strings = st.text(st.characters(max_codepoint=255), max_size=40) | st.text("/.a\\%;?#@:\t\n \xe9", max_size=20)


def sink(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b""]


def table_of(mounts, app=never_called, **options):
    return MountTable([Mount(host + path, app, **options) for host, path in mounts])


def naive_owner(mounts, path, host):
    """Return the place in *mounts* that owns *path* at *host*, found by comparing all of them."""
    best, best_rank = None, None
    for mount_host, mount_path in mounts:
        prefix = mount_path.encode().decode("latin-1")
        at_host = mount_host in ("", host) or (mount_host.startswith("*.") and host.endswith(mount_host[1:]))
        if at_host and (path == prefix or path.startswith(prefix + "/")):
            rank = (mount_host == host != "", len(mount_host), len(prefix))
            if best_rank is None or rank > best_rank:
                best, best_rank = (mount_host, mount_path), rank
    return best


@given(tables, asked_paths, asked_hosts)
def test_the_table_agrees_with_a_naive_search(mounts, path, host):
    match = table_of(mounts).resolve(path, host)
    expected = naive_owner(mounts, path, host)
    assert (match and match.mount.key) == (expected and expected[0] + (expected[1] or "/"))


@given(tables, wsgi_strings, asked_hosts)
@example([("", "")], "*", "")
def test_the_table_agrees_with_a_naive_search_for_any_bytes(mounts, path, host):
    match = table_of(mounts).resolve(path, host)
    expected = naive_owner(mounts, path, host)
    assert (match and match.mount.key) == (expected and expected[0] + (expected[1] or "/"))


@given(tables, asked_paths, asked_hosts)
def test_script_name_and_path_info_together_are_the_whole_path(mounts, path, host):
    match = table_of([*mounts, ("", "")] if ("", "") not in mounts else mounts).resolve(path, host)
    assert match.script_name + match.path_info == path


@given(tables, st.randoms(), asked_paths, asked_hosts)
def test_the_order_of_the_table_does_not_matter(mounts, random, path, host):
    found = table_of(mounts).resolve(path, host)
    random.shuffle(mounts)
    again = table_of(mounts).resolve(path, host)
    assert (found and found.mount.key) == (again and again.mount.key)


@given(tables, asked_paths, asked_hosts, st.sampled_from(["", "/apps", "/apps/"]))
def test_the_dispatcher_agrees_with_the_table_and_moves_the_prefix(call, echo, mounts, path, host, outer):
    dispatcher = Dispatcher(table_of(mounts, echo("app"), slash="pass"))
    match = dispatcher.table.resolve(path, host)
    response = call(dispatcher, path, SCRIPT_NAME=outer, HTTP_HOST=host or "other.test")
    if match is None:
        assert response.status == 404
    else:
        seen = response.seen
        assert seen["mount"] == match.mount.key
        assert seen["script_name"] == outer.rstrip("/") + match.script_name
        assert seen["script_name"] + seen["path_info"] == (outer.rstrip("/") + path or "/")


@given(tables, wsgi_strings, wsgi_strings, wsgi_strings, wsgi_strings, st.sampled_from(["GET", "HEAD", "OPTIONS"]))
@example([("", "")], "*", "", "", "", "OPTIONS")
@example([("a.example", "")], "*", ",", "", "", "OPTIONS")
def test_no_bytes_raise_and_the_caller_s_environ_never_changes(call, mounts, path, host, outer, query, method):
    # `call` compares environ before and after.
    site = TrustedProxies(Dispatcher(table_of(mounts, sink)), strips="/apps")
    response = call(site, path, method, HTTP_HOST=host, SCRIPT_NAME=outer, QUERY_STRING=query)
    assert response.status in (200, 204, 308, 400, 404)


CHARACTER = r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-F]{2})"
LOCATION = re.compile(rf"/(?!/){CHARACTER}*/(?:\?(?:{CHARACTER}|[?%])+)?")  # RFC 3986, plus a bare "%" in the query


@given(paths.filter(bool), wsgi_strings, wsgi_strings)
@example("/a", "//evil.example", "")
@example("/a", "\\\\evil.example", "")
@example("/a", "", "\r\nSet-Cookie: a=b")
def test_a_location_is_always_a_path_of_this_server(call, key, outer, query):
    dispatcher = Dispatcher({key: never_called})
    response = call(dispatcher, key.encode().decode("latin-1"), SCRIPT_NAME=outer, QUERY_STRING=query)
    assert response.status == 308
    assert LOCATION.fullmatch(response["Location"])


HEADS = ["", "example.com", "*.example.com", "*", "localhost", "[::1]", "http://", "shop", "bücher.example", " "]
keys = st.builds(
    lambda head, port, tail: head + port + tail,
    st.sampled_from(HEADS),
    st.sampled_from(["", ":80", ":", "."]),
    st.lists(st.sampled_from(["/", "//", "/..", "/.", "/a", "%41", "*", "?x", "\\", " ", "\n", "é"]), max_size=5).map(
        "".join
    ),
)


@given(keys | st.text(max_size=20))
def test_a_key_is_valid_or_its_one_line_error_advises_a_valid_key(key):
    mount = Mount(key, never_called)
    if mount.problems:
        assert not re.search(r"[\x00-\x1f\x7f-\x9f]", str(ConfigError(mount.problems)))
        if advice := re.fullmatch(r'.*; write "(.*?)"', mount.problems[0].message, re.DOTALL):
            assert Mount(advice[1], never_called).problems == ()
    else:
        assert Mount(mount.key, never_called).key == mount.key, "normalising again changes nothing"
        assert mount.prefix == "" or (mount.prefix[0] == "/" and mount.prefix[-1] != "/")


@given(st.text(max_size=20) | wsgi_strings)
def test_no_host_makes_a_table_raise(host):
    assume(host not in ("a.example", "a.example."))
    assert table_of([("a.example", "")]).resolve("/", host) is None or re.match(r"(?i)a\.example\.?(:|\Z)", host)


@pytest.mark.parametrize("depth", [1, 7, 40])
def test_a_table_may_have_any_depth(depth):
    key = "/a" * depth
    match = table_of([("", key)]).resolve(key + "/x")
    assert (match.script_name, match.path_info) == (key, "/x")
