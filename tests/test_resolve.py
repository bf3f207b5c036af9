"""``mountpoint resolve``: where a request for a URL goes."""

import json
import re

import pytest
from support.tables import TABLES, config_of, tables, to_compare

from mountpoint.config.reader import load_config
from mountpoint.errors import ConfigError
from mountpoint.resolve import Resolution, resolve


@pytest.mark.parametrize("table", tables(".expected"), ids=lambda table: table.stem)
def test_requests_go_where_the_golden_files_say(table, monkeypatch):
    """Compare with ``tables/NAME.expected``: one line for each request.

    ``METHOD URL -> mount  "SCRIPT_NAME" + "PATH_INFO"``, or ``METHOD URL -> status location  (reason)``. To rewrite the
    files after an intended change, or to complete new lines of the form ``METHOD URL ->``, run
    ``MOUNTPOINT_REWRITE_TABLES=1 pytest tests/test_resolve.py`` and read the diff.
    """
    monkeypatch.chdir(TABLES)
    config = load_config(table.name)
    expected = table.with_suffix(".expected")
    lines = [line.partition(" ->") for line in expected.read_text(encoding="utf-8").splitlines()]
    requests = [request.split() for request, arrow, _ in lines if arrow]
    width = max(len(f"{method} {url}") for method, url in requests)
    actual = []
    for line, arrow, _ in lines:
        if arrow:
            method, url = line.split()
            resolution = resolve(config, url, method=method)
            actual.append(f"{f'{method} {url}':<{width}} -> {in_one_line(resolution)}\n")
        else:
            actual.append(f"{line}\n")
    found, wanted = to_compare(expected, "".join(actual))
    assert found == wanted


def in_one_line(resolution: Resolution) -> str:
    if resolution.is_app:
        assert resolution.status is None
        return f'{resolution.mount}  "{resolution.script_name}" + "{resolution.path_info}"'
    found = [str(part) for part in (resolution.status or "nowhere", resolution.location) if part]
    return f"{' '.join(found)}  ({resolution.reason})"


# ---------------------------------------------------------------------------------------------------- the resolution


TWO = """
[mounts]
"/tv_ws" = "tv_ws.app:app"
"admin.example.com/" = "admin:make('x')"
"""


def test_a_request_for_an_app_has_both_halves_of_the_path(tmp_path):
    assert resolve(config_of(tmp_path, TWO), "/tv_ws/x?y=1") == Resolution(
        mount="/tv_ws", app="tv_ws.app:app", script_name="/tv_ws", path_info="/x"
    )


def test_a_redirect_has_its_mount_location_and_reason(tmp_path):
    assert resolve(config_of(tmp_path, TWO), "/tv_ws?stn=Lund") == Resolution(
        mount="/tv_ws",
        app="tv_ws.app:app",
        status=308,
        location="/tv_ws/?stn=Lund",
        reason="the mount's prefix without its slash",
    )


def test_a_status_has_a_reason(tmp_path):
    config = config_of(tmp_path, TWO)
    assert resolve(config, "/nowhere") == Resolution(status=404, reason="no mount owns the path")
    assert resolve(config, "/tv_ws/../x") == Resolution(status=400, reason="the path has a dot segment")


def test_json_is_one_object_with_null_where_nothing_applies(tmp_path):
    config = config_of(tmp_path, TWO)
    assert json.loads(resolve(config, "/tv_ws/x").as_json()) == {
        "mount": "/tv_ws",
        "app": "tv_ws.app:app",
        "script_name": "/tv_ws",
        "path_info": "/x",
        "status": None,
        "location": None,
        "reason": None,
    }
    assert json.loads(resolve(config, "/").as_json()) == {
        "mount": None,
        "app": None,
        "script_name": None,
        "path_info": None,
        "status": 404,
        "location": None,
        "reason": "no mount owns the path",
    }


