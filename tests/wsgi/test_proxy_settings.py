"""The settings of `TrustedProxies` and of ``[proxy]``, and the messages about mistakes in them."""

import pytest
from support.tables import config_of, imports_undone, problems_of

from mountpoint import ConfigError, Dispatcher, TrustedProxies
from mountpoint.config.schema import PROXY_KEYS
from mountpoint.loading.loader import load
from mountpoint.wsgi.proxy_settings import COUNTED, FILE_KEYS, ProxySettings

TABLE = '[mounts]\n"/" = "site:app"\n'
EMPTY = 'is set, but trusted is empty; write the addresses of your proxies, such as trusted = ["127.0.0.1"]'
NETWORK = 'expected an address, a network such as "10.0.0.0/8", or "unix", found'


def mistakes_in(**settings):
    """Return the problems of *settings*, one a line."""
    with pytest.raises(ConfigError) as caught:
        TrustedProxies(lambda *_: [], **settings)
    return str(caught.value).splitlines()


# -------------------------------------------------------------------------------------------------------------- trusted


@pytest.mark.parametrize(
    "trusted",
    [
        [],
        ["127.0.0.1"],
        ("10.0.0.0/8", "192.168.0.0/255.255.0.0", "172.16.5.4/32"),
        ["::1", "fd00::/8", "2001:db8::1/128"],
        ["::ffff:10.0.0.0/104"],
        ["unix"],
        ["unix", "127.0.0.1", "127.0.0.1"],
        ["0.0.0.0/0", "::/0"],
    ],
)
def test_addresses_networks_and_unix_are_accepted(trusted):
    assert ProxySettings(trusted=trusted, x_for=len(trusted)).problems() == []


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("localhost", f"{NETWORK} 'localhost'"),
        ("", f"{NETWORK} ''"),
        ("*", f"{NETWORK} '*'"),
        ("UNIX", f"{NETWORK} 'UNIX'"),
        ("127.0.0.1:80", f"{NETWORK} '127.0.0.1:80'"),
        ("[::1]", f"{NETWORK} '[::1]'"),
        ("10.0.0.0/33", f"{NETWORK} '10.0.0.0/33'"),
        ("10.0.0.0/-1", f"{NETWORK} '10.0.0.0/-1'"),
        ("10.0.0.", f"{NETWORK} '10.0.0.'"),
        ("127.1", f"{NETWORK} '127.1'"),
        (" 127.0.0.1", f"{NETWORK} ' 127.0.0.1'"),
        ("10.0.0.0/8, ::1", f"{NETWORK} '10.0.0.0/8, ::1'"),
        ("proxy.example.com", f"{NETWORK} 'proxy.example.com'"),
        (2130706433, f"{NETWORK} 2130706433"),
        (b"127.0.0.1", f"{NETWORK} b'127.0.0.1'"),
        (None, f"{NETWORK} None"),
        (["10.0.0.0/8"], f"{NETWORK} ['10.0.0.0/8']"),
        ("10.1.2.3/8", f"{NETWORK} '10.1.2.3/8'; write \"10.0.0.0/8\""),
        ("fd00::1/8", f"{NETWORK} 'fd00::1/8'; write \"fd00::/8\""),
    ],
)
def test_an_invalid_trusted_item_is_rejected(item, message):
    assert mistakes_in(trusted=[item], x_for=1) == [f"trusted: {message}"]


def test_a_string_instead_of_the_list_is_one_problem():
    [problem] = mistakes_in(trusted="127.0.0.1", x_for=1)
    assert problem.startswith("trusted: ")
    assert '["127.0.0.1"]' in problem


# --------------------------------------------------------------------------------------------------------------- counts


@pytest.mark.parametrize("name", COUNTED)
@pytest.mark.parametrize("count", [-1, 1.0, 0.5, "1", None, True, False])
def test_an_invalid_count_is_rejected(name, count):
    message = f"{name}: expected a number of proxies, 0 or more, found {count!r}"
    assert mistakes_in(**{"trusted": ["127.0.0.1"], name: count}) == [message]


@pytest.mark.parametrize("name", COUNTED)
def test_a_count_without_a_trusted_proxy_is_rejected(name):
    assert mistakes_in(**{name: 1}) == [f"{name}: {EMPTY}"]


def test_each_count_without_a_trusted_proxy_is_named():
    assert mistakes_in(x_for=1, x_proto=2) == [f"x_for: {EMPTY}", f"x_proto: {EMPTY}"]


