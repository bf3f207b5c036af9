import sys
from pathlib import Path

import pytest
from support.tables import config_of, problems_of
from waitress.adjustments import Adjustments

from mountpoint.config.address import Address
from mountpoint.config.control_path import MAX_PATH
from mountpoint.config.schema import REPLACED, SERVER_KEYS, WAITRESS_KEYS
from mountpoint.config.validators import connection_ceiling

TABLE = '[mounts]\n"/" = "site:app"\n'
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no unix sockets for servers")


def server_of(folder, toml="", **overrides):
    return config_of(folder, f"{TABLE}[server]\n{toml}\n", **overrides).server


def test_an_empty_server_section_has_defaults(tmp_path):
    server = server_of(tmp_path)
    assert server.listen == (Address("127.0.0.1", 8080),)
    assert (server.threads, server.drain_timeout, server.strict) == (8, 30.0, False)
    assert (server.access_log, server.log_level, server.unix_socket_perms) == ("combined", None, 0o660)
    assert server.header_timeout == 30.0
    assert (server.body_timeout, server.body_min_rate, server.max_buffered_bodies) == (30.0, 500, 256 * 2**20)
    assert server.adjustments == {
        "max_request_header_size": 64 * 2**10,
        "max_request_body_size": 16 * 2**20,
        "channel_request_lookahead": 1,
    }


# ------------------------------------------------------------------------------------------------------------- listen


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080)),
        ("localhost:0", Address("localhost", 0)),
        ("example.com:65535", Address("example.com", 65535)),
        ("*:80", Address("", 80)),
        ("[::1]:8080", Address("::1", 8080)),
        ("[fe80::1%eth0]:8080", Address("fe80::1%eth0", 8080)),
    ],
)
def test_an_address_is_a_host_and_a_port(tmp_path, text, address):
    assert server_of(tmp_path, f'listen = "{text}"').listen == (address,)
    assert str(address) == text


def test_several_addresses_keep_their_order(tmp_path):
    server = server_of(tmp_path, 'listen = ["[::1]:2", "127.0.0.1:1"]')
    assert server.listen == (Address("::1", 2), Address("127.0.0.1", 1))


@posix
def test_a_unix_socket_is_relative_to_the_file(tmp_path):
    assert server_of(tmp_path, 'listen = "unix:run/x.sock"').listen == (Address(unix=tmp_path / "run" / "x.sock"),)
    [absolute] = server_of(tmp_path, 'listen = "unix:/run/x.sock"').listen
    assert str(absolute) == "unix:/run/x.sock"


@posix
def test_a_unix_socket_option_is_relative_to_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    [address] = server_of(tmp_path, listen=["unix:x.sock"]).listen
    assert address.unix == tmp_path / "elsewhere" / "x.sock"


@pytest.mark.parametrize(
    ("found", "right"),
    [
        ("8080", "127.0.0.1:8080"),
        (":8080", "127.0.0.1:8080"),
        ("localhost", "localhost:8080"),
        ("/run/x.sock", "unix:/run/x.sock"),
        ("http://127.0.0.1:9000", "127.0.0.1:9000"),
        ("http://127.0.0.1:9000/", "127.0.0.1:9000"),
        ("https://example.com", "example.com:8080"),
        ("[::1]", "[::1]:8080"),
    ],
)
def test_the_message_about_a_bad_address_suggests_a_valid_one(tmp_path, found, right):
    [problem] = problems_of(tmp_path, f'{TABLE}[server]\nlisten = "{found}"\n')
    assert problem.endswith(f'; write "{right}"')
    assert server_of(tmp_path, f'listen = "{right}"').listen


def test_the_message_about_a_bare_port_suggests_an_address(tmp_path):
    [problem] = problems_of(tmp_path, f"{TABLE}[server]\nlisten = 8080\n")
    assert problem.endswith('found 8080; write "127.0.0.1:8080"')


# ---------------------------------------------------------------------------------------------------- types and ranges


@pytest.mark.parametrize(("text", "mode"), [("660", 0o660), ("0600", 0o600), ("0o666", 0o666), ("066", 0o066)])
def test_unix_socket_permissions_are_an_octal_string(tmp_path, text, mode):
    assert server_of(tmp_path, f'unix_socket_perms = "{text}"').unix_socket_perms == mode


