import os
import socket
import sys

import pytest
from support.tables import TABLES, config_of, problems_of, tables, to_compare

from mountpoint.config.reader import load_config
from mountpoint.errors import ConfigError, UnreadableError

TABLE = '[mounts]\n"/" = "site:app"\n'


@pytest.mark.parametrize("table", tables(".error"), ids=lambda table: table.stem)
def test_an_invalid_file_is_rejected_with_exactly_this_text(table, monkeypatch):
    """Compare with ``tables/NAME.error``.

    After a deliberate change of a message, run ``MOUNTPOINT_REWRITE_TABLES=1 pytest tests/config`` and read the diff.
    """
    monkeypatch.chdir(TABLES)
    with pytest.raises(ConfigError) as caught:
        load_config(table.name)
    actual, expected = to_compare(table.with_suffix(".error"), f"{caught.value}\n")
    assert actual == expected


@pytest.mark.parametrize("table", tables(".error"), ids=lambda table: table.stem)
def test_each_problem_is_one_line_that_begins_with_the_file(table, monkeypatch):
    monkeypatch.chdir(TABLES)
    with pytest.raises(ConfigError) as caught:
        load_config(table.name)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(caught.value.problems)
    assert all(line.startswith(table.name + ":") for line in lines)


def test_every_table_has_an_expected_result():
    results = {file.stem for file in TABLES.iterdir() if file.suffix in (".error", ".expected")}
    assert {file.stem for file in TABLES.glob("*.toml")} == results


# ----------------------------------------------------------------------------------------------------- reading the file


def test_a_missing_file_is_unreadable(tmp_path):
    with pytest.raises(UnreadableError, match="found no such file"):
        load_config(tmp_path / "mounts.toml")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows reports only that access is denied")
def test_the_message_about_a_folder_suggests_the_file_in_it(tmp_path):
    with pytest.raises(UnreadableError) as caught:
        load_config(tmp_path)
    assert f'found a folder; write "{tmp_path / "mounts.toml"}"' in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root can read every file")
def test_a_file_without_read_permission_is_unreadable(tmp_path):
    file = tmp_path / "mounts.toml"
    file.write_text(TABLE)
    file.chmod(0)
    with pytest.raises(UnreadableError, match="cannot be read: Permission denied"):
        load_config(file)


@pytest.mark.parametrize(
    ("name", "others", "advice"),
    [
        ("mounts.toml", [], "name the file, or write one"),
        ("mounts.toml", ["pyproject.toml"], "name the file, or write one"),
        ("mounts.toml", ["site.toml"], 'did you mean "<folder>site.toml"?'),
        ("mount.toml", ["mounts.toml", "zebra.toml"], 'did you mean "<folder>mounts.toml"?'),
        ("x.toml", ["mounts.toml", "zebra.toml"], "name the file, or write one"),
        ("apps/mounts.toml", [], "name the file, or write one"),
        ("hello:app", [], 'name an app in a table: write a file with [mounts], and "/" = "hello:app"'),
        ("hello.py", [], 'name an app in a table: write a file with [mounts], and "/" = "hello.py"'),
        ("127.0.0.1:8080", [], "an address to listen at belongs to --listen of serve, or to listen under [server]"),
        ("8080", [], "an address to listen at belongs to --listen of serve, or to listen under [server]"),
        ("http://localhost/", [], "a URL is not the file of a table; name the file first"),
        ("/no-such-mount", [], 'name the file of the table; only "mountpoint restart" takes a mount'),
        ("mounts.toml", ["../mounts.toml"], 'did you mean "../mounts.toml"?'),
    ],
)
def test_a_missing_file_gets_advice(tmp_path, monkeypatch, name, others, advice):
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for other in others:
        (folder / other).write_text(TABLE)
    with pytest.raises(UnreadableError) as caught:
        load_config(name)
    assert str(caught.value).endswith(f": expected a mount table, found no such file; {advice.replace('<folder>', '')}")


@pytest.mark.parametrize("source", ["def app(environ, start_response): ...\n", "import hello\n"])
def test_a_python_file_in_place_of_a_table_gets_advice(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hello.py").write_text(source)
    with pytest.raises(UnreadableError) as caught:
        load_config("hello.py")
    assert str(caught.value) == (
        "hello.py: expected a mount table, found a Python file; "
        'name an app in a table: write a file with [mounts], and "/" = "hello.py"'
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows reports only that access is denied")
def test_the_message_about_a_folder_names_the_table_in_it(tmp_path):
    (tmp_path / "site.toml").write_text(TABLE)
    with pytest.raises(UnreadableError) as caught:
        load_config(tmp_path)
    assert str(caught.value).endswith(f'found a folder; did you mean "{tmp_path / "site.toml"}"?')


def test_an_empty_file_is_rejected(tmp_path):
    assert problems_of(tmp_path, "") == [
        'mounts: expected at least one mount, found an empty file; write [mounts], and "/path" = "module:app"'
    ]


def test_an_empty_file_is_rejected_even_with_options(tmp_path):
    assert problems_of(tmp_path, "", threads=4) == [
        'mounts: expected at least one mount, found an empty file; write [mounts], and "/path" = "module:app"'
    ]


def test_a_byte_order_mark_is_accepted(tmp_path):
    file = tmp_path / "mounts.toml"
    file.write_bytes(b"\xef\xbb\xbf" + TABLE.encode())
    assert [mount.key for mount in load_config(file).mounts] == ["/"]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "after a byte order mark"])
