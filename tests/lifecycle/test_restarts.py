"""The name of a mount that is to restart."""

import re
from types import SimpleNamespace

import pytest

from mountpoint.errors import LoadError
from mountpoint.lifecycle.restarts import find_mount


def mounts(*keys):
    return [SimpleNamespace(config=SimpleNamespace(key=key, own=True)) for key in keys]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("/own", "/own"),
        ("/own/", "/own"),
        ("own", "/own"),
        ("/", "/"),
        ("example.com/own", "example.com/own"),
        ("example.com/", "example.com/"),
        ("example.com", "example.com/"),
    ],
)
def test_a_mount_is_found_with_its_host_and_without_its_last_slash(name, key):
    table = mounts("/", "/own", "example.com/own", "example.com/", "/other")
    assert find_mount(table, name).config.key == key


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("/tv", 'did you mean "example.com/tv"?'),
        ("/notse", 'did you mean "/notes"?'),
        ("xyzzy", "it has /notes, example.com/tv"),
        ("", "it has /notes, example.com/tv"),
    ],
)
def test_an_unknown_name_gets_advice(name, advice):
    expected = f'expected a mount of the served table, found "{name}"; {advice}'
    with pytest.raises(LoadError, match=re.escape(expected)):
        find_mount(mounts("/notes", "example.com/tv"), name)
