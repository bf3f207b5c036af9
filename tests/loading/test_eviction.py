"""The modules of a failed load are evicted before the next load."""

import importlib.util
import os
import py_compile
import sys
from pathlib import Path

import pytest
from support.tables import APP, imports_undone, write

from mountpoint.config.app_spec import parse_spec
from mountpoint.errors import LoadError
from mountpoint.loading.eviction import evict_failed_modules, record_failed_load
from mountpoint.loading.importing import load_app
from mountpoint.loading.sys_path import SysPath


@pytest.fixture
def load(tmp_path):
    """Load an app as `Loader` does: ``load("tv:app", {"tv.py": "..."})``."""

    def load(text, files):
        write(tmp_path, files)
        evict_failed_modules()
        SysPath().set_roots([tmp_path])
        before = set(sys.modules)
        try:
            return load_app(parse_spec(text), tmp_path)
        except LoadError as error:
            record_failed_load(tmp_path, before, error.files)
            raise

    with imports_undone(tmp_path):
        yield load
    evict_failed_modules()


def evict(root, *names):
    """Evict the modules *names*, as if a failed load from *root* had added them."""
    record_failed_load(root, set(sys.modules) - set(names))
    evict_failed_modules()


@pytest.mark.parametrize(
    ("spec", "files", "fixed"),
    [
        ("shop.web:app", {"shop/models.py": ""}, "shop/models.py"),
        (
            "shop.web:app",
            {"shop/models.py": "from .parts import Thing", "shop/parts.py": "import shop.web"},
            "shop/parts.py",
        ),
        ("shop.web:app", {"shop/models.py": "from names.thing import Thing", "names/thing.py": ""}, "names/thing.py"),
    ],
    ids=["missing name", "import cycle", "namespace package"],
)
def test_the_next_load_imports_the_fixed_module(load, spec, files, fixed):
    package = {"shop/__init__.py": "", "shop/config.py": "", "shop/web.py": f"from . import config, models\n{APP}"}
    package["shop/web.py"] += "models.Thing\n"
    with pytest.raises(LoadError, match="Thing"):
        load(spec, package | files)
    evict_failed_modules()
    assert not [name for name in sys.modules if name.partition(".")[0] in ("shop", "names")]
    assert load(spec, {fixed: f"{files[fixed]}\nclass Thing: pass"}).__name__ == "app"


def test_the_next_load_calls_the_fixed_factory(load):
    with pytest.raises(LoadError, match="not yet"):
        load("tv:make()", {"tv.py": "def make():\n    raise ValueError('not yet')\n"})
    assert load("tv:make()", {"tv.py": f"{APP}\ndef make():\n    return app\n"}).__name__ == "app"


def test_the_next_load_finds_an_attribute_that_was_missing(load):
    with pytest.raises(LoadError, match="neither"):
        load("tv", {"tv.py": ""})
    assert load("tv", {"tv.py": APP}).__name__ == "app"


def test_an_earlier_package_stays_but_loses_the_failed_submodules(load):
    load("shop.web:app", {"shop/__init__.py": "", "shop/web.py": APP, "shop/config.py": ""})
    shop, web = sys.modules["shop"], sys.modules["shop.web"]
    admin = f"import shop.extra\nshop.extra = 'set'\nfrom shop import web, parts\nparts.Thing\n{APP}"
    with pytest.raises(LoadError, match="Thing"):
        load("shop.admin:app", {"shop/admin.py": admin, "shop/parts.py": "", "shop/extra.py": ""})
    evict_failed_modules()
    assert sys.modules["shop"] is shop
    assert sys.modules["shop.web"] is shop.web is web
    assert not hasattr(shop, "parts")
    assert shop.extra == "set"
    load("shop.admin:app", {"shop/parts.py": "Thing = 1"})


def test_a_mount_of_the_same_table_shares_the_modules_of_a_failed_load(load, tmp_path):
    with pytest.raises(LoadError, match="division"):
        load("tv:app", {"tv.py": "import metrics\n1 / 0\n", "metrics.py": ""})
    metrics = sys.modules["metrics"]
    write(tmp_path, {"notes.py": f"import metrics\n{APP}"})
    app = load_app(parse_spec("notes:app"), tmp_path)  # the next mount of the same table
    assert app.__globals__["metrics"] is metrics


