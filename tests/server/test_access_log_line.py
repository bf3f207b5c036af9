"""The format of the access log, and that a client cannot forge a line of it (rule 18)."""

import contextlib
import locale
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountpoint.server.access_log import access_line


@pytest.fixture
def in_zone(monkeypatch):
    """Set the local time zone."""
    if not hasattr(time, "tzset"):
        pytest.skip("the time zone of this platform cannot be set")

    def set_zone(zone):
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield set_zone
    monkeypatch.undo()
    time.tzset()


def line(**changed):
    known = {
        "remote_addr": "192.0.2.7",
        "request_line": "GET /tv_ws/?stn=Lund HTTP/1.1",
        "status": "200",
        "size": 512,
        "referer": None,
        "user_agent": "curl/8.5",
        "mount": "/tv_ws",
        "started": 1795334707.0,
        "finished": 1795334707.0032,
    }
    return access_line(**known | changed)


def test_a_line_is_the_combined_format_with_mount_and_milliseconds(in_zone):
    in_zone("CET-1")
    assert line() == (
        '192.0.2.7 - - [22/Nov/2026:09:05:07 +0100] "GET /tv_ws/?stn=Lund HTTP/1.1" 200 512 "-" "curl/8.5" /tv_ws 3.2'
    )


def test_unknown_fields_are_dashes():
    assert re.fullmatch(
        r'- - - \[[^]]+\] "" - - "-" "-" - 0\.0',
        line(remote_addr=None, request_line="", status="-", size=0, user_agent=None, mount=None, finished=1795334707.0),
    )


@pytest.mark.parametrize(
    ("zone", "stamp"),
    [
        ("UTC0", "22/Nov/2026:08:05:07 +0000"),
        ("NST3:30", "22/Nov/2026:04:35:07 -0330"),
        ("NPT-5:45", "22/Nov/2026:13:50:07 +0545"),
        ("HST10", "21/Nov/2026:22:05:07 -1000"),
    ],
)
def test_the_time_is_local_with_its_utc_offset(in_zone, zone, stamp):
    in_zone(zone)
    assert f"[{stamp}]" in line()


def test_every_month_has_its_english_name():
    middles = [1768500000.0 + number * 2629800 for number in range(12)]
    months = [line(started=middle).split("/")[1] for middle in middles]
    assert months == ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def test_the_month_is_english_whatever_the_locale():
    before = locale.setlocale(locale.LC_TIME)
    for name in ("fr_FR.UTF-8", "de_DE.UTF-8", "sv_SE.UTF-8", "French_France"):
        with contextlib.suppress(locale.Error):
            locale.setlocale(locale.LC_TIME, name)
            break
    else:
        pytest.skip("this machine has no other locale")
    try:
        assert "/May/2026:" in line(started=1779000000.0)
    finally:
        locale.setlocale(locale.LC_TIME, before)


@pytest.mark.parametrize(
    ("sent", "written"),
    [
        ('GET /"x HTTP/1.1', r"GET /\"x HTTP/1.1"),
        ("GET /\\x HTTP/1.1", r"GET /\\x HTTP/1.1"),
        ("a\nb\rc\td\ve\bf", r"a\nb\rc\td\ve\bf"),
        ("\0\x1b[31m\x7f\x0c", r"\x00\x1b[31m\x7f\x0c"),
        ("/caf\xc3\xa9", r"/caf\xc3\xa9"),
        ("\x85\xa0\xff", r"\x85\xa0\xff"),
        ("%0A is as it was sent", "%0A is as it was sent"),
        ("plain ~ text", "plain ~ text"),
    ],
)
@pytest.mark.parametrize("field", ["request_line", "referer", "user_agent"])
def test_text_from_the_client_is_escaped_as_apache_does(field, sent, written):
    assert f'"{written}"' in line(**{field: sent})


LINE = re.compile(
    r'\S+ - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "(?P<request>Q)" \d{3} \d+ "(?P<referer>Q)" '
    r'"(?P<agent>Q)" \S+ \d+\.\d'.replace("Q", r'(?:[^"\\]|\\["\\nrtvb]|\\x[0-9a-f]{2})*')
)
client_text = st.text(st.characters(max_codepoint=0xFF), max_size=40) | st.text('"\\ \nx0-', max_size=20)


def unescaped(text):
    return text.encode("ascii").decode("unicode_escape")


@given(client_text, client_text, client_text)
def test_a_client_cannot_forge_a_line_and_no_text_is_lost(request_line, referer, user_agent):
    written = line(request_line=request_line, referer=referer, user_agent=user_agent)
    assert re.fullmatch(r"[\x20-\x7e]+", written)
    fields = LINE.fullmatch(written)
    assert unescaped(fields["request"]) == request_line
    assert unescaped(fields["referer"]) == (referer or "-")
    assert unescaped(fields["agent"]) == (user_agent or "-")


def test_the_mount_is_written_as_its_key():
    assert line(mount="*.example.com/café").endswith('" *.example.com/café 3.2')


def test_the_id_of_a_request_ends_its_line():
    assert line(request_id="4bf92f").endswith('" /tv_ws 3.2 4bf92f')
    assert line(request_id=None).endswith('" /tv_ws 3.2')
