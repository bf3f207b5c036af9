"""Apps whose modules have one name are refused, not mixed up, and files that nothing imports do not matter."""

import gc
import importlib
import importlib.util
import sys
import textwrap
import threading

import pytest
from support.tables import config_of, imports_undone, write

from mountpoint.config.reader import load_config
from mountpoint.loading.loader import Loader
from mountpoint.loading.module_origins import ModuleOrigins

APP = """
def app(environ, start_response):
    start_response("200 OK", [])
    return [answer().encode()]
"""

TABLE = """
[mounts]
"/a" = "a/one.py:app"
"/b" = "b/two.py:app"
"""


@pytest.fixture
def loaded(tmp_path):
    """Load the mounts of a table: ``loaded({"a/one.py": "..."})``; each app answers with its ``answer()``."""

    def loaded(files, table=TABLE, loader=None):
        defaults = {name: "" for name in ("a/one.py", "b/two.py") if table is TABLE}
        apps = {
            name: textwrap.dedent(code) + ("" if "def app" in code else APP)
            if name.endswith(("one.py", "two.py"))
            else code
            for name, code in {**defaults, **files}.items()
        }
        write(tmp_path, {"mounts.toml": table, **apps})
        return list((loader or Loader()).load(load_config(tmp_path / "mounts.toml")))

    with imports_undone(tmp_path):
        sys.path.append(str(write(tmp_path / "site-packages", {"library.py": "name = 'installed'"})))
        yield loaded
    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "mountpoint.loading.sys_path"]


def answer(mount):
    return b"".join(mount.app({}, lambda *_: None)).decode()


def use(statement, value="util.name"):
    return f"{statement}\ndef answer(): return {value}\n"


def lazily(statement, value="util.name"):
    return f"def answer():\n    {statement}\n    return {value}\n"


UTIL = {"a/util.py": "name = 'a'", "b/util.py": "name = 'b'"}
LIB = {"a/lib/db.py": "name = 'a'", "b/lib/db.py": "name = 'b'"}
ADD = "import os, sys\nsys.path.insert(0, os.path.join(os.path.dirname(__file__), 'lib'))\n"
VENDORED = {"a/lib/thing.py": "name = 'a'", "b/lib/thing.py": "name = 'b'"}

CLASHES = {
    "module": (UTIL, use("import util"), use("import util"), "util"),
    "package": (
        {"a/util/__init__.py": "name = 'a'", "b/util/__init__.py": "name = 'b'"},
        use("import util"),
        use("import util"),
        "util",
    ),
    "package and module": (
        {"a/util.py": "name = 'a'", "b/util/__init__.py": "name = 'b'"},
        use("import util"),
        use("import util"),
        "util",
    ),
    "folders without __init__.py": (
        LIB,
        use("from lib.db import name", "name"),
        use("from lib.db import name", "name"),
        "lib.db",
    ),
    "module from a folder without __init__.py": (
        LIB,
        use("from lib import db", "db.name"),
        use("from lib import db", "db.name"),
        "lib.db",
    ),
    "package and folder without __init__.py": (
        {"a/lib/__init__.py": "", "a/lib/db.py": "name = 'a'", "b/lib/other.py": "name = 'b'"},
        use("import lib.db", "lib.db.name"),
        use("import lib.other", "lib.other.name"),
        "lib",
    ),
    "folder without __init__.py and package": (
        {"b/lib/__init__.py": "name = 'b'", "a/lib/db.py": "name = 'a'"},
        "",
        use("import lib", "lib.name"),
        None,
    ),
    "added folders": (
        VENDORED,
        use(f"{ADD}import thing", "thing.name"),
        use(f"{ADD}import thing", "thing.name"),
        "thing",
    ),
    "added folders that are appended": (
        VENDORED,
        use(f"{ADD.replace('insert(0, ', 'append(')}import thing", "thing.name"),
        use(f"{ADD.replace('insert(0, ', 'append(')}import thing", "thing.name"),
        "thing",
    ),
    "another version of a library": (
        {"a/lib/library.py": "name = 'a'"},
        use(f"{ADD}import library", "library.name"),
        use("import library", "library.name"),
        "library",
    ),
    "a library brought by the later mount": (
        {"b/lib/library.py": "name = 'b'"},
        use("import library", "library.name"),
        use(f"{ADD}import library", "library.name"),
        "library",
    ),
    "both in requests": (UTIL, lazily("import util"), lazily("import util"), "util"),
    "the first in a request": (UTIL, lazily("import util"), use("import util"), "util"),
    "the second in a request": (UTIL, use("import util"), lazily("import util"), "util"),
    "in a request, through another module": (
        {**UTIL, "b/jobs.py": "import util\nname = util.name"},
        use("import util"),
        lazily("import jobs", "jobs.name"),
        "util",
    ),
    "a name in a string": (
        UTIL,
        use("import util"),
        use("from importlib import import_module\nutil = import_module('ut' + 'il')"),
        "util",
    ),
    "a name in a string, in a request": (
        UTIL,
        use("import util"),
        lazily("from importlib import import_module; util = import_module('util')"),
        "util",
    ),
    "an optional module of the sibling": (
        {"a/local_settings.py": "name = 'a'"},
        use("import local_settings", "local_settings.name"),
        use("try:\n    import local_settings\nexcept ImportError:\n    pass", "local_settings.name"),
        "local_settings",
    ),
    "an optional module of the sibling, in a request": (
        {"a/local_settings.py": "name = 'a'"},
        use("import local_settings", "local_settings.name"),
        lazily("import local_settings", "local_settings.name"),
        "local_settings",
    ),
    "a vendored library of the sibling": (
        {"a/lib/thing.py": "name = 'a'"},
        use(f"{ADD}import thing", "thing.name"),
        use("import thing", "thing.name"),
        "thing",
    ),
}


