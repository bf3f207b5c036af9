"""Changes that a load makes to the process are named, with those that were restored."""

import json
import locale
import os
import signal
import sys

import pytest
from support.tables import APP, command, config_of, imports_undone, write

from mountpoint.loading.loader import load_mounts

REMEDY = 'serve this app from a process of its own: write process = "own"'
TABLE = '[mounts]\n"/a" = "a/one.py:app"\n"/b" = "b/two.py:app"\n"/c" = "b/two.py:app"\n'


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """Load a table whose first app has this source, and return its mount: ``loaded("import os ...")``."""

    def loaded(source, table=TABLE):
        write(tmp_path, {"a/one.py": f"{source}\n{APP}", "b/two.py": APP})
        first, *others = load_mounts(config_of(tmp_path, table))
        assert [mount.error for mount in (first, *others)] == [None] * (len(others) + 1)
        assert [[*mount.warnings, *mount.notes] for mount in others] == [[]] * len(others)
        return first

    monkeypatch.chdir(tmp_path)
    kept, mask, limit = dict(os.environ), os.umask(0o22), sys.getrecursionlimit()
    language = locale.setlocale(locale.LC_ALL)
    locale.setlocale(locale.LC_ALL, "C")
    with imports_undone(tmp_path):
        yield loaded
    os.umask(mask)
    sys.setrecursionlimit(limit)
    locale.setlocale(locale.LC_ALL, language)
    os.environ.clear()
    os.environ.update(kept)


PUT_BACK = {
    "the root logger": (
        "import logging\nlogging.root.addHandler(logging.NullHandler())",
        "its load has changed the root logger (its handlers); mountpoint has restored it for /b and /c; ",
    ),
    "its level": (
        "import logging\nlogging.root.setLevel(1)",
        "its load has changed the root logger (its level); mountpoint has restored it for /b and /c; ",
    ),
    "a signal": (
        "import signal\nsignal.signal(signal.SIGTERM, lambda *_: None)",
        "its load has set a handler for SIGTERM; mountpoint has restored the server's, also for /b and /c; ",
    ),
    "sys.path": ("import sys\nsys.path.insert(0, '/new/lib')", "its load has added /new/lib to sys.path, which stays "),
    "os.environ": (
        "import os\nos.environ['ONE'] = os.environ['TWO'] = 'x'",
        "its load has set ONE and TWO in os.environ, which stays there for /b and /c too; ",
    ),
}


@pytest.mark.parametrize("change", PUT_BACK)
def test_a_change_that_is_handled_is_a_note(loaded, change):
    source, text = PUT_BACK[change]
    mount = loaded(source)
    assert mount.warnings == []
    [note] = mount.notes
    assert note.startswith(text)
    assert note.endswith(REMEDY)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


MISSED = {
    "the working folder": (
        "import os\nos.chdir('/')",
        "its load has changed the working folder to /; mountpoint has restored it for /b and /c, so a relative path ",
    ),
    "the umask": (
        "import os\nos.umask(0o77)",
        "its load has changed the umask from 0022 to 0077, also for /b and /c, because a process has only one; ",
    ),
    "the locale": (
        "import locale\nlocale.setlocale(locale.LC_ALL, 'C.UTF-8')",
        "its load has changed the locale ",
    ),
    "the recursion limit": (
        "import sys\nsys.setrecursionlimit(12345)",
        "its load has changed the recursion limit ",
    ),
}


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and the locale C.UTF-8")
@pytest.mark.parametrize("change", MISSED)
def test_a_change_that_an_app_loses_or_its_siblings_get_is_a_warning(loaded, change):
    source, text = MISSED[change]
    mount = loaded(source)
    assert mount.notes == []
    [warning] = mount.warnings
    assert warning.startswith(text)
    assert warning.endswith(REMEDY)


def test_a_change_for_siblings_is_not_reported_without_siblings(loaded):
    alone = '[mounts]\n"/a" = "a/one.py:app"\n'
    mount = loaded("import os, sys\nos.environ['ONE'] = 'x'\nsys.path.append('/y')\nsys.setrecursionlimit(2345)", alone)
    assert (mount.warnings, mount.notes) == ([], [])


def test_the_server_is_named_where_there_is_no_sibling(loaded):
    mount = loaded("import os, signal\nos.chdir('/')\nsignal.signal(2, print)", '[mounts]\n"/a" = "a/one.py:app"\n')
    assert "mountpoint has restored it for the server, so" in mount.warnings[0]
    assert "mountpoint has restored the server's; clean up in atexit" in mount.notes[0]


def test_a_message_names_only_the_first_of_many(loaded):
    [note] = loaded("import os\nfor n in range(8):\n    os.environ[f'MANY{n}'] = 'x'").notes
    assert "MANY0, MANY1, MANY2, MANY3, MANY4 and 3 others in os.environ" in note


def test_check_prints_notes_and_counts_them(tmp_path):
    files = {"a/one.py": f"import os\nos.environ['ONE'] = 'x'\n{APP}", "b/two.py": APP, "mounts.toml": TABLE}
    done = command("check", cwd=write(tmp_path, files))
    assert done.returncode == 0
    assert 'mounts.toml: note: mounts."/a": its load has set ONE in os.environ' in done.stdout
    assert done.stdout.endswith("3 mounts, 0 problems, 0 warnings, 1 note\n")
    report = json.loads(command("check", "--json", cwd=tmp_path).stdout)
    assert [note["key"] for note in report["notes"]] == ['mounts."/a"']