def test_installed_packages_below_the_root_stay_imported(load, tmp_path, monkeypatch):
    library = tmp_path / ".venv" / "lib" / "site-packages"
    write(library, {"mp_library/__init__.py": "", "mp_library/part.py": ""})
    monkeypatch.syspath_prepend(library)
    with pytest.raises(LoadError, match="division"):
        load("tv:make()", {"tv.py": "def make():\n    import mp_library.part\n    1 / 0\n"})
    evict_failed_modules()
    assert "tv" not in sys.modules
    assert sys.modules["mp_library"].part is sys.modules["mp_library.part"]


def test_the_standard_library_below_the_root_stays_imported():
    import colorsys

    evict(Path(os.__file__).parent.parent, "colorsys")
    assert sys.modules["colorsys"] is colorsys


def test_modules_of_another_root_stay_imported(load, tmp_path):
    write(tmp_path / "web", {"tv.py": ""})
    load("other:app", {"other.py": APP})
    evict(tmp_path / "web", "other")
    assert "other" in sys.modules


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_a_root_that_is_a_link_is_recognised(load, tmp_path):
    load("tv:app", {"tv.py": APP})
    (tmp_path / "link").symlink_to(tmp_path)
    evict(tmp_path / "link", "tv")
    assert "tv" not in sys.modules


@pytest.mark.parametrize(("name", "right", "wrong"), [("tv.py", ".x\n", ".y\n"), ("tv_helper.py", "= 1", "= 0")])
def test_a_fix_of_the_same_size_in_the_same_second_is_imported(load, tmp_path, monkeypatch, name, right, wrong):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    files = {"tv.py": f"import tv_helper\n1 / tv_helper.x\n{APP}", "tv_helper.py": "x = 1\n"}
    write(tmp_path, files | {name: files[name].replace(right, wrong)})
    os.utime(tmp_path / name, (1, 1))
    with pytest.raises(LoadError, match=r"division|no attribute"):
        load("tv:app", {})
    write(tmp_path, files)
    os.utime(tmp_path / name, (1, 1))
    assert load("tv:app", {}).__name__ == "app"


def test_a_new_module_is_found_in_a_folder_with_an_unchanged_mtime(load, tmp_path):
    write(tmp_path, {"tv.py": f"import tv_helper\n{APP}"})
    os.utime(tmp_path, (1, 1))
    with pytest.raises(LoadError, match="tv_helper"):
        load("tv:app", {})
    write(tmp_path, {"tv_helper.py": ""})
    os.utime(tmp_path, (1, 1))
    assert load("tv:app", {}).__name__ == "app"


def test_the_bytecode_outside_the_root_stays(tmp_path):
    other = write(tmp_path, {"other/x.py": "", "web/tv.py": ""}) / "other" / "x.py"
    compiled = Path(py_compile.compile(str(other)))
    record_failed_load(tmp_path / "web", sys.modules, [str(other)])
    evict_failed_modules()
    assert compiled.exists()


def test_a_root_below_the_standard_library_is_evicted(load, tmp_path, monkeypatch):
    load("tv:app", {"tv.py": APP})
    monkeypatch.setattr(os, "__file__", str(tmp_path.parent / "os.py"))
    evict(tmp_path, "tv")
    assert "tv" not in sys.modules


def test_a_lazy_module_is_evicted_without_being_loaded(tmp_path):
    write(tmp_path, {"mp_lazy.py": "1 / 0\n"})
    spec = importlib.util.spec_from_file_location("mp_lazy", tmp_path / "mp_lazy.py")
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    with imports_undone(tmp_path / "nothing"):
        sys.modules["mp_lazy"] = module
        spec.loader.exec_module(module)
        sys.modules["mp_strange"] = object()
        evict(tmp_path, "mp_lazy", "mp_strange")
        assert "mp_lazy" not in sys.modules
        del sys.modules["mp_strange"]
