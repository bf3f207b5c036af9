"""A TOML syntax error names its line, the mistake, and the line to write instead."""

import tomllib

import pytest
from support.tables import config_of

from mountpoint.config.reader import load_config
from mountpoint.errors import ConfigError

#: The wrong text, the line of the mistake, why it is wrong, and the line to write instead, if there is one.
MISTAKES = [
    # quotes
    ('[mounts]\n"/a" = “a:b”', 2, "TOML has only straight quotes", '"/a" = "a:b"'),
    ('[mounts]\n“/a” = "a:b"', 2, "TOML has only straight quotes", '"/a" = "a:b"'),
    ("[mounts]\n«/a» = \u2018a:b\u2019", 2, "TOML has only straight quotes", "\"/a\" = 'a:b'"),
    ('[mounts]\n"/a" = `a:b`', 2, "TOML has only straight quotes", "\"/a\" = 'a:b'"),
    ('[mounts]\n"/a" = a:b', 2, "a string needs quotes", '"/a" = "a:b"'),
    ("[server]\nlisten = 127.0.0.1:80 # local", 2, "a string needs quotes", 'listen = "127.0.0.1:80" # local'),
    ("[mounts]\n\"/a\" = a:make('x')", 2, "a string needs quotes", '"/a" = "a:make(\'x\')"'),
    ('[mounts]\n"/a" = a:make("x")', 2, "a string needs quotes", '"/a" = \'a:make("x")\''),
    ('[mounts]\n"/a" = "a:b', 2, "a quote is missing", '"/a" = "a:b"'),
    ('[mounts]\n"/a" = a:b"', 2, "a quote is missing", '"/a" = "a:b"'),
    ('[mounts]\n"/a = "a:b"', 2, "a quote is missing", '"/a" = "a:b"'),
    ('[mounts]\n/a" = "a:b"', 2, "a quote is missing", '"/a" = "a:b"'),
    ('[mounts]\n"/a" = \'a:b\n"/b" = "b"', 2, "a quote is missing", '"/a" = "a:b"'),
    ('[mounts]\n"/a" = \'a:b', 2, "a quote is missing", '"/a" = "a:b"'),
    ('[mounts]\n"/a" = "b:c\'', 2, "a quote is missing", '"/a" = "b:c"'),
    ('[mounts."/a]\napp = "a"', 1, "a quote is missing", '[mounts."/a"]'),
    (
        '[mounts]\n"/a" = "a:make("x")"',
        2,
        "a string in double quotes contains no double quotes",
        '"/a" = \'a:make("x")\'',
    ),
    ("[mounts]\n/a = 'b'", 2, "a key that contains a slash needs quotes", "\"/a\" = 'b'"),
    ('[mounts]\nadmin.example.com/ = "a"', 2, "a key that contains a slash needs quotes", '"admin.example.com/" = "a"'),
    ("[mounts./a]\n", 1, "a key that contains a slash needs quotes", '[mounts."/a"]'),
    ("[/a]\n", 1, "a key that contains a slash needs quotes", '[mounts."/a"]'),
    # commas
    (
        '[mounts]\n"/a" = { app = "a", limit = 2, }',
        2,
        "a table in braces has no comma at its end",
        '"/a" = { app = "a", limit = 2 }',
    ),
    ('[mounts]\n"/a" = "a", "/b" = "b"', 2, "one line holds one key; write each key in a line of its own", ""),
    # backslashes
    ('[defaults]\nroot = "C:\\apps"', 2, "a backslash in double quotes begins an escape", "root = 'C:\\apps'"),
    ('[defaults]\nroot = "C:\\users"', 2, "a backslash in double quotes begins an escape", "root = 'C:\\users'"),
    (
        '[defaults]\nroot = "C:\\apps\\"\n[mounts]',
        2,
        "a backslash in double quotes begins an escape",
        "root = 'C:\\apps\\'",
    ),
    ("[defaults]\nroot = C:\\apps", 2, "a string needs quotes", "root = 'C:\\apps'"),
    # the syntax of other formats
    ('[mounts]\n"/a" "b"', 2, 'a key and its value need "=" between them', '"/a" = "b"'),
    ('[mounts]\n"/a" => "b"', 2, 'a key and its value need "=" between them', '"/a" = "b"'),
    ("[server]\nthreads 4", 2, 'a key and its value need "=" between them', "threads = 4"),
    ("[server]\nthreads: 4", 2, 'a key and its value need "=" between them', "threads = 4"),
    (
        '[mounts]\n"/a": "b",',
        2,
        'a key and its value need "=" between them, and nothing follows the value in its line',
        '"/a" = "b"',
    ),
    (
        "[mounts]\n- /a: b:c",
        2,
        (
            'a key and its value need "=" between them, and a key that contains a slash needs quotes, '
            "and a string needs quotes"
        ),
        '"/a" = "b:c"',
    ),
    ("[server]\nthreads = 4;", 2, "nothing follows the value in its line", "threads = 4"),
    ("[server]\nstrict = True", 2, "a boolean is true or false", "strict = true"),
    ("[server]\nstrict = off", 2, "a boolean is true or false", "strict = false"),
    ("[server]\nthreads = 08", 2, "a number does not begin with 0", "threads = 8"),
    (
        "[server]\nmax_request_body_size = 10MB",
        2,
        "a number has no unit; write the number of bytes or seconds alone",
        "",
    ),
    ("[server]\nthreads = null", 2, "TOML has no null; delete the line, and the key has its default", ""),
    ("[server]\nthreads = 4 // four", 2, 'a comment begins with "#"', "threads = 4  # four"),
    ("; note\n[server]", 1, 'a comment begins with "#"', "# note"),
    ("/* note */\n[server]", 1, 'a comment begins with "#"', "# note"),
    ('mounts:\n  /a: "b"', 1, "the name of a table is in one pair of brackets", "[mounts]"),
    ("[mounts]\n/a:\n  app: b", 2, "a key that contains a slash needs quotes", '[mounts."/a"]'),
    ("[server\nthreads = 4", 1, "the name of a table is in one pair of brackets", "[server]"),
    ("[[server]\nthreads = 4", 1, "the name of a table is in one pair of brackets", "[server]"),
    ("server\nthreads = 4", 1, "the name of a table is in one pair of brackets", "[server]"),
    ("---\nmounts:", 1, 'expected key = value, found "---"; delete it', ""),
    ("[server]\nthreads = 4\n}", 3, 'expected key = value, found "}"; delete it', ""),
    ('{\n"mounts": {}}', 1, 'expected TOML, found JSON; write [mounts], and below it "/path" = "module:app"', ""),
    ("<VirtualHost>", 1, 'expected TOML, found XML or HTML; write [mounts], and below it "/path" = "module:app"', ""),
    # tables in braces, arrays
    (
        '[mounts]\n"/a" = {\n  app = "b"\n}',
        2,
        "a table in braces is one line and ends with }",
        '[mounts."/a"], and below it one key a line',
    ),
    (
        '[mounts]\n"/a" = { app = "b",\n root = "c" }',
        2,
        "a table in braces is one line and ends with }",
        '[mounts."/a"], and below it one key a line',
    ),
    (
        "server {\n  threads = 4\n}",
        1,
        "a table in braces is one line and ends with }",
        "[server], and below it one key a line",
    ),
    ('[mounts]\n"/a" = { app = "b", }', 2, "a table in braces has no comma at its end", '"/a" = { app = "b" }'),
    ('[mounts]\n"/a" = { app: b:c }', 2, None, '"/a" = { app = "b:c" }'),
    ('[server]\nlisten = ["a:1" "b:2"]', 2, "an array has commas between its values", 'listen = ["a:1", "b:2"]'),
    ("[server]\nlisten = [a:1, b:2]", 2, "a string needs quotes", 'listen = ["a:1", "b:2"]'),
    ('[server]\nlisten = "a:1", "b:2"', 2, "several values are an array", 'listen = ["a:1", "b:2"]'),
    (
        '[server]\nlisten = [\n "a:1"\n "b:2"\n]',
        2,
        'an array has commas between its values and ends with "]"',
        '["one", "two"]',
    ),
    (
        '[server]\nlisten = ["a:1",\n[mounts]\n"/a" = "b"',
        2,
        'an array has commas between its values and ends with "]"',
        '["one", "two"]',
    ),
    ('[defaults]\nroot = """apps\n[mounts]', 2, "the string that begins here has no end", '""" after it'),
    # the same name twice
    (
        '[mounts]\n"/a" = "a"\n[server]\n[mounts]\n"/b" = "b"',
        4,
        "expected one table [mounts], found another in line 1; move its keys below line 1, and delete this line",
        "",
    ),
    (
        '[mounts]\n"/a" = "a"\n"/a" = "b"',
        3,
        'expected the key "/a" once, found it in line 2 too; remove one of the two',
        "",
    ),
    (
        '[mounts]\n"/a" = "a"\n[mounts."/a"]\nroot = "b"',
        3,
        'expected the mount "/a" once, found it in line 2 too; write app = "a" below this line, and delete line 2',
        "",
    ),
    (
        '[mounts]\n"/a" = { app = "a" }\n[mounts."/a"]\nroot = "b"',
        3,
        'expected the key "/a" once, found it in line 2 too; remove one of the two',
        "",
    ),
    (
        '[mounts."/a"]\nenv = { A = "1" }\nenv.B = "2"',
        3,
        "expected the key env once, found it in line 2 too; remove one of the two",
        "",
    ),
    (
        '[mounts]\n"/a" = { app = "a", app = "b" }',
        2,
        "expected each key once, found app twice in one table; remove one of them",
        "",
    ),
    # lines
    (
        "[server]\nthreads =\nstrict = true",
        2,
        'expected a value after "=", found none; write the value in the same line',
        "",
    ),
    (
        "[server]\nthreads = 4 strict = true",
        2,
        "one line holds one key; write each key in a line of its own",
        "",
    ),
    (
        "[server]\n\u00a0threads = 4",
        2,
        "expected visible characters and plain spaces, found the character U+00A0; delete it",
        "",
    ),
    (
        "[server]\nthreads = 4\u200b",
        2,
        "expected visible characters and plain spaces, found the character U+200B; delete it",
        "",
    ),
    ("\t[server]\n\tlisten\t=\tlocalhost:80", 2, "a string needs quotes", 'listen = "localhost:80"'),
    # a mistake that is not a known one
    ("[]\n", 1, "Invalid initial character for a key part", ""),
    ('[server]\nlisten = "a" + "b"', 2, "Expected newline or end of document after a statement", ""),
    ('[server]\nlisten = "a:1"b', 2, "Expected newline or end of document after a statement", ""),
    ("[server]\ndrain_timeout = 1,5", 2, "Expected newline or end of document after a statement", ""),
    ("= 3\n", 1, "Invalid statement", ""),
    (f"[server]\nlisten = {'x' * 1000}", 2, "Invalid value", ""),
]


