"""Variables that one app takes over from another are reported, and so are those of ``env`` that no code reads."""

import os
import sys

import pytest
from support.tables import APP, imports_undone, write

from mountpoint.config.reader import load_config
from mountpoint.loading.env_files import read_env_file
from mountpoint.loading.loader import Loader

TABLE = '[mounts]\n"/a" = "a/one.py:app"\n"/b" = "b/two.py:app"\n'
# load_dotenv() finds the file itself, but starts at the working folder in a debugger and under coverage.
DOTENV = """
from pathlib import Path
from dotenv import load_dotenv
load_dotenv(dotenv_path=next(folder / ".env" for folder in Path(__file__).parents if (folder / ".env").is_file()))
"""


@pytest.fixture
def loaded(tmp_path):
    """Load the mounts of a table, and restore the environment: ``loaded({"a/one.py": "..."})``."""
    kept = dict(os.environ)

    def loaded(files, table=TABLE):
        write(tmp_path, {"mounts.toml": table, "a/one.py": "", "b/two.py": "", **files})
        for name in ("a/one.py", "b/two.py"):
            (tmp_path / name).write_text(files.get(name, "") + APP)
        return list(Loader().load(load_config(tmp_path / "mounts.toml")))

    with imports_undone(tmp_path):
        yield loaded
    os.environ.clear()
    os.environ.update(kept)


def setting(value):
    return f"SECRET={value}\n"


TAKEN = {
    "two .env files": ({"a/.env": setting("a"), "b/.env": setting("b")}, DOTENV, DOTENV),
    "a .env file of the first only": ({"a/.env": setting("a")}, DOTENV, "import os\nos.environ.get('SECRET')\n"),
    "os.getenv": ({}, "import os\nos.environ['SECRET'] = 'a'\n", "import os\nos.getenv('SECRET')\n"),
    "in": ({}, "import os\nos.environ.update(SECRET='a')\n", "import os\n'SECRET' in os.environ\n"),
    "another default": (
        {},
        "import os\nos.environ.setdefault('SECRET', 'a')\n",
        "import os\nos.environ.setdefault('SECRET', 'b')\n",
    ),
    "a .env file that a request reads": ({"a/.env": setting("a"), "b/.env": setting("'b'  # a comment")}, DOTENV, ""),
    "a .env file in the folder above": (
        {"a/.env": 'export SECRET="a"\n', "x/b/.env": "", ".env": setting("b")},
        DOTENV,
        "",
    ),
    "names in lower case": ({"a/.env": setting("a"), "b/.env": "secret = b\n"}, DOTENV, ""),
    "an override": (
        {"a/.env": setting("a"), "b/.env": setting("b")},
        DOTENV,
        DOTENV.replace("load_dotenv(d", "load_dotenv(override=True, d"),
    ),
    "a plain assignment": ({}, "import os\nos.environ['SECRET'] = 'a'\n", "import os\nos.environ['SECRET'] = 'b'\n"),
}


@pytest.mark.parametrize("case", TAKEN)
def test_a_variable_that_two_apps_use_is_reported(loaded, case):
    pytest.importorskip("dotenv")
    files, one, two = TAKEN[case]
    a, b = loaded({**files, "a/one.py": one, "b/two.py": two})
    assert a.warnings == []
    [warning] = b.warnings
    assert "SECRET" in warning
    assert "the load of /a" in warning
    assert '[mounts."/b".env]' in warning


SHARED = {
    "equal values": ({"a/.env": setting("a"), "b/.env": setting("a")}, DOTENV, DOTENV),
    "one file for both": ({".env": setting("a")}, DOTENV, DOTENV),
    "one default": ({}, *["import os\nos.environ.setdefault('SECRET', 'a')\n"] * 2),
    "a value that the app sets itself": (
        {},
        "import os\nos.environ['SECRET'] = 'a'\n",
        "import os\nos.environ['SECRET'] = 'a'\nos.environ['SECRET']\n",
    ),
    "a copy of all variables": ({}, "import os\nos.environ['SECRET'] = 'a'\n", "import os\ndict(os.environ)\n"),
    "all items": ({}, "import os\nos.environ['SECRET'] = 'a'\n", "import os\nlist(os.environ.items())\n"),
    "a variable of the process": ({}, "", "import os\nos.environ['PATH']\n"),
    "a value that may be expanded": ({"a/.env": setting("a"), "b/.env": setting("${HOME}/b")}, DOTENV, ""),
}


@pytest.mark.parametrize("case", SHARED)
def test_a_variable_that_has_the_wanted_value_is_not_reported(loaded, case):
    pytest.importorskip("dotenv")
    files, one, two = SHARED[case]
    mounts = loaded({**files, "a/one.py": one, "b/two.py": two})
    assert [mount.warnings for mount in mounts] == [[], []]


def test_a_list_of_folders_that_two_apps_extend_is_not_reported(loaded, monkeypatch):
    monkeypatch.setenv("SOME_PATH", "/bin")
    one = "import os\nos.environ['SOME_PATH'] += os.pathsep + '/opt/one'\n"
    two = "import os\nos.environ['SOME_PATH'] = '/opt/two' + os.pathsep + os.environ['SOME_PATH']\n"
    mounts = loaded({"a/one.py": one, "b/two.py": two})
    assert [mount.warnings for mount in mounts] == [[], []]