def test_text_has_a_line_for_each_field_that_applies(tmp_path):
    config = config_of(tmp_path, TWO)
    assert resolve(config, "/tv_ws", method="POST").as_text().splitlines() == [
        "mount        /tv_ws",
        "app          tv_ws.app:app",
        "SCRIPT_NAME  /tv_ws",
        "PATH_INFO",
    ]
    assert resolve(config, "/x").as_text().splitlines() == [
        "status       404",
        "reason       no mount owns the path",
    ]


def test_the_host_argument_overrides_the_host_of_the_url(tmp_path):
    config = config_of(tmp_path, TWO)
    assert resolve(config, "http://admin.example.com/x").mount == "admin.example.com/"
    assert resolve(config, "/x", host="Admin.Example.com:8080").mount == "admin.example.com/"
    assert resolve(config, "http://admin.example.com/x", host="example.com").status == 404


@pytest.mark.parametrize("host", ["a, b", "user@admin.example.com", "admin.example.com/x", "[::1", "", "a b"])
def test_a_host_outside_the_grammar_gets_400_with_any_table(tmp_path, host):
    resolution = resolve(config_of(tmp_path, '[mounts]\n"/" = "site:app"\n'), "/", host=host)
    assert (resolution.status, resolution.mount) == (400, None)
    assert resolution.reason == f"the Host header is not a host: {host!r}"


def test_the_method_is_case_insensitive(tmp_path):
    config = config_of(tmp_path, TWO)
    assert resolve(config, "/tv_ws", method="head").status == 308
    assert resolve(config, "/tv_ws", method="delete").path_info == ""


def test_a_url_is_encoded_as_a_browser_would_send_it(tmp_path):
    config = config_of(tmp_path, '[mounts]\n"/café" = "cafe:app"\n')
    assert resolve(config, "https://example.com/café/a b#menu").path_info == "/a b"
    assert resolve(config, "/caf%C3%A9/%61").path_info == "/a"
    assert resolve(config, "/café?q=é b").location == "/caf%C3%A9/?q=%C3%A9%20b"


def test_bytes_that_are_not_utf_8_are_shown_escaped(tmp_path):
    config = config_of(tmp_path, '[mounts]\n"/tv" = "tv:app"\n')
    assert resolve(config, "/tv/%FF").path_info == "/\\xff"


def test_a_control_character_stays_in_the_path(tmp_path):
    config = config_of(tmp_path, '[mounts]\n"/admin" = "admin:app"\n')
    assert resolve(config, "/ad\tmin/").status == 404
    assert resolve(config, "/ad%09min/").status == 404


@pytest.mark.parametrize("url", ["tv_ws/x", "", "example.com/tv_ws", "tv_ws?next=http://example.com/"])
def test_an_argument_that_is_neither_path_nor_url_gets_advice(tmp_path, url):
    with pytest.raises(ConfigError, match=re.escape(f'expected a path or a URL, found "{url}"; write "/{url}"')):
        resolve(config_of(tmp_path, TWO), url)


def test_the_stripped_prefix_is_removed_for_matching_and_put_in_front(tmp_path):
    config = config_of(tmp_path, f'{TWO}[proxy]\nstrips = "/apps"\n')
    resolution = resolve(config, "https://www.example.com/apps/tv_ws/x")
    assert (resolution.mount, resolution.script_name, resolution.path_info) == ("/tv_ws", "/apps/tv_ws", "/x")
    assert resolve(config, "/apps/tv_ws").location == "/apps/tv_ws/"


def test_a_path_that_is_not_below_the_stripped_prefix_never_arrives(tmp_path):
    resolution = resolve(config_of(tmp_path, f'{TWO}[proxy]\nstrips = "/apps"\n'), "/tv_ws/")
    assert (resolution.mount, resolution.status) == (None, None)
    assert resolution.reason == (
        'the path is not below "/apps", the prefix that the proxy strips, so the proxy never forwards it'
    )
