"""What a failed load has imported is forgotten before the next try."""

import importlib.util
import os
import py_compile
import sys
from pathlib import Path

import pytest
from support.tables import imports_undone, write

from mountpoint.config.app_spec import parse_spec
from mountpoint.errors import LoadError
from mountpoint.loading.importing import load_app, put_on_path
from mountpoint.loading.isolation import forget_failed_loads, note_failed_load

APP = "def app(environ, start_response):\n    return []\n"


@pytest.fixture
def load(tmp_path):
    """Load an app as a table's loader does: ``load("tv:app", {"tv.py": "..."})``."""

    def load(text, files):
        write(tmp_path, files)
        forget_failed_loads()
        put_on_path([str(tmp_path)])
        before = set(sys.modules)
        try:
            return load_app(parse_spec(text), tmp_path)
        except LoadError as error:
            note_failed_load(tmp_path, before, error.files)
            raise

    with imports_undone(tmp_path):
        yield load
    forget_failed_loads()


def forget(root, *names):
    """Forget the modules *names*, as if a failed load below *root* had brought them."""
    note_failed_load(root, set(sys.modules) - set(names))
    forget_failed_loads()


@pytest.mark.parametrize(
    ("spec", "files", "mended"),
    [
        ("shop.web:app", {"shop/models.py": ""}, "shop/models.py"),
        (
            "shop.web:app",
            {"shop/models.py": "from .parts import Thing", "shop/parts.py": "import shop.web"},
            "shop/parts.py",
        ),
        ("shop.web:app", {"shop/models.py": "from names.thing import Thing", "names/thing.py": ""}, "names/thing.py"),
    ],
    ids=["a name that is missing", "modules in a circle", "a namespace package"],
)
def test_the_next_try_sees_the_mended_module(load, spec, files, mended):
    package = {"shop/__init__.py": "", "shop/config.py": "", "shop/web.py": f"from . import config, models\n{APP}"}
    package["shop/web.py"] += "models.Thing\n"
    with pytest.raises(LoadError, match="Thing"):
        load(spec, package | files)
    forget_failed_loads()
    assert not [name for name in sys.modules if name.partition(".")[0] in ("shop", "names")]
    assert load(spec, {mended: f"{files[mended]}\nclass Thing: pass"}).__name__ == "app"


def test_the_next_try_sees_the_mended_factory(load):
    with pytest.raises(LoadError, match="not yet"):
        load("tv:make()", {"tv.py": "def make():\n    raise ValueError('not yet')\n"})
    assert load("tv:make()", {"tv.py": f"{APP}\ndef make():\n    return app\n"}).__name__ == "app"


def test_the_next_try_sees_an_attribute_that_was_missing(load):
    with pytest.raises(LoadError, match="neither"):
        load("tv", {"tv.py": ""})
    assert load("tv", {"tv.py": APP}).__name__ == "app"


def test_a_module_that_was_there_before_stays_and_loses_what_the_failed_load_hung_on_it(load):
    load("shop.web:app", {"shop/__init__.py": "", "shop/web.py": APP, "shop/config.py": ""})
    shop, web = sys.modules["shop"], sys.modules["shop.web"]
    admin = f"import shop.extra\nshop.extra = 'set'\nfrom shop import web, parts\nparts.Thing\n{APP}"
    with pytest.raises(LoadError, match="Thing"):
        load("shop.admin:app", {"shop/admin.py": admin, "shop/parts.py": "", "shop/extra.py": ""})
    forget_failed_loads()
    assert sys.modules["shop"] is shop
    assert sys.modules["shop.web"] is shop.web is web
    assert not hasattr(shop, "parts")
    assert shop.extra == "set"
    load("shop.admin:app", {"shop/parts.py": "Thing = 1"})


def test_until_the_next_try_a_module_that_the_failed_load_has_run_is_not_run_again(load, tmp_path):
    with pytest.raises(LoadError, match="division"):
        load("tv:app", {"tv.py": "import metrics\n1 / 0\n", "metrics.py": ""})
    metrics = sys.modules["metrics"]
    write(tmp_path, {"notes.py": f"import metrics\n{APP}"})
    app = load_app(parse_spec("notes:app"), tmp_path)  # the next mount of the same table
    assert app.__globals__["metrics"] is metrics