def test_a_list_of_folders_that_loses_those_of_another_app_is_reported(loaded, monkeypatch):
    monkeypatch.setenv("SOME_PATH", "/bin")
    one = "import os\nos.environ['SOME_PATH'] = '/one' + os.pathsep + '/one/lib'\n"
    mounts = loaded({"a/one.py": one, "b/two.py": one.replace("one", "two")})
    assert [len(mount.warnings) for mount in mounts] == [0, 1]


def test_a_variable_in_env_of_the_mount_is_not_reported(loaded):
    pytest.importorskip("dotenv")
    table = '[mounts]\n"/a" = "a/one.py:app"\n"/b" = { app = "b/two.py:app", env = { SECRET = "b" } }\n'
    files = {"a/.env": setting("a"), "b/.env": setting("c"), "a/one.py": DOTENV}
    _, b = loaded({**files, "b/two.py": f"{DOTENV}import os\nassert os.environ['SECRET'] == 'b'\n"}, table)
    assert (b.error, b.warnings) == (None, [])


def test_a_warning_names_no_value(loaded):
    files = {"a/.env": "PASSWORD=hunter2\n", "b/.env": "PASSWORD=correcthorse\n"}
    code = "import os\nos.environ['PASSWORD'] = 'hunter2'\n"
    _, b = loaded({**files, "a/one.py": code, "b/two.py": "import os\nos.environ['PASSWORD']\n"})
    assert "PASSWORD" in b.warnings[0]
    assert not any(value in b.warnings[0] for value in ("hunter2", "correcthorse"))


def test_an_app_that_fails_because_of_a_variable_has_the_warning_too(loaded):
    code = "import os\nif os.environ.get('SECRET') == 'a': 1 / 0\n"
    _, b = loaded({"a/one.py": "import os\nos.environ['SECRET'] = 'a'\n", "b/two.py": code})
    assert b.error
    assert "SECRET" in b.warnings[0]


def test_os_environ_is_as_before_after_a_load(loaded):
    kind = type(os.environ)
    loaded({"a/one.py": "import os\nos.environ['SECRET'] = 'a'\n", "b/two.py": "1 / 0\n"})
    assert type(os.environ) is kind
    assert os.environ["SECRET"] == "a"


@pytest.mark.parametrize(
    ("code", "unread"),
    [
        ("", ["NAME"]),
        ("import os\nos.environ['NAME']\n", []),
        ("import os\nos.getenv('NAME')\n", []),
        ("import os\nos.environ.setdefault('NAME', 'x')\n", []),
        ("import os\nos.environ.copy()\n", []),
        ("import os\nos.environ['NAMES'] = os.environ.get('OTHER', '')\n", ["NAME"]),
        ("1 / 0\n", ["NAME"]),
    ],
)
def test_the_variables_of_env_that_a_load_has_not_read_are_known(loaded, code, unread):
    table = '[mounts]\n"/a" = { app = "a/one.py:app", env = { NAME = "x" } }\n'
    [a] = loaded({"a/one.py": code}, table)
    assert list(a.unread) == unread


@pytest.mark.parametrize("parse", ["parser.parse_args()", "parser.parse_known_args()[0]"])
def test_an_app_that_parses_its_arguments_gets_none_of_ours(loaded, tmp_path, parse):
    before = sys.argv[:]
    code = f"import argparse, sys\nparser = argparse.ArgumentParser()\nparser.add_argument('x', nargs='?')\n{parse}\n"
    code += "argv = list(sys.argv)\nsys.argv.append('rest')\n"
    a, b = loaded({"a/one.py": code, "b/two.py": "import sys\nassert len(sys.argv) == 1\nsys.argv = []\n"})
    assert (a.error, b.error) == (None, None)
    assert sys.modules["one"].argv == [str(tmp_path / "a" / "one.py")]
    assert sys.argv == before


# --------------------------------------------------------------------------------------------------------- .env files


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("A=1\nB = two\nexport C=3", {"a": "1", "b": "two", "c": "3"}),
        ("A='it is # no comment'  # comment\nB=x # comment", {"a": "it is # no comment", "b": "x"}),
        ('A="two\\nlines" \nB="a \\"quote\\""', {"a": "two\nlines", "b": 'a "quote"'}),
        ("# A=1\nno assignment\n\nB=\n", {"b": ""}),
        ("A=1\r\nB=2\r\n", {"a": "1", "b": "2"}),
    ],
)
def test_a_env_file_is_read_as_python_dotenv_reads_it(tmp_path, text, values):
    dotenv = pytest.importorskip("dotenv")
    (tmp_path / ".env").write_bytes(text.encode())
    assert read_env_file(tmp_path / ".env") == values
    expected = dotenv.dotenv_values(tmp_path / ".env")
    assert {name.casefold(): value for name, value in expected.items() if value is not None} == values


def test_a_env_file_that_cannot_be_read_has_no_variables(tmp_path):
    assert read_env_file(tmp_path) == {}
    (tmp_path / "large").write_text("A=1\n" * 300_000)
    assert read_env_file(tmp_path / "large") == {}
    assert read_env_file(tmp_path / "missing") == {}