@pytest.mark.parametrize("name", [name for name in COUNTED if name != "forwarded"])
def test_forwarded_excludes_every_other_count(name):
    assert mistakes_in(**{"trusted": ["127.0.0.1"], "forwarded": 1, name: 1}) == [
        f"forwarded: cannot be combined with {name}; keep the ones that your proxy sets"
    ]


def test_forwarded_names_all_counts_that_it_excludes_in_one_line():
    assert mistakes_in(trusted=["127.0.0.1"], forwarded=1, x_for=1, x_prefix=1) == [
        "forwarded: cannot be combined with x_for, x_prefix; keep the ones that your proxy sets"
    ]


def test_a_trusted_peer_without_a_count_is_allowed_and_changes_nothing(call, echo):
    app = TrustedProxies(Dispatcher({"/": echo("app")}), trusted=["192.0.2.7"])
    assert call(app, "/", HTTP_X_FORWARDED_FOR="203.0.113.9").body == call(app, "/").body


# ------------------------------------------------------------------------------------- pass_headers and user_header

HEADER = 'expected the name of a header, such as "X-Forwarded-User", found'


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", f"{HEADER} ''"),
        ("X-Forwarded-*", f"{HEADER} 'X-Forwarded-*'"),
        ("X-User:", f"{HEADER} 'X-User:'"),
        ("X User", f"{HEADER} 'X User'"),
        ("-", f"{HEADER} '-'"),
        ("X-Us\u00e9r", f"{HEADER} 'X-Us\u00e9r'"),
        ("X-User\n", f"{HEADER} 'X-User\\n'"),
        ("X_Forwarded_User", f"{HEADER} 'X_Forwarded_User'; write \"X-Forwarded-User\""),
        ("HTTP_REMOTE_USER", f"{HEADER} 'HTTP_REMOTE_USER'; write \"Remote-User\""),
        (1, f"{HEADER} 1"),
        (None, f"{HEADER} None"),
        ("Host", "expected a header that only the proxy sends, found Host, which clients send themselves"),
        ("cookie", "expected a header that only the proxy sends, found cookie, which clients send themselves"),
    ],
)
def test_a_name_that_is_not_a_header_of_a_proxy_is_rejected(name, message):
    assert mistakes_in(trusted=["::1"], pass_headers=["X-Forwarded-Groups", name]) == [f"pass_headers: {message}"]
    if name != "":
        assert mistakes_in(trusted=["::1"], user_header=name) == [f"user_header: {message}"]


def test_a_string_instead_of_the_list_of_headers_is_one_problem():
    assert mistakes_in(trusted=["::1"], pass_headers="X-Role") == [
        'pass_headers: expected a list, found a string; write ["X-Role"]'
    ]


def test_headers_without_a_trusted_proxy_are_rejected():
    assert mistakes_in(pass_headers=["X-Role"], user_header="X-User") == [
        f"pass_headers: {EMPTY}",
        f"user_header: {EMPTY}",
    ]


@pytest.mark.parametrize("name", ["X-Forwarded-For", "x-forwarded-proto", "Forwarded"])
def test_a_counted_header_does_not_hold_the_user(name):
    assert mistakes_in(trusted=["::1"], user_header=name) == [
        f"user_header: {name} does not hold a user; name another header"
    ]


def test_the_prefix_is_either_counted_or_passed_on():
    assert mistakes_in(trusted=["::1"], x_prefix=1, pass_headers=["x-forwarded-prefix"]) == [
        "pass_headers: X-Forwarded-Prefix excludes x_prefix: the app would apply the prefix again"
    ]


def test_a_mistake_in_the_file_is_named_by_the_key_of_the_file(tmp_path):
    problems = problems_of(tmp_path, TABLE + '[proxy]\npass = ["Host"]\nuser = "X_User"\n')
    assert [problem.partition(": ")[0] for problem in problems] == ["proxy.pass", "proxy.user"]


# ------------------------------------------------------------------------------------------------------ the prefix


def test_strips_excludes_x_prefix():
    assert mistakes_in(trusted=["127.0.0.1"], strips="/apps", x_prefix=1) == [
        "strips: cannot be combined with x_prefix: the prefix is either fixed or in a header; keep one"
    ]


def test_strips_excludes_restore_prefix():
    assert mistakes_in(strips="/apps", restore_prefix=True)[0] == (
        "strips: cannot be combined with restore_prefix; keep the one that your proxy needs"
    )


@pytest.mark.parametrize("others", [{}, {"trusted": ["127.0.0.1"], "x_for": 1}, {"trusted": ["::1"], "forwarded": 1}])
def test_restore_prefix_needs_x_prefix(others):
    assert mistakes_in(restore_prefix=True, **others) == [
        "restore_prefix: needs the prefix from a header; write x_prefix = 1 too"
    ]


