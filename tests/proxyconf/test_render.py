"""Generated configurations against golden files, and rules for every proxy. `tests/serving` runs the real proxies.

With MOUNTPOINT_REWRITE_TABLES set, the golden files are rewritten.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tables import command, config_of, to_compare, write

from mountpoint.config.address import Address, listen_address
from mountpoint.errors import UsageError
from mountpoint.proxyconf import PROXIES, RenderOptions, proxy_config
from mountpoint.proxyconf.plan import make_plan

GOLDEN = Path(__file__).parent
PLAIN = '[mounts]\n"/tv_ws" = "a:app"\n"/notes" = "a:app"\n'
HOSTILE = "/a$b;{x}(y)[z]|^+.,=&!~@:${HOME}{{env}}"
EVERYTHING = f"""
[server]
drain_timeout = 90
channel_timeout = 30
max_request_body_size = 1000000

[mounts]
"/" = "a:app"
"/shop" = "a:app"
"/shop/admin" = "a:app"
"/café" = "a:app"
"{HOSTILE}" = "a:app"
"one.example.com/" = "a:app"
"*.example.com/wild" = "a:app"
"""
FORWARDED = '[proxy]\ntrusted = ["127.0.0.1", "unix"]\nforwarded = 1\n'
PASSES = '[proxy]\ntrusted = ["127.0.0.1"]\nx_for = 1\nuser = "X-User"\npass = ["X-Forwarded-User", "X-Role"]\n'
TLS = ("/etc/ssl/site.pem", "/etc/ssl/site.key")
TWO = (Address("10.0.0.2", 8080), Address("10.0.0.3", 8080))

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "keep": (PLAIN, {}),
    "strip": (PLAIN, {"shape": "strip", "server_name": "www.example.com"}),
    "strips": (PLAIN + '"/" = "a:app"\n[proxy]\nstrips = "/apps"\n', {"shape": "strip"}),
    "passes": (PLAIN + PASSES, {"server_name": "www.example.com"}),
    "request-ids": ("[server]\nrequest_id = true\n" + PLAIN, {"server_name": "www.example.com"}),
    "everything-keep": (
        EVERYTHING + FORWARDED,
        {"server_name": "www.example.com", "tls": TLS, "standalone": True, "upstreams": TWO},
    ),
    "everything-strip": (EVERYTHING, {"shape": "strip", "server_name": "www.example.com", "tls": TLS}),
}


def printed(tmp_path: Path, table: str, proxy: str, **options: Any) -> str:
    return proxy_config(config_of(tmp_path, table), proxy, RenderOptions(**options)).text


@pytest.mark.parametrize(
    ("listen", "upstreams", "line"),
    [
        ("*:8081", TWO, "10.0.0.3:8080 pool-purge-delay 5s check port 8081\n"),
        ("10.0.0.2:8081", TWO, "10.0.0.3:8080 pool-purge-delay 5s check port 8081\n"),
        ("127.0.0.1:8081", TWO, "10.0.0.3:8080 pool-purge-delay 5s check\n"),  # the proxy cannot reach it
        ("*:0", TWO, "10.0.0.3:8080 pool-purge-delay 5s check\n"),  # it is another port each time
        ("*:8081", TWO[1:], "10.0.0.3:8080 pool-purge-delay 5s\n"),
    ],
)
def test_haproxy_asks_the_status_page_of_several_hosts(tmp_path, listen, upstreams, line):
    table = f'{PLAIN}[status]\nlisten = "{listen}"\nkey = "{"0" * 32}"\n'
    text = printed(tmp_path, table, "haproxy", upstreams=upstreams)
    assert line in text
    assert ("option httpchk GET /readyz" in text) == ("port 8081" in line)


@pytest.mark.skipif(sys.platform == "win32", reason="the golden files have POSIX paths")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("proxy", PROXIES)
def test_a_configuration_equals_its_golden_file(proxy, case, tmp_path):
    table, options = CASES[case]
    text = printed(tmp_path, table, proxy, **options).replace(str(tmp_path), "/srv")
    actual, expected = to_compare(GOLDEN / f"{case}.{proxy}", text)
    assert actual == expected


def test_every_golden_file_has_a_case():
    golden = {file.name for file in GOLDEN.iterdir() if file.suffix != ".py" and file.is_file()}
    assert golden == {f"{case}.{proxy}" for case in CASES for proxy in PROXIES}


# ------------------------------------------------------------------------------------------------------------ [proxy]


@pytest.mark.parametrize("shape", ["keep", "strip"])
@pytest.mark.parametrize("proxy", PROXIES)
@pytest.mark.parametrize(
    "section",
    [
        "",
        '[proxy]\ntrusted = ["10.0.0.1"]\nx_for = 2\n',
        '[proxy]\ntrusted = ["127.0.0.0/8"]\nx_for = 1\nx_proto = 1\nx_host = 1\nx_port = 1\n',
        '[proxy]\ntrusted = ["unix"]\nx_for = 1\nx_prefix = 1\nrestore_prefix = true\n',
        '[proxy]\ntrusted = ["::1"]\nforwarded = 1\n',
        '[proxy]\nstrips = "/apps"\n',
    ],
)
def test_the_advised_section_matches_and_is_in_the_configuration(proxy, shape, section, tmp_path):
    options = RenderOptions(shape=shape)
    first = proxy_config(config_of(tmp_path, PLAIN + section), proxy, options)
    if first.advice:
        section = first.advice[first.advice.index("[proxy]\n") :]
        for line in section.splitlines():
            assert f"#     {line}" in first.text.splitlines()
    second = proxy_config(config_of(tmp_path, PLAIN + section), proxy, options)
    assert second.advice == ""
    assert "#     [proxy]" not in second.text


def test_a_section_that_matches_gets_no_advice(tmp_path):
    section = '[proxy]\ntrusted = ["127.0.0.0/8"]\nx_for = 1\nx_host = 1\n'
    assert proxy_config(config_of(tmp_path, PLAIN + section), "nginx", RenderOptions()).advice == ""


@pytest.mark.parametrize(
    ("section", "options", "expected"),
    [
        ("", {}, {"trusted": ["127.0.0.1"], "x_for": 1, "x_proto": 1}),
        ("", {"upstreams": [Address("::1", 80)]}, {"trusted": ["::1"]}),
        ("", {"upstreams": [Address("localhost", 80)]}, {"trusted": ["127.0.0.1"]}),
        ("", {"upstreams": TWO}, {"trusted": ["192.0.2.1"]}),  # a placeholder, with a comment
        ("", {"upstreams": [Address("app.example.com", 80)]}, {"trusted": ["192.0.2.1"]}),
        ('[proxy]\ntrusted = ["10.0.0.1"]\nx_for = 1\n', {"upstreams": TWO}, {"trusted": ["10.0.0.1"], "x_proto": 0}),
        ('[proxy]\ntrusted = ["10.0.0.1"]\nx_for = 1\n', {}, {"trusted": ["10.0.0.1", "127.0.0.1"]}),
        ('[proxy]\ntrusted = ["127.0.0.1"]\nx_for = 3\n', {"tls": TLS}, {"x_for": 1, "x_proto": 1}),
        ("", {"shape": "strip"}, {"x_prefix": 1, "restore_prefix": True, "strips": ""}),
        ('[proxy]\nstrips = "/apps"\n', {"shape": "strip"}, {"x_prefix": 0, "strips": "/apps"}),
        ('[proxy]\nstrips = "/apps"\n', {}, {"strips": ""}),
        ('[proxy]\ntrusted = ["127.0.0.1"]\nforwarded = 1\n', {}, {"forwarded": 1, "x_for": 0}),
        ('[proxy]\ntrusted = ["127.0.0.1"]\nforwarded = 1\n', {"shape": "strip"}, {"forwarded": 0, "x_prefix": 1}),
    ],
)
def test_the_matching_settings_follow_from_the_file_and_the_options(section, options, expected, tmp_path):
    settings = make_plan(config_of(tmp_path, PLAIN + section), RenderOptions(**options)).settings
    assert {name: getattr(settings, name) for name in expected} == expected
    assert settings.problems() == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no unix sockets for servers")
def test_a_proxy_that_connects_to_a_unix_socket_is_trusted(tmp_path):
    config = config_of(tmp_path, '[server]\nlisten = "unix:/run/m.sock"\n' + PLAIN)
    assert make_plan(config, RenderOptions()).settings.trusted == ["unix"]
    for proxy in ("nginx", "apache", "caddy", "haproxy"):
        assert "/run/m.sock" in proxy_config(config, proxy, RenderOptions()).text
    with pytest.raises(UsageError, match="cannot connect to a unix socket"):
        proxy_config(config, "traefik", RenderOptions())


def test_forwarded_is_replaced_for_a_proxy_that_cannot_send_it(tmp_path):
    config = config_of(tmp_path, PLAIN + '[proxy]\ntrusted = ["127.0.0.1"]\nforwarded = 1\n')
    assert "x_for = 1" in proxy_config(config, "traefik", RenderOptions()).advice


# ---------------------------------------------------------------------------------------------------------- the table


def test_a_site_has_its_own_mounts_and_reachable_ones_of_other_hosts(tmp_path):
    table = """[mounts]
