"""The access log in JSON: the same keys for each request, and the text of the client as UTF-8."""

import json

import pytest
from support.finished import FACTS, finished

from mountpoint.server.access_json import json_line


def found(*args, **options):
    return json.loads(json_line(finished(*args, **options), 1795334707.5035))


def test_a_line_has_every_fact_about_its_request():
    assert found(request_id="4bf92f") == {
        "time": "2026-11-22T08:05:07.500Z",  # when the server had read the request
        "level": "INFO",
        "logger": "mountpoint.access",
        **FACTS,
        "request_id": "4bf92f",
        "referer": None,
        "reason": None,
    }


def test_a_request_that_cannot_be_read_has_the_same_keys():
    line = found(b"GARBAGE\r\n\r\n", status=400)
    assert list(line) == list(found())
    assert (line["mount"], line["method"], line["path"]) == (None, None, None)
    assert (line["request_line"], line["reason"], line["scheme"]) == ("GARBAGE", "Start line is invalid", "http")


def test_a_response_of_mountpoint_itself_has_its_reason():
    assert found(status=404, mount=None, reason="no mount owns the path")["reason"] == "no mount owns the path"


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        (b"caf\xc3\xa9", "café"),
        (b"\xe2\x80\xa8", "\u2028"),
        (b"\xf0\x9f\x98\x80", "\U0001f600"),
        (b"\xff\xc3", r"\xff\xc3"),
        (b"\xed\xa0\x80", r"\xed\xa0\x80"),  # half of a surrogate pair
        (b'"\\', '"\\'),
        (b"a\tb", "a\tb"),
        (b"", ""),
    ],
)
def test_text_is_utf_8_and_other_bytes_are_escaped(sent, meant):
    line = found(b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: " + sent + b"\r\nReferer: " + sent + b"\r\n\r\n")
    assert (line["user_agent"], line["referer"]) == (meant, meant)


def test_the_path_is_encoded_as_in_a_link():
    line = found(b"GET /caf\xc3\xa9/%0A%22%5c%61;x?q HTTP/1.1\r\nHost: a\r\n\r\n")
    assert line["path"] == "/caf%C3%A9/%0A%22%5Ca;x"
    assert line["request_line"] == "GET /café/%0A%22%5c%61;x?q HTTP/1.1"


def test_a_mount_is_written_as_its_key():
    assert found(mount="*.example.com/café")["mount"] == "*.example.com/café"