def test_strips_may_be_set_together_with_all_other_counts():
    settings = ProxySettings(trusted=["unix"], strips="/apps", x_for=1, x_proto=1, x_host=1, x_port=1)
    assert settings.problems() == []
    assert ProxySettings(trusted=["unix"], strips="/apps", forwarded=1).problems() == []


def test_all_mistakes_are_reported_at_once():
    assert mistakes_in(trusted=["here", "10.0.0.1/8"], x_for=-1, x_proto="1", strips="apps") == [
        f"trusted: {NETWORK} 'here'",
        f"trusted: {NETWORK} '10.0.0.1/8'; write \"10.0.0.0/8\"",
        "x_for: expected a number of proxies, 0 or more, found -1",
        "x_proto: expected a number of proxies, 0 or more, found '1'",
        'strips: expected a path that starts with a slash, found "apps"; write "/apps"',
    ]


# -------------------------------------------------------------------------------------------------- [proxy] in the file


def test_the_file_has_exactly_the_settings_of_the_middleware():
    assert set(PROXY_KEYS) == {FILE_KEYS.get(name, name) for name in ProxySettings.__match_args__}


def test_by_default_no_proxy_and_no_header_is_trusted(tmp_path):
    assert config_of(tmp_path, TABLE).proxy == ProxySettings()
    assert ProxySettings().counts() == {}
    assert ProxySettings().networks() == []


def test_every_setting_is_read(tmp_path):
    section = """
        [proxy]
        trusted = ["127.0.0.1", "10.0.0.0/8", "unix"]
        x_for = 2
        x_proto = 1
        x_host = 1
        x_port = 1
        x_prefix = 1
        forwarded = 0
        strips = ""
        restore_prefix = true
        pass = ["X-Forwarded-Groups"]
        user = "X-Forwarded-User"
        """
    trusted = ["127.0.0.1", "10.0.0.0/8", "unix"]
    counts = {"x_for": 2, "x_proto": 1, "x_host": 1, "x_port": 1, "x_prefix": 1}
    headers = {"pass_headers": ("X-Forwarded-Groups",), "user_header": "X-Forwarded-User"}
    expected = ProxySettings(trusted, **counts, restore_prefix=True, **headers)
    assert config_of(tmp_path, TABLE + section).proxy == expected


def test_one_address_may_be_written_without_brackets(tmp_path):
    assert config_of(tmp_path, f'{TABLE}[proxy]\ntrusted = "unix"\nforwarded = 1\n').proxy.trusted == ["unix"]


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ("trusted = 5\nx_for = 1", "trusted: expected a string, or an array of strings, found 5"),
        ('trusted = ["unix", 5]\nx_for = 1', "trusted: expected a string, or an array of strings, found an array"),
        (
            'trusted = ["unix"]\nx_prefix = "1"\nrestore_prefix = true',
            'x_prefix: expected an integer of at least 0, found "1"',
        ),
        ('trusted = ["unix"]\nx_for = 1\nrestore_prefix = 1', "restore_prefix: expected true or false, found 1"),
    ],
)
def test_a_value_of_a_wrong_type_is_not_reported_as_missing_too(tmp_path, section, problem):
    assert problems_of(tmp_path, f"{TABLE}[proxy]\n{section}\n") == [f"proxy.{problem}"]


def test_a_contradiction_is_reported_at_the_path_of_its_key(tmp_path):
    assert problems_of(tmp_path, f"{TABLE}[proxy]\nx_for = 1\n") == [f"proxy.x_for: {EMPTY}"]


def test_the_section_reaches_the_app_that_is_loaded(tmp_path, call):
    (tmp_path / "trust_site.py").write_text(
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
        "    return [repr((environ['REMOTE_ADDR'], environ['SCRIPT_NAME'], environ['PATH_INFO'])).encode()]\n"
    )
    file = tmp_path / "mounts.toml"
    file.write_text(
        '[proxy]\ntrusted = "192.0.2.0/24"\nx_for = 1\nx_prefix = 1\nrestore_prefix = true\n'
        '[mounts]\n"/tv_ws" = "trust_site:app"\n'
    )
    headers = {"HTTP_X_FORWARDED_FOR": "203.0.113.9", "HTTP_X_FORWARDED_PREFIX": "/tv_ws"}
    with imports_undone(tmp_path):
        app = load(file)
    assert call(app, "/x", **headers).body == b"('203.0.113.9', '/tv_ws', '/x')"
    assert call(app, "/x", REMOTE_ADDR="198.51.100.1", **headers).status == 404
