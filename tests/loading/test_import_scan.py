"""The names that a source imports are read from its text, also from functions that have not run."""

import pytest
from support.tables import write

from mountpoint.loading.import_scan import is_imported, scan_imports, source_of


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("import util", {"util"}),
        ("import a.b as c, util", {"util", "a.b"}),
        ("from util import x", {"util", "util.x"}),
        ("from util import (  # all\n    x,  # one\n    y,\n)", {"util.x", "util.y"}),
        ("def f():\n\timport util", {"util"}),
        ("try: import util\nexcept ImportError: pass", {"util"}),
        ("x = 1; import util", {"util"}),
        ("from . import part", {"pkg", "pkg.part"}),
        ("from .part import x", {"pkg.part", "pkg.part.x"}),
        ("import_module('util')\nimportlib.import_module( \"other.part\")", {"util", "other.part"}),
        ("app.config.from_object('config')", {"config"}),
    ],
)
def test_every_form_of_an_import_is_found(tmp_path, code, names):
    write(tmp_path, {"web.py": code})
    source = source_of("pkg.web", tmp_path / "web.py")
    found = scan_imports([source], lambda name: None)
    assert names <= set(found)
    assert all(is_imported(name, source) for name in names)


@pytest.mark.parametrize(
    "code",
    [
        "text = 'import util'",
        '"""\nimport util\n"""',
        "# import util",
        "import utility, my.util",
        "from .util import x",
        "if typing.TYPE_CHECKING:\n    import util\nelse:\n    x = 1",
        "import util\ndef (",
    ],
)
def test_an_import_that_never_runs_is_not_confirmed(tmp_path, code):
    write(tmp_path, {"web.py": code})
    assert not is_imported("util", source_of("web", tmp_path / "web.py"))


def test_a_relative_import_outside_of_a_package_names_nothing(tmp_path):
    write(tmp_path, {"web.py": "from . import x"})
    assert scan_imports([source_of("web", tmp_path / "web.py")], lambda name: None) == {}


def test_a_source_that_cannot_be_read_imports_nothing(tmp_path):
    for name in ("missing.py", "binary.so"):
        source = source_of("web", tmp_path / name)
        assert scan_imports([source], lambda name: None) == {}
        assert not is_imported("util", source)