@pytest.mark.parametrize("case", CLASHES)
def test_an_app_that_would_get_a_module_of_another_is_refused(loaded, tmp_path, case):
    files, one, two, name = CLASHES[case]
    a, b = loaded({**files, "a/one.py": one, "b/two.py": two})
    if name is None:
        assert (a.state, b.state) == ("ready", "ready")
        return
    assert a.state == "ready"
    assert b.state.startswith("broken: one process can import only one module of each name: "), b.state
    assert f'"{name}" is ' in b.state
    assert "/a" in b.state.partition('" is ')[2]
    assert "/b" in b.state.partition('" is ')[2]
    assert str(tmp_path) in b.state
    assert 'from a process of its own: write process = "own"' in b.state


def test_the_message_names_both_mounts_the_module_both_files_and_the_remedy(loaded, tmp_path):
    a, b = loaded({**UTIL, "a/one.py": use("import util"), "b/two.py": use("import util")})
    assert a.error is None
    assert str(b.error) == (
        f'one process can import only one module of each name: "util" is {tmp_path}/b/util.py for /b, and '
        f"{tmp_path}/a/util.py for /a; rename one of the two; of a library, use one version for both; or serve one of "
        'the apps from a process of its own: write process = "own"'
    ).replace("/", "/" if "/" in str(tmp_path) else "\\")
    assert str(tmp_path / "b" / "util.py") in b.error.files