def test_installed_packages_below_the_root_stay(load, tmp_path, monkeypatch):
    library = tmp_path / ".venv" / "lib" / "site-packages"
    write(library, {"mp_library/__init__.py": "", "mp_library/part.py": ""})
    monkeypatch.syspath_prepend(library)
    with pytest.raises(LoadError, match="division"):
        load("tv:make()", {"tv.py": "def make():\n    import mp_library.part\n    1 / 0\n"})
    forget_failed_loads()
    assert "tv" not in sys.modules
    assert sys.modules["mp_library"].part is sys.modules["mp_library.part"]


def test_pythons_own_modules_stay_though_they_are_below_the_root():
    import colorsys

    forget(Path(os.__file__).parent.parent, "colorsys")
    assert sys.modules["colorsys"] is colorsys


def test_modules_of_another_root_stay(load, tmp_path):
    write(tmp_path / "web", {"tv.py": ""})
    load("other:app", {"other.py": APP})
    forget(tmp_path / "web", "other")
    assert "other" in sys.modules


@pytest.mark.skipif(sys.platform == "win32", reason="links are a privilege on Windows")
def test_a_root_is_known_by_any_of_its_names(load, tmp_path):
    load("tv:app", {"tv.py": APP})
    (tmp_path / "link").symlink_to(tmp_path)
    forget(tmp_path / "link", "tv")
    assert "tv" not in sys.modules


@pytest.mark.parametrize(("name", "right", "wrong"), [("tv.py", ".x\n", ".y\n"), ("tv_helper.py", "= 1", "= 0")])
def test_a_fix_of_the_same_size_in_the_same_second_is_seen(load, tmp_path, monkeypatch, name, right, wrong):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    files = {"tv.py": f"import tv_helper\n1 / tv_helper.x\n{APP}", "tv_helper.py": "x = 1\n"}
    write(tmp_path, files | {name: files[name].replace(right, wrong)})
    os.utime(tmp_path / name, (1, 1))
    with pytest.raises(LoadError, match=r"division|no attribute"):
        load("tv:app", {})
    write(tmp_path, files)
    os.utime(tmp_path / name, (1, 1))
    assert load("tv:app", {}).__name__ == "app"


def test_a_module_that_was_missing_is_seen_though_its_folder_looks_unchanged(load, tmp_path):
    write(tmp_path, {"tv.py": f"import tv_helper\n{APP}"})
    os.utime(tmp_path, (1, 1))
    with pytest.raises(LoadError, match="tv_helper"):
        load("tv:app", {})
    write(tmp_path, {"tv_helper.py": ""})
    os.utime(tmp_path, (1, 1))
    assert load("tv:app", {}).__name__ == "app"


def test_the_bytecode_of_others_stays(tmp_path):
    other = write(tmp_path, {"other/x.py": "", "web/tv.py": ""}) / "other" / "x.py"
    compiled = Path(py_compile.compile(str(other)))
    note_failed_load(tmp_path / "web", sys.modules, [str(other)])
    forget_failed_loads()
    assert compiled.exists()


def test_a_root_may_be_below_pythons_own_folder(load, tmp_path, monkeypatch):
    load("tv:app", {"tv.py": APP})
    monkeypatch.setattr(os, "__file__", str(tmp_path.parent / "os.py"))
    forget(tmp_path, "tv")
    assert "tv" not in sys.modules


def test_a_module_that_waits_to_be_loaded_is_not_loaded_by_the_look_at_it(tmp_path):
    write(tmp_path, {"mp_lazy.py": "1 / 0\n"})
    spec = importlib.util.spec_from_file_location("mp_lazy", tmp_path / "mp_lazy.py")
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    with imports_undone(tmp_path / "nothing"):
        sys.modules["mp_lazy"] = module
        spec.loader.exec_module(module)
        sys.modules["mp_strange"] = object()
        forget(tmp_path, "mp_lazy", "mp_strange")
        assert "mp_lazy" not in sys.modules
        del sys.modules["mp_strange"]
