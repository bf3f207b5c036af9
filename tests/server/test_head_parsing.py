"""The head of a request, from bytes to a `Head`. A head that another reader could read differently is refused."""

import string
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountpoint.server.head import CHUNKED, RequestError, body_length, parse_fields, parse_head

TOKEN = "!#$%&'*+-.^_`|~" + string.ascii_letters + string.digits


def head(*lines, line="GET /app/ HTTP/1.1", host=True):
    return parse_head("\r\n".join([line, *(["Host: example.com"] if host else []), *lines, "", ""]).encode("latin-1"))


def status_of(*lines, **options):
    with pytest.raises(RequestError) as raised:
        head(*lines, **options)
    return raised.value.status


# ------------------------------------------------------------------------------------------------------- request line


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("GET /app/ HTTP/1.0", "1.0"),
        ("GET /app/ HTTP/1.1", "1.1"),
        ("GET /app/ HTTP/1.2", "1.1"),
        ("GET /app/ HTTP/1.9", "1.1"),
    ],
)
def test_a_later_minor_version_is_read_as_1_1(line, version):
    assert head(line=line).version == version


@pytest.mark.parametrize("line", ["GET / HTTP/2.0", "PRI * HTTP/2.0", "GET / HTTP/0.9", "GET / HTTP/3.1"])
def test_another_major_version_is_505(line):
    assert status_of(line=line) == 505


@pytest.mark.parametrize(
    "line",
    [
        "",
        "GARBAGE",
        "GET",
        "GET /",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET /a\tb HTTP/1.1",
        "GET /a b HTTP/1.1",
        "get / HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET / HTTP/1.10",
        "GET / HTTP/1",
        "GET / http/1.1",
        "GET / HTTP/1.1\n",
        "GET / HTTP/1.1\r",
        "GET /\x00 HTTP/1.1",
        "GET / HTTP/\u0661.1".encode().decode("latin-1"),
    ],
)
def test_a_start_line_outside_the_grammar_is_400(line):
    assert status_of(line=line) == 400


def test_the_target_is_kept_as_it_was_sent():
    parsed = head(line="GET //a%2Fb/../c?d=%20e HTTP/1.1")
    assert (parsed.target, parsed.path_info, parsed.query) == ("//a%2Fb/../c?d=%20e", "//a/b/../c", "d=%20e")


# ------------------------------------------------------------------------------------------------------------- fields


@pytest.mark.parametrize(
    "line",
    [
        "X",
        ": x",
        "X : y",
        " X: y",
        "X(: y",
        "X\u00e9: y",
        "X: \x00",
        "X: a\x0bb",
        "X: a\x7f",
        "X: a\nY: b",
        "X: a\rY: b",
        "X: a\n",
    ],
)
def test_a_field_outside_the_grammar_is_400(line):
    assert status_of(line, host=False, line="GET / HTTP/1.0") == 400


def test_blanks_around_a_value_do_not_belong_to_it():
    assert head("X: \t a b\t ").headers["X"] == "a b"
    assert head("X:").headers["X"] == ""
    assert head("X:  \t").headers["X"] == ""


def test_a_value_may_have_bytes_beyond_ascii():
    assert head("X: caf\u00e9").headers["X"] == "caf\u00e9"


def test_a_folded_line_continues_the_value_before_it():
    assert head("X: a", "  b", "\tc", " ", "Y: d").headers["X"] == "a b c"


@pytest.mark.parametrize("lines", [["Content-Length:", " 5"], ["Transfer-Encoding: chunked", "\t"], ["host: a", " b"]])
def test_a_header_that_ends_the_request_is_not_folded(lines):
    assert status_of(*lines, host=lines[0] != "host: a") == 400


def test_a_folded_line_with_nothing_before_it_is_400():
    assert status_of(" X: y", host=False) == 400


def test_values_of_one_name_are_joined_by_commas_and_cookies_by_semicolons():
    parsed = head("Accept: a", "accept: b", "Cookie: a=1", "Cookie: b=2")
    assert (parsed.headers["ACCEPT"], parsed.headers["COOKIE"]) == ("a, b", "a=1; b=2")


@pytest.mark.parametrize(
    "name",
    ["Authorization", "Content-Type", "If-Modified-Since", "Origin", "Range", "Referer", "User-Agent", "host"],
)
def test_a_header_that_holds_one_value_may_stand_only_once(name):
    line = {"host": "example.com"}.get(name, "x")
    assert status_of(f"{name}: {line}", f"{name.upper()}: {line}") == 400


def test_a_name_with_an_underscore_is_left_out():
    assert set(head("X_Y: 1", "Content_Length: 5", "X-Z: 2").headers) == {"HOST", "X_Z"}


@given(st.lists(st.tuples(st.text(TOKEN, min_size=1, max_size=8), st.text("ab \t:,;\u00ff", max_size=8)), max_size=8))
def test_every_field_of_the_grammar_is_found_again(pairs):
    lines = [f"X-{number}-{name.replace('_', '-')}:{value}" for number, (name, value) in enumerate(pairs)]
    fields = parse_fields(lines)
    assert list(fields.values()) == [value.strip(" \t") for _, value in pairs]


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(data):
    with suppress(RequestError):
        body_length(parse_head(data))


