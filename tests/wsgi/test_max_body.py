"""A body over the limit is rejected by its Content-Length, before the app runs."""

import pytest
from support.wsgi_calls import never_called

from mountpoint import ConfigError, Dispatcher
from mountpoint.wsgi.limits import MaxBody
from mountpoint.wsgi.record import RECORD_KEY, RequestRecord


@pytest.mark.parametrize("length", ["11", "0011", "9" * 5000, str(2**64)])
def test_a_body_over_the_limit_is_rejected_before_the_app_runs(call, length):
    record = RequestRecord()
    response = call(MaxBody(never_called, 10), "/", "POST", CONTENT_LENGTH=length, **{RECORD_KEY: record})
    assert (response.status, response.body) == (413, b"413 Content Too Large: exceeds max_body of 10\n")
    assert record.reason == "the body exceeds the mount's max_body of 10"


@pytest.mark.parametrize(
    "length",
    [
        "10",
        "9",
        "0",
        "00000000000010",
        "",
        None,
        "-11",
        "+11",
        " 11",
        "11 ",
        "1_1",
        "0x11",
        "11.0",
        "11, 11",
        "\xb9\xb2",
    ],
)
def test_a_body_within_the_limit_or_of_unknown_length_passes(make_environ, length):
    environ = make_environ("/", "POST", CONTENT_LENGTH=length)
    before = dict(environ)
    seen, start_response = MaxBody(lambda *arguments: arguments, 10)(environ, never_called)
    assert seen is environ
    assert seen == before
    assert start_response is never_called


def test_a_limit_of_zero_bytes_forbids_bodies(call, echo):
    site = Dispatcher({"/": MaxBody(echo("app"), 0)})
    assert call(site, "/", "POST", CONTENT_LENGTH="0").status == 200
    assert call(site, "/", "POST", CONTENT_LENGTH="1").status == 413
    assert call(site, "/", "POST").status == 200  # its length is not known


@pytest.mark.parametrize("found", [-1, 1.5, True, "4", None])
def test_an_invalid_max_bytes_is_rejected(found):
    with pytest.raises(ConfigError) as caught:
        MaxBody(never_called, found)
    assert str(caught.value) == f"max_bytes: expected an integer of at least 0, found {found!r}"
