"""The two comparisons that every room shares: a path with a prefix, and a host with the host of a key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountpoint import Mount, MountTable
from mountpoint.wsgi.keys import host_covers, is_below


@pytest.mark.parametrize("path", ["/shop", "/shop/", "/shop/cart", "/shop//cart"])
def test_a_path_is_below_a_prefix_at_a_segment_boundary(path):
    assert is_below(path, "/shop")


@pytest.mark.parametrize("path", ["", "/", "/sho", "/shopping", "/shop;v=1", "/SHOP", "//shop", "/x/shop"])
def test_a_path_is_not_below_a_prefix_that_it_only_resembles(path):
    assert not is_below(path, "/shop")


@pytest.mark.parametrize("path", ["", "/", "/shop", "//"])
def test_every_path_is_below_the_root(path):
    assert is_below(path, "")


@pytest.mark.parametrize(
    ("pattern", "host"),
    [
        ("", "example.com"),
        ("", ""),
        ("", "*.example.com"),
        ("example.com", "example.com"),
        ("*.example.com", "a.example.com"),
        ("*.example.com", "a.b.example.com"),
        ("*.example.com", "*.example.com"),
        ("*.example.com", "*.a.example.com"),
        ("[::1]", "[::1]"),
    ],
)
def test_the_host_of_a_key_covers_a_host(pattern, host):
    assert host_covers(pattern, host)


@pytest.mark.parametrize(
    ("pattern", "host"),
    [
        ("example.com", ""),
        ("example.com", "a.example.com"),
        ("*.example.com", "example.com"),
        ("*.example.com", "badexample.com"),
        ("*.example.com", "a.example.com.evil.example"),
        ("*.example.com", ""),
        ("*.a.example.com", "*.example.com"),
        ("[::1]", "[::2]"),
    ],
)
def test_the_host_of_a_key_does_not_cover_another_host(pattern, host):
    assert not host_covers(pattern, host)


LABELS = st.lists(st.sampled_from(["a", "b", "example"]), min_size=1, max_size=4)


@given(st.booleans(), LABELS, LABELS)
def test_a_table_finds_a_mount_at_exactly_the_hosts_that_its_key_covers(is_wildcard, pattern, host):
    key = "*." * is_wildcard + ".".join([*pattern, "test"])
    asked = ".".join([*host, "test"])
    found = MountTable([Mount(key, lambda *_: [])]).resolve("/", asked)
    assert (found is not None) == host_covers(key, asked)