# --------------------------------------------------------------------------------------------------------------- host


@pytest.mark.parametrize("value", ["", "a, b", "user@a", "a/x", "a:http", "[::1", "a b"])
def test_a_host_outside_the_grammar_is_400(value):
    assert status_of(f"Host: {value}", host=False) == 400


def test_http_1_1_needs_a_host_and_http_1_0_does_not():
    assert status_of(host=False) == 400
    assert "HOST" not in head(host=False, line="GET / HTTP/1.0").headers


@pytest.mark.parametrize("host", ["example.com", "example.com:80", "EXAMPLE.COM", "other.example"])
def test_the_authority_of_an_absolute_target_replaces_host(host):
    parsed = head(f"Host: {host}", host=False, line="GET http://example.com/app/ HTTP/1.1")
    assert parsed.headers["HOST"] == "example.com"


@pytest.mark.parametrize("authority", ["", "user@example.com", "a:b", "[::1"])
def test_an_authority_outside_the_grammar_is_400(authority):
    assert status_of(line=f"GET http://{authority}/app/ HTTP/1.1") == 400


def test_an_absolute_target_does_not_stand_for_a_missing_host():
    assert status_of(host=False, line="GET http://example.com/ HTTP/1.1") == 400
    assert head(host=False, line="GET http://example.com/ HTTP/1.0").headers["HOST"] == "example.com"


# -------------------------------------------------------------------------------------------------------- connection


@pytest.mark.parametrize(
    ("line", "lines", "keeps"),
    [
        ("GET / HTTP/1.1", [], True),
        ("GET / HTTP/1.1", ["Connection: close"], False),
        ("GET / HTTP/1.1", ["Connection: TE, Close"], False),
        ("GET / HTTP/1.1", ["Connection: TE", "Connection: close"], False),
        ("GET / HTTP/1.1", ["Connection: closed"], True),
        ("GET / HTTP/1.0", [], False),
        ("GET / HTTP/1.0", ["Connection: keep-alive"], True),
        ("GET / HTTP/1.0", ["Connection: Keep-Alive, TE"], True),
        ("GET / HTTP/1.0", ["Connection: keep-alive, close"], False),
    ],
)
def test_close_anywhere_in_connection_closes(line, lines, keeps):
    assert head(*lines, line=line).keeps_alive is keeps


def test_only_http_1_1_can_expect_100_continue():
    assert head("Expect: 100-Continue").expects_continue
    assert not head("Expect: something").expects_continue
    assert not head("Expect: 100-continue", line="GET / HTTP/1.0").expects_continue


# -------------------------------------------------------------------------------------------------------- body length


@pytest.mark.parametrize(
    ("lines", "length"),
    [
        ([], 0),
        (["Content-Length: 0"], 0),
        (["Content-Length: 0005"], 5),
        (["Content-Length: 9999999999999999999"], 9_999_999_999_999_999_999),
        (["Transfer-Encoding: chunked"], CHUNKED),
        (["Transfer-Encoding: \tCHUNKED "], CHUNKED),
    ],
)
def test_the_length_of_a_body(lines, length):
    parsed = head(*lines)
    assert body_length(parsed) == length
    assert "TRANSFER_ENCODING" not in parsed.headers


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["Content-Length:"], 400),
        (["Content-Length: +5"], 400),
        (["Content-Length: -1"], 400),
        (["Content-Length: 5 5"], 400),
        (["Content-Length: 0x5"], 400),
        (["Content-Length: \u00b2"], 400),
        (["Content-Length: 5, 5"], 400),
        ([f"Content-Length: {'9' * 5000}"], 413),
        (["Transfer-Encoding:"], 400),
        (["Transfer-Encoding: ,"], 400),
        (["Transfer-Encoding: , chunked"], 400),
        (["Transfer-Encoding: chunked,"], 400),
        (["Transfer-Encoding: chunked, chunked"], 400),
        (["Transfer-Encoding: chunked, identity"], 400),
        (["Transfer-Encoding: gzip, , chunked"], 400),
        (["Transfer-Encoding:", "Content-Length: 5"], 400),
        (["Transfer-Encoding: chunked", "Content-Length: 5"], 400),
        (["Transfer-Encoding: gzip"], 501),
        (["Transfer-Encoding: gzip, chunked"], 501),
        (["Transfer-Encoding: xchunked"], 501),
        (["Transfer-Encoding: chunked;a=b"], 501),
        (["Transfer-Encoding: \x85chunked"], 501),
    ],
)
def test_a_length_that_two_readers_could_read_differently_is_refused(lines, status):
    with pytest.raises(RequestError) as raised:
        body_length(head(*lines))
    assert raised.value.status == status


def test_two_transfer_encodings_are_400():
    assert status_of("Transfer-Encoding: chunked", "Transfer-Encoding: chunked") == 400


def test_http_1_0_has_no_chunks():
    with pytest.raises(RequestError, match=r"in HTTP/1\.0"):
        body_length(head("Transfer-Encoding: chunked", line="GET / HTTP/1.0"))
