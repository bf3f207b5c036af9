"""The echo: what it tells, to whom, and that it is nowhere without a key."""

from __future__ import annotations

import pytest

from mountpoint.config.reader import load_config
from mountpoint.errors import ConfigError
from mountpoint.loading.loader import build_router
from mountpoint.wsgi.echo import Echo
from mountpoint.wsgi.record import KEY as RECORD
from mountpoint.wsgi.record import RequestRecord
from mountpoint.wsgi.table import Mount, MountTable

KEY = "0123456789abcdef0123456789abcdef"


def test_the_key_gets_what_arrived_and_nothing_else(call, echo):
    answer = call(
        Echo(echo("app"), KEY),
        "/a/\u00e4",
        HTTP_X_MOUNTPOINT_ECHO=KEY,
        HTTP_X_FORWARDED_FOR="192.0.2.1",
        HTTP_FORWARDED="for=x",
        HTTP_COOKIE="session=secret",
        HTTP_AUTHORIZATION="Basic x",
        SCRIPT_NAME="/outer",
    )
    assert (answer.status, answer["Cache-Control"], answer["Content-Type"]) == (200, "no-store", "application/json")
    assert answer.seen == {
        "path": "/a/\u00e4",
        "script_name": "/outer",
        "peer": "192.0.2.7",
        "forwarding": {"HTTP_FORWARDED": "for=x", "HTTP_X_FORWARDED_FOR": "192.0.2.1"},
    }


@pytest.mark.parametrize("given", ["", "x", KEY[:-1], KEY + "0", KEY.upper(), f"{KEY},{KEY}", "\u00ff" * 32, "\udcff"])
def test_a_wrong_key_is_no_key_and_reaches_no_app(call, echo, given):
    answer = call(Echo(echo("app"), KEY), "/", HTTP_X_MOUNTPOINT_ECHO=given)
    assert answer.seen["app"] == "app"
    assert "HTTP_X_MOUNTPOINT_ECHO" not in answer.seen["environ"]


def test_who_asks_without_a_key_notices_nothing(call, echo):
    app = Echo(lambda environ, start_response: echo("app")(environ.copy(), start_response), KEY)
    assert call(app, "/x").seen["path_info"] == "/x"


def test_head_has_no_body(call, echo):
    answer = call(Echo(echo("app"), KEY), "/", "HEAD", HTTP_X_MOUNTPOINT_ECHO=KEY)
    assert (answer.status, answer.body) == (200, b"")


def test_the_log_is_told_why_no_mount_got_it(call, echo):
    record = RequestRecord("192.0.2.7")
    call(Echo(echo("app"), KEY), "/", **{"HTTP_X_MOUNTPOINT_ECHO": KEY, RECORD: record})
    assert (record.mount, record.reason) == (None, "an echo for mountpoint doctor")


# ------------------------------------------------------------------------------------------------------------- the file


def config(folder, doctor):
    (folder / "mounts.toml").write_text(f'[mounts]\n"/a" = "app"\n[doctor]\n{doctor}\n')
    return load_config(folder / "mounts.toml")


def stack(folder, echo, doctor):
    return build_router(config(folder, doctor), MountTable([Mount("/a", echo("app"))]))


def test_with_a_key_the_stack_answers_before_it_matches_believes_or_removes(call, echo, tmp_path):
    answer = call(
        stack(tmp_path, echo, f'key = "{KEY}"'),
        "/nobodys/../path",
        HTTP_X_MOUNTPOINT_ECHO=KEY,
        HTTP_X_FORWARDED_PREFIX="//evil",
    )
    assert (answer.seen["path"], answer.seen["forwarding"]) == (
        "/nobodys/../path",
        {"HTTP_X_FORWARDED_PREFIX": "//evil"},
    )


@pytest.mark.parametrize("given", ["", KEY])
def test_without_a_key_there_is_no_echo(call, echo, tmp_path, given):
    assert call(stack(tmp_path, echo, ""), "/", HTTP_X_MOUNTPOINT_ECHO=given).status == 404


@pytest.mark.parametrize("key", [KEY, "xA" * 11, "0123456789_-+/ABCDEFGH==", "z" * 64])
def test_a_key_of_128_bits_is_taken_and_not_shown(tmp_path, key):
    taken = config(tmp_path, f'key = "{key}"')
    assert taken.doctor.key == key
    assert key not in repr(taken)


@pytest.mark.parametrize("key", ["", "secret", KEY[:-1], "0" * 22, "A" * 21, "with a space, and long enough for all"])
def test_a_short_key_is_refused_with_a_command_that_makes_one_and_without_the_key(tmp_path, key):
    with pytest.raises(ConfigError) as caught:
        config(tmp_path, f'key = "{key}"')
    assert 'make one: python3 -c "import secrets; print(secrets.token_hex())"' in str(caught.value)
    assert len(key) < 7 or key not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("key = 12", "doctor.key: expected a string, found 12"),
        ('allow = "/"', 'doctor.allow: expected an array of strings, found "/"'),
        ("allow = [1]", "doctor.allow: expected an array of strings, found an array"),
        ("alow = []", 'doctor.alow: unknown key; did you mean "allow"?'),
    ],
)
def test_what_is_wrong_in_the_section_is_said(tmp_path, text, said):
    with pytest.raises(ConfigError, match="doctor") as caught:
        config(tmp_path, text)
    assert said in str(caught.value)
