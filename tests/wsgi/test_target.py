"""Rule 8 for a server: the request target loses nothing."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountpoint.wsgi.target import split_target


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/tv_ws/x", "/tv_ws/x"),
        ("//tv_ws", "//tv_ws"),
        ("///", "///"),
        ("//evil.example/x", "//evil.example/x"),
        ("/tv_ws/../x", "/tv_ws/../x"),
        ("/%2e%2e/x", "/../x"),
        ("/tv_ws%2Fx", "/tv_ws/x"),
        ("/%74v_ws", "/tv_ws"),
        ("/%2574v_ws", "/%74v_ws"),
        ("/caf%C3%A9", "/caf\xc3\xa9"),
        ("/caf\xc3\xa9", "/caf\xc3\xa9"),
        ("/%FF%00%09", "/\xff\x00\t"),
        ("/a+b;c=d", "/a+b;c=d"),
        ("/100%", "/100%"),
        ("/%zz", "/%zz"),
        ("/a\\b", "/a\\b"),
        ("*", "*"),
        ("example.com:443", "example.com:443"),
        ("x/y", "x/y"),
    ],
)
def test_the_path_is_decoded_once_and_otherwise_unchanged(target, path):
    assert split_target(target) == (None, path, "")


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/x?stn=Lund", "/x", "stn=Lund"),
        ("/x?", "/x", ""),
        ("/x?a=%2F%20+\xc3\xa9", "/x", "a=%2F%20+\xc3\xa9"),
        ("/x?a?b=/c", "/x", "a?b=/c"),
        ("/x%3Fa?b", "/x?a", "b"),
        ("/x?http://example.com/y", "/x", "http://example.com/y"),
    ],
)
def test_the_query_follows_the_first_question_mark_and_is_not_decoded(target, path, query):
    assert split_target(target) == (None, path, query)


@pytest.mark.parametrize(
    ("target", "authority", "path", "query"),
    [
        ("http://example.com/x?y", "example.com", "/x", "y"),
        ("HTTPS://Example.com:8080/x", "Example.com:8080", "/x", ""),
        ("http://example.com", "example.com", "/", ""),
        ("http://example.com?y", "example.com", "/", "y"),
        ("http://example.com//x", "example.com", "//x", ""),
        ("http://[::1/x", "[::1", "/x", ""),
        ("http://me@example.com/x", "me@example.com", "/x", ""),
        ("http:///x", "", "/x", ""),
        ("http://a/http://b/", "a", "/http://b/", ""),
    ],
)
def test_the_absolute_form_names_an_authority(target, authority, path, query):
    assert split_target(target) == (authority, path, query)


def test_a_target_that_begins_with_a_slash_has_no_authority():
    assert split_target("/http://example.com/x") == (None, "/http://example.com/x", "")


@pytest.mark.parametrize("character", ["\0", "\t", "\n", "\r", "\x1f", " ", "\x7f", "#"])
@pytest.mark.parametrize("form", ["{}/tv_ws", "/tv{}_ws", "/tv_ws{}", "/x?a{}b", "http://exa{}mple.com/"])
def test_a_forbidden_character_is_rejected_and_not_dropped(form, character):
    with pytest.raises(ValueError, match="the request target holds") as caught:
        split_target(form.format(character))
    assert str(caught.value) == f"the request target holds {character!r}"


@pytest.mark.parametrize("target", ["", "?", "?q"])
def test_a_target_without_a_path_is_rejected(target):
    with pytest.raises(ValueError, match="the request target has no path"):
        split_target(target)


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="#\x7f"), max_size=60))
def test_a_target_in_origin_form_loses_nothing(text):
    authority, path, query = split_target("/" + text.replace("%", ""))
    assert authority is None
    assert (f"{path}?{query}" if "?" in text else path) == "/" + text.replace("%", "")


@given(st.text(st.characters(max_codepoint=0xFF), max_size=60))
def test_only_forbidden_bytes_and_an_empty_path_raise(text):
    if re.search(r"[\x00-\x20\x7f#]", text) or text[:1] in ("", "?"):
        with pytest.raises(ValueError, match="the request target "):
            split_target(text)
    else:
        target = split_target(text)
        assert all(ord(character) < 256 for character in target.path_info + target.query)