def test_a_library_that_is_installed_from_the_root_of_a_mount_is_shared(loaded, tmp_path, monkeypatch):
    """An editable installation adds the folder of the project to ``sys.path``."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "a")])
    files = {"a/shared_lib.py": "", "a/one.py": "import shared_lib", "b/two.py": "import shared_lib"}
    assert [mount.error for mount in loaded(files)] == [None, None]


def test_a_library_that_an_installed_finder_finds_in_a_root_is_shared(loaded, tmp_path, monkeypatch):
    """setuptools writes such a finder for an editable installation of several packages."""

    class Finder:
        @staticmethod
        def find_spec(name, path=None, target=None):
            file = tmp_path / "a" / "found_lib" / "__init__.py"
            return importlib.util.spec_from_file_location(name, file) if name == "found_lib" else None

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
    files = {"a/found_lib/__init__.py": "", "a/found_lib/db.py": ""}
    code = "import found_lib.db"
    assert [mount.error for mount in loaded({**files, "a/one.py": code, "b/two.py": code})] == [None, None]


def test_two_apps_in_modules_of_one_name_clash(loaded):
    table = '[mounts]\n"/a" = "a/web.py:app"\n"/b" = "b/web.py:app"\n'
    a, b = loaded({"a/web.py": APP, "b/web.py": APP}, table)
    assert a.error is None
    assert '"web" is ' in str(b.error)


def test_a_message_names_three_clashes_and_counts_the_others(loaded):
    names = ["n1", "n2", "n3", "n4", "n5"]
    files = {f"{root}/{name}.py": "" for root in "ab" for name in names}
    code = f"import {', '.join(names)}\n"
    *_, b = loaded({**files, "a/one.py": code, "b/two.py": code})
    assert [name in str(b.error) for name in names] == [True, True, True, False, False]
    assert "2 more modules" in str(b.error)


IMPORTED_BY_NEITHER = {
    "scripts": ({f"{root}/{name}.py": "1 / 0" for root in "ab" for name in ("wsgi", "noxfile", "fabfile")}, "", ""),
    "used by the first only": (UTIL, use("import util"), ""),
    "used by the second only": (UTIL, "", use("import util")),
    "for type checkers only": (
        UTIL,
        use("import util"),
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import util\n",
    ),
    "for a script only": (UTIL, use("import util"), "if __name__ == '__main__':\n    import util\n"),
    "in a docstring only": (UTIL, use("import util"), '"""\nimport util\n"""\n'),
    "a relative import": (
        {**UTIL, "b/pkg/__init__.py": "from . import util", "b/pkg/util.py": ""},
        use("import util"),
        "import pkg\n",
    ),
    "folders with different modules": (
        {"a/lib/x.py": "name = 'a'", "b/lib/y.py": "name = 'b'"},
        use("import lib.x", "lib.x.name"),
        use("import lib.y", "lib.y.name"),
    ),
    "a name of the standard library": (
        {"a/queue.py": "", "b/queue.py": ""},
        "import queue\n",
        "import queue\n",
    ),
}


@pytest.mark.parametrize("case", IMPORTED_BY_NEITHER)
def test_names_that_two_apps_do_not_both_import_do_not_clash(loaded, case):
    files, one, two = IMPORTED_BY_NEITHER[case]
    a, b = loaded({**files, "a/one.py": one, "b/two.py": two})
    assert (a.state, b.state) == ("ready", "ready")
    for mount, code in ((a, one), (b, two)):
        if "def answer" in code:
            assert answer(mount) == mount.config.key[1:]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_one_file_linked_into_two_roots_does_not_clash(loaded, tmp_path):
    write(tmp_path, {"common.py": "name = 'common'", "a/readme.txt": "", "b/readme.txt": ""})
    for root in "ab":
        (tmp_path / root / "common.py").symlink_to(tmp_path / "common.py")
    mounts = loaded({f"{name}.py": use("import common", "common.name") for name in ("a/one", "b/two")})
    assert [answer(mount) for mount in mounts] == ["common", "common"]


def test_a_module_that_any_process_would_find_can_be_shared(loaded, tmp_path):
    sys.path.append(str(write(tmp_path / "shared", {"common.py": "name = 'common'"})))
    mounts = loaded({f"{name}.py": use("import common", "common.name") for name in ("a/one", "b/two")})
    assert [answer(mount) for mount in mounts] == ["common", "common"]


@pytest.mark.parametrize("how", ["sys.path.insert(0, p)", "p in sys.path or sys.path.insert(0, p)"])
def test_a_folder_that_both_apps_add_can_be_shared(loaded, tmp_path, how):
    code = f"import sys\np = {str(tmp_path / 'shared')!r}\n{how}\nimport common\ndef answer(): return common.name\n"
    mounts = loaded({"shared/common.py": "name = 'common'", "a/one.py": code, "b/two.py": code})
    assert [mount.state for mount in mounts] == ["ready", "ready"]


def test_an_app_that_adds_the_root_of_its_sibling_shares_its_modules(loaded, tmp_path):
    code = f"import sys\nsys.path.insert(0, {str(tmp_path / 'a')!r})\n{use('import common', 'common.name')}"
    mounts = loaded({"a/common.py": "name = 'a'", "a/one.py": "import common\n", "b/two.py": code})
    assert [mount.state for mount in mounts] == ["ready", "ready"]


def test_mounts_of_one_root_share_the_folders_that_their_apps_add(loaded):
    code = f"{ADD}\ndef make(name):\n    import thing\n    return lambda *_: [thing.name.encode()]\n"
    table = '[mounts]\n"/a" = "a/web.py:make(1)"\n"/b" = "b/two.py:app"\n"/c" = "a/web.py:make(2)"\n'
    a, b, c = loaded({"a/web.py": code, "a/lib/thing.py": "name = 'a'", "b/two.py": APP}, table)
    assert [mount.state for mount in (a, b, c)] == ["ready"] * 3
    assert answer(c) == "a"


def test_a_clash_does_not_break_a_later_mount_of_the_first_root(loaded):
    table = '[mounts]\n"/a" = "a/one.py:app"\n"/b" = "b/two.py:app"\n"/c" = "a/shop.py:app"\n'
    code = f"import util\n{APP}"
    a, b, c = loaded({**UTIL, "a/one.py": code, "a/shop.py": code, "b/two.py": code}, table)
    assert (a.state, b.state[:6], c.state) == ("ready", "broken", "ready")


def test_an_app_loads_once_its_module_is_renamed(loaded):
    loader = Loader()
    files = {**UTIL, "a/one.py": use("import util"), "b/two.py": use("import util")}
    assert loaded(files, loader=loader)[1].error
    files |= {"b/util_of_b.py": "name = 'b'", "b/two.py": use("import util_of_b", "util_of_b.name")}
    a, b = loaded(files, loader=loader)
    assert (answer(a), answer(b)) == ("a", "b")


def test_a_name_that_only_a_removed_mount_would_import_is_free(loaded):
    loader = Loader()
    files = {**UTIL, "a/one.py": lazily("import util"), "b/two.py": use("import util")}
    assert loaded(files, loader=loader)[1].error
    [b] = loaded(files, '[mounts]\n"/b" = "b/two.py:app"\n', loader)
    assert answer(b) == "b"


# ------------------------------------------------------------------------------------------------- folders of one app


def test_folders_that_an_app_adds_are_behind_all_others_after_its_load(loaded, tmp_path):
    others = list(dict.fromkeys(sys.path))
    loaded({"a/one.py": ADD, "b/two.py": "import sys\nsys.path.append('/nowhere')\n"})
    expected = [str(tmp_path / "a"), str(tmp_path / "b"), *others, str(tmp_path / "a" / "lib"), "/nowhere"]
    assert sys.path == expected


def test_a_sibling_gets_the_installed_library(loaded):
    files = {"a/lib/library.py": "name = 'vendored'", "a/one.py": f"{ADD}import lib_of_a\n", "a/lib/lib_of_a.py": ""}
    a, b = loaded({**files, "b/two.py": use("import library", "library.name")})
    assert (a.state, b.state) == ("ready", "ready")
    assert answer(b) == "installed"


def test_an_app_gets_its_own_copy_of_a_library_in_requests_too(loaded):
    files = {"a/lib/library.py": "name = 'vendored'", "a/one.py": ADD + lazily("import library", "library.name")}
    a, b = loaded(files)
    assert (a.state, b.state) == ("ready", "ready")
    assert answer(a) == "vendored"


def test_an_import_in_a_request_finds_a_folder_that_the_app_has_added(loaded):
    a, _ = loaded({"a/lib/thing.py": "name = 'lazy'", "a/one.py": ADD + lazily("import thing", "thing.name")})
    assert answer(a) == "lazy"


# ---------------------------------------------------------------------------------------------- loads at the same time


def test_a_load_that_another_one_overtakes_is_not_blamed_for_its_modules(loaded, tmp_path):
    files = {"a/one.py": "", "b/two.py": "import util_of_b", "b/util_of_b.py": "", "mounts.toml": TABLE}
    a, b = load_config(write(tmp_path, files) / "mounts.toml").mounts
    origins = ModuleOrigins()
    origins.set_mounts([a, b])
    with origins.watch(a):
        importlib.import_module("one")
        thread = threading.Thread(target=load_within, args=(origins, b, "two"))
        thread.start()
        thread.join()
    assert "util_of_b" in sys.modules


def load_within(origins, mount, module):
    with origins.watch(mount):
        importlib.import_module(module)


def test_a_module_that_a_finalizer_imports_does_not_end_the_load(tmp_path, monkeypatch):
    names = [f"imported_by_a_finalizer_{number}" for number in range(1000)]

    class Cycle:
        def __init__(self):
            self.cycle = self

        def __del__(self):  # as a ResourceWarning imports linecache
            if names:
                monkeypatch.setitem(sys.modules, names.pop(), sys)
                Cycle()

    config = config_of(write(tmp_path, {"web.py": APP}), '[mounts]\n"/" = "web:app"\n')
    threshold = gc.get_threshold()
    with imports_undone(tmp_path):
        origins = ModuleOrigins()
        origins.set_mounts(config.mounts)
        try:
            with origins.watch(config.mounts[0]):
                Cycle()
                gc.set_threshold(5)
        finally:
            gc.set_threshold(*threshold)
            left = len(names)
            names.clear()
    assert left < 1000