@pytest.mark.parametrize("value", ["0o660", "660", "432", "true", '""', '"88"', '"0x1ff"', '"7777"', '["660"]'])
def test_other_values_for_permissions_are_rejected(tmp_path, value):
    [problem] = problems_of(tmp_path, f"{TABLE}[server]\nunix_socket_perms = {value}\n")
    assert problem.startswith('server.unix_socket_perms: expected an octal string such as "660", found ')


def test_a_drain_timeout_may_be_zero_or_a_fraction(tmp_path):
    assert server_of(tmp_path, "drain_timeout = 0.5").drain_timeout == 0.5
    assert server_of(tmp_path, "drain_timeout = 0").drain_timeout == 0


def test_connections_are_limited_by_the_limit_of_open_files(tmp_path):
    ceiling = connection_ceiling()
    assert server_of(tmp_path).connection_limit == min(1000, ceiling)
    assert server_of(tmp_path, f"connection_limit = {ceiling}").connection_limit == ceiling
    [problem] = problems_of(tmp_path, f"{TABLE}[server]\nconnection_limit = {ceiling + 1}\n")
    assert problem.startswith(f"server.connection_limit: expected at most {ceiling}, ")
    assert f"found {ceiling + 1}; raise the limit" in problem


@posix
def test_a_connection_takes_three_descriptors_and_64_are_kept():
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        pytest.skip("this machine limits nothing")
    assert connection_ceiling() == (hard - 64) // 3


@posix
def test_an_unlimited_number_of_files_counts_as_the_limit_of_macos(monkeypatch):
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, resource.RLIM_INFINITY))
    assert connection_ceiling() == (10_240 - 64) // 3


@pytest.mark.parametrize(
    ("toml", "form", "has_json_logs"),
    [
        ("", "combined", False),
        ("access_log = true", "combined", False),
        ('access_log = "combined"', "combined", False),
        ('access_log = "json"', "json", True),
        ("access_log = false", False, False),
    ],
)
def test_the_form_of_the_access_log_may_be_a_boolean(tmp_path, toml, form, has_json_logs):
    server = server_of(tmp_path, toml)
    assert (server.access_log, server.has_json_logs) == (form, has_json_logs)


def test_the_option_without_an_access_log_keeps_the_other_logs_in_json(tmp_path):
    server = server_of(tmp_path, 'access_log = "json"', access_log=False)
    assert (server.access_log, server.has_json_logs) == (False, True)


def test_excluded_paths_are_kept_as_environ_has_them(tmp_path):
    server = server_of(tmp_path, 'access_log_exclude = ["/", "/healthz", "/caf\u00e9/"]')
    assert server.access_log_exclude == ("/", "/healthz", "/caf\xc3\xa9/")


@pytest.mark.parametrize("key", SERVER_KEYS)
@pytest.mark.parametrize("value", ["[[]]", "{}", "1979-05-27", "07:32:00", "nan", "-1", '"\\n"'])
def test_a_server_key_rejects_a_value_of_the_wrong_type(tmp_path, key, value):
    [problem] = problems_of(tmp_path, f"{TABLE}[server]\n{key} = {value}\n")
    assert problem.startswith(f"server.{key}: expected ")
    assert ", found " in problem


@pytest.mark.parametrize("key", WAITRESS_KEYS)
@pytest.mark.parametrize("value", ["[]", "{}", "1979-05-27", "nan", "-1"])
def test_a_waitress_key_rejects_a_value_of_the_wrong_type(tmp_path, key, value):
    [problem] = problems_of(tmp_path, f"{TABLE}[server]\n{key} = {value}\n")
    assert problem.startswith(f"server.{key}: expected ")


# ------------------------------------------------------------------------------------------------------ control socket


def test_a_control_socket_is_relative_to_the_file(tmp_path):
    assert server_of(tmp_path, 'control = "run/c"').control == tmp_path / "run" / "c"
    assert server_of(tmp_path, 'control = "/run/c"').control == Path("/run/c")
    assert server_of(tmp_path, "control = false").control is False
    assert server_of(tmp_path).control is None