def test_a_byte_that_is_not_utf8_is_rejected_with_its_position(tmp_path, mark):
    file = tmp_path / "mounts.toml"
    file.write_bytes(mark + '[mounts]\n"/café" = "site:app"\n'.encode("latin-1"))
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert str(caught.value) == f"{file}:2:6: expected UTF-8, found the byte 0xe9; save the file as UTF-8"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf16_is_rejected_as_not_utf8(tmp_path, encoding):
    file = tmp_path / "mounts.toml"
    file.write_bytes(TABLE.encode(encoding))
    with pytest.raises(ConfigError, match="expected UTF-8, found UTF-16; save the file as UTF-8"):
        load_config(file)


def test_windows_line_ends_are_accepted(tmp_path):
    file = tmp_path / "mounts.toml"
    file.write_bytes(TABLE.replace("\n", "\r\n").encode())
    assert [mount.key for mount in load_config(file).mounts] == ["/"]


def test_toml_that_is_nested_too_deeply_is_rejected(tmp_path):
    [problem] = problems_of(tmp_path, f"x = {'[' * 10_000}{']' * 10_000}\n")
    assert "nested too deeply" in problem


def test_an_error_at_the_end_of_the_file_has_a_line_and_a_column(tmp_path):
    with pytest.raises(ConfigError) as caught:
        config_of(tmp_path, '[mounts]\n"/" =')
    assert str(caught.value).startswith(f"{tmp_path / 'mounts.toml'}:2:6: not TOML: ")


def test_the_digit_limit_of_python_is_not_taken_for_a_line_number(tmp_path):
    with pytest.raises(ConfigError) as caught:
        config_of(tmp_path, f"[server]\nthreads = 1{'0' * 5000}\n{TABLE}")
    assert ":4300:" not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [f"0x{'f' * 5000}", f"1{'0' * 400}"],
    ids=["hexadecimal", "greater than any float"],
)
@pytest.mark.parametrize("key", ["threads", "drain_timeout", "channel_timeout", "asyncore_loop_timeout", "recv_bytes"])
def test_a_huge_integer_is_reported_at_its_key(tmp_path, key, value):
    [problem] = problems_of(tmp_path, f"[server]\n{key} = {value}\n{TABLE}")
    assert problem.startswith(f"server.{key}: expected ")


def test_a_port_of_thousands_of_digits_is_out_of_range(tmp_path):
    [problem] = problems_of(tmp_path, f'[server]\nlisten = "127.0.0.1:{"8" * 5000}"\n{TABLE}')
    assert problem.startswith("server.listen: expected a port from 0 to 65535")


# ---------------------------------------------------------------------------------------------------------- valid files


def test_the_mounts_keep_the_order_of_the_file(tmp_path):
    config = config_of(tmp_path, '[mounts]\n"/b" = "b"\n"/a" = "a"\n"/c" = "c"\n')
    assert [mount.key for mount in config.mounts] == ["/b", "/a", "/c"]


def test_keys_are_normalised(tmp_path):
    config = config_of(tmp_path, '[mounts]\n"/b/" = "b"\n"" = "a"\n"Example.COM./x/" = "c"\n')
    assert [mount.key for mount in config.mounts] == ["/b", "/", "example.com/x"]


def test_the_default_root_is_the_folder_of_the_file(tmp_path):
    assert config_of(tmp_path, TABLE).mounts[0].root == tmp_path


def test_a_root_is_relative_to_the_file_and_not_to_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "apps").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    config = config_of(tmp_path, '[mounts."/"]\napp = "site:app"\nroot = "apps"\n')
    assert config.mounts[0].root == tmp_path / "apps"


def test_an_absolute_root_is_not_changed(tmp_path):
    (tmp_path / "apps").mkdir()
    config = config_of(tmp_path, f"[mounts.\"/\"]\napp = 'site:app'\nroot = '{tmp_path / 'apps'}'\n")
    assert config.mounts[0].root == tmp_path / "apps"


def test_the_folder_of_an_app_file_is_joined_to_the_root(tmp_path):
    (tmp_path / "apps" / "tv").mkdir(parents=True)
    config = config_of(tmp_path, '[mounts."/"]\napp = "tv/web.py:app"\nroot = "apps"\n')
    assert config.mounts[0].root == tmp_path / "apps" / "tv"
    assert config.mounts[0].app.module == "web"


def test_the_path_of_an_app_file_that_repeats_the_root_is_a_problem_with_the_right_path(tmp_path):
    (tmp_path / "blog").mkdir()
    (tmp_path / "blog" / "web.py").touch()
    [problem] = problems_of(tmp_path, '[mounts."/"]\napp = "blog/web.py:app"\nroot = "blog"\n')
    assert problem == (
        f'mounts."/".app: expected a path that starts at root, {tmp_path / "blog"}, found "blog/web.py:app"; '
        'write "web.py:app"'
    )