def explanation(folder, text):
    """Return the message for *text* without the name of the file, and its line."""
    with pytest.raises(ConfigError) as caught:
        config_of(folder, text)
    [problem] = caught.value.problems
    line = caught.value.file.removeprefix(str(folder / "mounts.toml")).split(":")[1]
    return int(line), problem.message.removeprefix("not TOML: ")


@pytest.mark.parametrize("end", ["", "\n"], ids=["at the end", "before more"])
@pytest.mark.parametrize(("text", "line", "reason", "right"), MISTAKES)
def test_a_syntax_error_says_the_line_and_what_to_write(tmp_path, text, line, reason, right, end):
    found_line, message = explanation(tmp_path, text + end)
    found_reason, _, found_right = message.partition("; write ") if right else (message, "", "")
    assert (found_line, found_right) == (line, right)
    if reason is not None:
        assert found_reason == reason


@pytest.mark.parametrize("right", sorted({mistake[3] for mistake in MISTAKES if " = " in mistake[3]}))
def test_the_line_to_write_is_toml(right):
    assert tomllib.loads(right)


@pytest.mark.parametrize(
    "text",
    [
        "[doctor]\nkey = abcdef-secret",
        '[mounts."/a"]\nenv = { DATABASE = pg://abcdef-secret }',
        '[mounts."/a".env]\nDATABASE = abcdef-secret',
        "[x]\nAPI_TOKEN: abcdef-secret",
    ],
)
def test_a_line_that_may_hold_a_secret_is_not_shown(tmp_path, text):
    _, message = explanation(tmp_path, text)
    assert "abcdef" not in message
    assert message.endswith("(the line is not shown, because it may hold a secret)")


def test_windows_line_ends_do_not_hide_a_mistake(tmp_path):
    (tmp_path / "mounts.toml").write_bytes(b'[mounts]\r\n"/a" = a:b\r\n')
    with pytest.raises(ConfigError, match='2:8: not TOML: a string needs quotes; write "/a" = "a:b"'):
        load_config(tmp_path / "mounts.toml")