def test_a_control_socket_option_is_relative_to_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert server_of(tmp_path, 'control = "c"', control="d").control == tmp_path / "work" / "d"


def test_a_path_that_is_too_long_for_a_control_socket_is_reported(tmp_path):
    room = MAX_PATH - len(str(tmp_path)) - 1
    assert server_of(tmp_path, f'control = "{"x" * room}"').control
    [problem] = problems_of(tmp_path, f'{TABLE}[server]\ncontrol = "{"x" * (room + 1)}"\n')
    assert f"expected a path of at most {MAX_PATH} bytes, " in problem
    assert f"found {MAX_PATH + 1}: " in problem


def test_a_control_socket_has_room_for_its_temporary_name(tmp_path):
    folder = "x" * (MAX_PATH - len(str(tmp_path)) - 1 - len("/c"))
    [problem] = problems_of(tmp_path, f'{TABLE}[server]\ncontrol = "{folder}/c"\n')
    assert "choose a shorter one" in problem


# ------------------------------------------------------------------------------------------------------------ waitress


def test_waitress_gets_its_adjustments_under_their_own_names(tmp_path):
    server = server_of(tmp_path, 'channel_timeout = 7\nident = "us"\nipv6 = false\nthreads = 3')
    assert {**server.adjustments, "channel_timeout": 7, "ident": "us", "ipv6": False} == server.adjustments
    adjustments = Adjustments(**server.adjustments)
    assert (adjustments.channel_timeout, adjustments.ident, adjustments.ipv6) == (7, "us", False)


def test_every_waitress_adjustment_is_accepted_or_replaced():
    taken = {*SERVER_KEYS, *WAITRESS_KEYS}
    theirs = {name for name, _ in Adjustments._params}
    assert theirs - taken - REPLACED.keys() == set()


def test_every_waitress_key_is_an_adjustment_of_waitress():
    assert WAITRESS_KEYS.keys() - {name for name, _ in Adjustments._params} == set()


def test_no_key_is_both_accepted_and_replaced():
    assert REPLACED.keys() & {*SERVER_KEYS, *WAITRESS_KEYS} == set()


@pytest.mark.parametrize("key", REPLACED)
def test_a_replaced_key_is_rejected_with_any_value(tmp_path, key):
    for value in ("1", '"x"', "false"):
        [problem] = problems_of(tmp_path, f"{TABLE}[server]\n{key} = {value}\n")
        assert problem == f"server.{key}: cannot be set here; {REPLACED[key]}"


# ------------------------------------------------------------------------------------------------------- command line


def test_the_command_line_overrides_the_file(tmp_path):
    server = server_of(
        tmp_path,
        'listen = "127.0.0.1:1"\nthreads = 2\nstrict = false\nlog_level = "error"',
        listen=["127.0.0.1:3", "127.0.0.1:4"],
        threads=5,
        strict=True,
        access_log=False,
        log_level="debug",
    )
    assert server.listen == (Address("127.0.0.1", 3), Address("127.0.0.1", 4))
    assert (server.threads, server.strict, server.access_log, server.log_level) == (5, True, False, "debug")


def test_a_problem_of_the_command_line_names_the_option(tmp_path):
    assert problems_of(tmp_path, TABLE, listen=["8080"], threads=0, log_level="loud") == [
        '--listen: expected "host:port", "[ipv6]:port", "*:port" or "unix:/path", found "8080"; write "127.0.0.1:8080"',
        "--threads: expected an integer from 1 to 10000, found 0",
        '--log-level: expected "debug", "info", "warning", "error" or "critical", found "loud"',
    ]


def test_a_value_that_an_option_overrides_is_not_validated(tmp_path):
    assert server_of(tmp_path, 'threads = 0\nlisten = "8080"', threads=2, listen=["127.0.0.1:0"]).threads == 2


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ("max_request_body_size = 1_000_000_000", 1_000_000_000),
        ("max_request_body_size = 1_000_000_000\nmax_buffered_bodies = 5", 5),
        ("max_request_body_size = 5", 256 * 2**20),
        ("max_buffered_bodies = 0", 0),
    ],
)
def test_the_room_for_bodies_holds_one_unless_the_file_says_less(tmp_path, toml, expected):
    assert server_of(tmp_path, toml).max_buffered_bodies == expected