"/a" = "a:app"
"/a/b" = "a:app"
"/c" = "a:app"
"one.example.com/a" = "a:app"
"*.example.com/c/d" = "a:app"
"*.one.example.com/" = "a:app"
"""
    plan = make_plan(config_of(tmp_path, table), RenderOptions(server_name="one.example.com"))
    found = {site.name: [location.key for location in site.locations] for site in plan.sites}
    assert found == {
        "one.example.com": ["*.example.com/c/d", "one.example.com/a", "/c"],  # its /a owns /a/b, too
        "*.one.example.com": ["*.one.example.com/"],
        "*.example.com": ["/a/b", "*.example.com/c/d", "/a", "/c"],
    }
    assert list(found) == ["one.example.com", "*.one.example.com", "*.example.com"]


KEYS = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=8)


@settings(max_examples=50)
@given(key=KEYS, shape=st.sampled_from(["keep", "strip"]))
@pytest.mark.parametrize("proxy", PROXIES)
def test_no_key_changes_the_lines_of_a_configuration(proxy, key, shape, tmp_path_factory):
    """A key with any characters adds the same lines as an ordinary one, so it cannot break out of a line."""
    folder = tmp_path_factory.getbasetemp()
    try:
        config = config_of(folder, f'[mounts]\n"/{key}" = "a:app"\n')
    except ValueError:  # not a key, or not TOML
        return
    if len(config.mounts[0].key.split("/")) != 2 or config.mounts[0].key == "/":
        return
    ordinary = printed(folder, '[mounts]\n"/x" = "a:app"\n', proxy, shape=shape)
    hostile = printed(folder, f'[mounts]\n"/{key}" = "a:app"\n', proxy, shape=shape)
    lines = [line for line in hostile.splitlines() if "mountpoint_dollar $" not in line and "looks like a" not in line]
    assert len(lines) == len(ordinary.splitlines())


@pytest.mark.parametrize("proxy", PROXIES)
def test_comments_have_special_characters_only_percent_encoded(proxy, tmp_path):
    text = printed(tmp_path, f'[mounts]\n"{HOSTILE}" = "a:app"\n', proxy)
    comments = [line for line in text.splitlines() if line.lstrip().startswith("#")]
    assert not re.search(r"[${};|\[\]]", "".join(line for line in comments if "/a" in line and "%24" in line))


# -------------------------------------------------------------------------------------------------------- the command


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"server_name": "a b"}, "--server-name: expected a name without a port"),
        ({"server_name": "a;b"}, "--server-name"),
        ({"server_name": "www.example.com:80"}, "--server-name"),
        ({"upstreams": [Address("127.0.0.1", 0)]}, "--upstream: expected a port"),
        ({"upstreams": [Address("a;b", 80)]}, "--upstream: expected a host or an address"),
        ({"upstreams": [Address("a", 80), Address("a", 80)]}, "--upstream: expected each address once"),
        ({"upstreams": [Address(unix=Path("/run/a b"))]}, "--upstream: expected a path without spaces"),
        ({"tls": ("/a b", "/c")}, "--tls: expected a path without spaces"),
        ({"tls": ("/a", "/c\nd")}, "--tls: expected a path without spaces"),
    ],
)
def test_an_invalid_option_is_rejected(options, message, tmp_path):
    with pytest.raises(UsageError, match=re.escape(message)):
        printed(tmp_path, PLAIN, "nginx", **options)


def test_port_0_is_rejected_as_an_upstream(tmp_path):
    with pytest.raises(UsageError, match="stands for any free port; write --upstream host:port"):
        printed(tmp_path, '[server]\nlisten = "127.0.0.1:0"\n' + PLAIN, "nginx")


@pytest.mark.parametrize(
    ("listen", "upstream"), [("*:81", "127.0.0.1:81"), ("0.0.0.0:81", "127.0.0.1:81"), ("[::]:81", "[::1]:81")]
)
def test_the_upstream_of_a_wildcard_address_is_this_machine(listen, upstream, tmp_path):
    plan = make_plan(config_of(tmp_path, PLAIN), RenderOptions(upstreams=[listen_address(listen)]))
    assert [str(address) for address in plan.upstreams] == [upstream]


def test_the_command_prints_the_configuration_and_advice_on_stderr(tmp_path):
    write(tmp_path, {"mounts.toml": PLAIN})
    done = command("proxy-config", "nginx", "--server-name", "www.example.com", "--tls", "a.pem", "a.key", cwd=tmp_path)
    assert done.returncode == 0
    assert "server_name www.example.com;" in done.stdout
    assert f"ssl_certificate {(tmp_path / 'a.pem').as_posix()};" in done.stdout
    assert done.stderr.startswith(
        "mounts.toml: [proxy] does not match this configuration; write\n\n[proxy]\ntrusted = "
    )
    done = command("proxy-config", "caddy", "mounts.toml", "--upstream", "10.0.0.1:80", "--shape=strip", cwd=tmp_path)
    assert "reverse_proxy 10.0.0.1:80 {" in done.stdout
    assert "restore_prefix = true" in done.stderr


OLD, NEW = "buffer_requests\n\t\tmax_buffer_size 16777216", "request_buffers 16777216"


@pytest.mark.parametrize(
    ("version", "present", "absent"),
    [
        ("", NEW, OLD),
        ("2.6", OLD, NEW),
        ("2.6.2", OLD, NEW),
        ("2.6.3", OLD, NEW),
        ("2.6.4", NEW, OLD),
        ("2.7", NEW, OLD),
        ("v2.10.0", NEW, OLD),
    ],
)
def test_caddy_gets_the_buffering_of_its_version(version, present, absent, tmp_path):
    text = printed(tmp_path, PLAIN, "caddy", proxy_version=version)
    assert f"\t\t{present}\n" in text
    assert f"\t\t{absent}\n" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["caddy", "--proxy-version", "latest"], '--proxy-version: expected a version such as "2.6", found "latest"'),
        (["caddy", "--proxy-version", "2"], '--proxy-version: expected a version such as "2.6", found "2"'),
        (["nginx", "--proxy-version", "1.22"], "--proxy-version: leave it out: the configuration is the same for"),
        (["ngin"], 'expected nginx, apache, caddy, haproxy or traefik, found "ngin"; did you mean "nginx"?'),
        (["nginx", "--shape", "both"], "argument --shape: invalid choice"),
        (["nginx", "--upstream", "80"], "argument --upstream: "),
        (["nginx", "--tls", "a.pem"], "argument --tls: expected 2 arguments"),
    ],
)
def test_wrong_usage_exits_2(arguments, message, tmp_path):
    write(tmp_path, {"mounts.toml": PLAIN})
    done = command("proxy-config", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_a_configuration_needs_neither_werkzeug_nor_waitress(tmp_path):
    write(tmp_path, {"mounts.toml": PLAIN})
    code = (
        "import sys; from mountpoint.cli import main; main(['proxy-config', 'nginx']); "
        "print(sorted({'waitress', 'werkzeug'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
