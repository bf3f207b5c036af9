"""Each place of a URL has its own set of characters that stay as they are (RFC 3986)."""

import string

import pytest

from mountpoint.wsgi import percent

UNRESERVED = set(string.ascii_letters + string.digits + "-._~")
SUB_DELIMS = set("!$&'()*+,;=")
PATH = UNRESERVED | SUB_DELIMS | set(":@/")
BYTES = [chr(byte) for byte in range(256)]


@pytest.mark.parametrize(
    ("encode", "kept"),
    [
        (percent.encode_path, PATH),
        (percent.encode_plain_path, UNRESERVED | {"/"}),
        (percent.encode_cookie_path, PATH - {";"}),
        (percent.encode_query, PATH | set("?%")),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_every_byte_is_kept_or_encoded(encode, kept):
    assert [encode(byte) for byte in BYTES] == [byte if byte in kept else f"%{ord(byte):02X}" for byte in BYTES]


def test_a_url_keeps_its_delimiters_and_encoded_bytes():
    kept = PATH | set("?[]%")
    ascii_bytes = [byte for byte in BYTES[:128] if byte != "#"]
    expected = [byte if byte in kept else f"%{ord(byte):02X}" for byte in ascii_bytes]
    assert [percent.encode_url(byte) for byte in ascii_bytes] == expected


def test_a_url_loses_its_fragment():
    assert percent.encode_url("/a?b#c#d") == "/a?b"


@pytest.mark.parametrize(("encoding", "encoded"), [("utf-8", "/%C3%A9"), ("latin-1", "/%E9")])
def test_a_url_is_encoded_in_the_encoding_that_is_named(encoding, encoded):
    assert percent.encode_url("/é", encoding) == encoded


def test_a_url_with_a_lone_surrogate_raises():
    with pytest.raises(UnicodeEncodeError):
        percent.encode_url("/\udc80")