def test_a_mount_overrides_the_defaults(tmp_path):
    (tmp_path / "apps").mkdir()
    config = config_of(
        tmp_path,
        """
        [defaults]
        app = "site:app"
        root = "apps"
        slash = "pass"
        dot_segments = "pass"
        [mounts]
        "/a" = {}
        "/b" = { app = "b:app", root = ".", slash = "redirect", dot_segments = "refuse" }
        "/c" = "c:app"
        """,
    )
    a, b, c = config.mounts
    assert (a.app.text, a.root, a.slash, a.dot_segments) == ("site:app", tmp_path / "apps", "pass", "pass")
    assert (b.app.text, b.root, b.slash, b.dot_segments) == ("b:app", tmp_path, "redirect", "refuse")
    assert (c.app.text, c.root, c.slash, c.dot_segments) == ("c:app", tmp_path / "apps", "pass", "pass")


@pytest.mark.parametrize(("text", "prefix"), [("/apps", "/apps"), ("/apps/", "/apps"), ("/", ""), ("", "")])
def test_one_trailing_slash_of_strips_is_dropped(tmp_path, text, prefix):
    assert config_of(tmp_path, f'{TABLE}[proxy]\nstrips = "{text}"\n').proxy.strips_prefix() == prefix


def test_no_prefix_is_stripped_by_default(tmp_path):
    assert config_of(tmp_path, TABLE).proxy.strips_prefix() == ""


def test_the_logging_section_is_kept_unchanged(tmp_path):
    assert config_of(tmp_path, TABLE).logging is None
    assert config_of(tmp_path, f"{TABLE}[logging.root]\nlevel = 'INFO'\n").logging == {"root": {"level": "INFO"}}


# ------------------------------------------------------------------------------------------------------------- messages


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("ap", "app"), ("apps", "app"), ("roots", "root"), ("slahs", "slash"), ("dot_segment", "dot_segments")],
)
def test_the_message_about_an_unknown_key_suggests_the_nearest_one(tmp_path, wrong, right):
    problems = problems_of(tmp_path, f'[mounts."/a"]\napp = "a:app"\n[mounts."/b"]\napp = "b:app"\n{wrong} = "x"\n')
    assert problems == [f'mounts."/b".{wrong}: unknown key; did you mean "{right}"?']


@pytest.mark.parametrize("key", ["root", "app"])
def test_a_missing_folder_gets_the_nearest_name(tmp_path, key):
    (tmp_path / "apps").mkdir()
    (tmp_path / "apes").write_text("")
    other = 'app = "tv:app"\nroot = "aps"' if key == "root" else 'app = "aps/tv.py:app"'
    [problem] = problems_of(tmp_path, f'[mounts."/"]\n{other}\n')
    assert (
        problem == f'mounts."/".{key}: expected a folder, found nothing at "{tmp_path / "aps"}"; did you mean "apps"?'
    )


def test_a_root_with_an_escape_gets_advice_to_use_single_quotes(tmp_path):
    [problem] = problems_of(tmp_path, '[mounts."/"]\napp = "tv:app"\nroot = "C:\\temp"\n')
    assert problem.endswith("; TOML reads a backslash in double quotes as an escape: write the path in single quotes")


def test_a_root_with_an_impossible_name_is_reported(tmp_path):
    problems = problems_of(tmp_path, f'[mounts."/"]\napp = "site:app"\nroot = "{"x" * 5000}"\n')
    assert [problem.partition(", found")[0] for problem in problems] == ['mounts."/".root: expected a folder']


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root can enter every folder")
def test_a_root_in_a_folder_without_permission_is_reported(tmp_path):
    (tmp_path / "closed" / "apps").mkdir(parents=True)
    (tmp_path / "closed").chmod(0)
    try:
        problems = problems_of(tmp_path, '[mounts."/"]\napp = "site:app"\nroot = "closed/apps"\n')
    finally:
        (tmp_path / "closed").chmod(0o700)
    assert [problem.partition(", found")[0] for problem in problems] == ['mounts."/".root: expected a folder']


def test_a_section_that_is_not_a_table_is_one_problem(tmp_path):
    assert problems_of(tmp_path, 'mounts = ["/tv_ws"]\n') == ["mounts: expected a table, found an array"]


def test_a_missing_folder_of_the_default_app_is_reported_once(tmp_path):
    problems = problems_of(tmp_path, '[defaults]\napp = "nowhere/tv.py:app"\n[mounts]\n"/a" = {}\n"/b" = {}\n')
    assert problems == [f'defaults.app: expected a folder, found nothing at "{tmp_path / "nowhere"}"']


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no FIFOs in folders")
def test_a_file_that_is_not_regular_is_refused_without_reading_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the path of a unix socket must be short
    os.mkfifo("fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    for name, kind in (("fifo", "FIFO"), ("socket", "socket"), ("/dev/zero", "device")):
        with pytest.raises(UnreadableError, match=f"expected a regular file, found a {kind}; write the table into a"):
            load_config(name)
