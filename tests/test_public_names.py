"""The public names of the package, and the side effects that its import does not have."""

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.wsgi_calls import never_called

import mountpoint
from mountpoint import errors

#: The module that defines each public name.
NAMES = {
    "AppRaised": "mountpoint.errors",
    "ConcurrencyLimit": "mountpoint.wsgi.limits",
    "Config": "mountpoint.config.reader",
    "ConfigError": "mountpoint.errors",
    "Dispatcher": "mountpoint.wsgi.dispatch",
    "JsonFormatter": "mountpoint.loading.json_log",
    "LoadError": "mountpoint.errors",
    "Match": "mountpoint.wsgi.table",
    "Mount": "mountpoint.wsgi.table",
    "MountTable": "mountpoint.wsgi.table",
    "MountpointError": "mountpoint.errors",
    "NoSuchAttribute": "mountpoint.errors",
    "NoSuchModule": "mountpoint.errors",
    "NotAnApp": "mountpoint.errors",
    "ServeError": "mountpoint.errors",
    "TrustedProxies": "mountpoint.wsgi.proxies",
    "UnreadableError": "mountpoint.errors",
    "UsageError": "mountpoint.errors",
    "load": "mountpoint.loading.loader",
    "load_config": "mountpoint.config.reader",
    "serve": "mountpoint.lifecycle.serve",
}
#: The names that are imported at their first use, since they need tomllib, waitress or the loading of apps.
LAZY = {"Config", "JsonFormatter", "load", "load_config", "serve"}
#: Names that the file of the package imports for its own use.
OWN_IMPORTS = {"TYPE_CHECKING", "annotations", "import_module"}
MANUAL = Path(mountpoint.__file__).parent / "docs" / "embedding.md"


def output_of(code):
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60).stdout


# ------------------------------------------------------------------------------------------------------------ each name


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_comes_from_its_module(name):
    value = getattr(mountpoint, name)
    assert (value.__name__, value.__module__) == (name, NAMES[name])
    assert value is getattr(importlib.import_module(NAMES[name]), name)
    assert name in dir(mountpoint)


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_has_a_docstring_of_its_own(name):
    value = getattr(mountpoint, name)
    docstrings = [vars(base).get("__doc__") for base in value.__mro__[1:]] if inspect.isclass(value) else []
    assert value.__doc__
    assert value.__doc__ not in docstrings
    assert not value.__doc__.startswith(f"{name}("), "a dataclass made it"


@pytest.mark.parametrize("name", NAMES)
def test_every_public_method_has_a_docstring(name):
    value = getattr(mountpoint, name)
    methods = vars(value).items() if inspect.isclass(value) else []
    functions = [(method, getattr(function, "__func__", function)) for method, function in methods]
    functions = [(method, getattr(function, "fget", function)) for method, function in functions]
    assert [
        method
        for method, function in functions
        if inspect.isfunction(function) and not method.startswith("_") and not function.__doc__
    ] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_type_checker_sees_the_public_name(name):
    assert f"from {NAMES[name].replace('mountpoint', '', 1)} import {name} as {name}" in imports_of_the_package()


def test_only_the_lazy_names_are_missing_after_the_import():
    at_once = output_of("import mountpoint; print(*vars(mountpoint))").split()
    assert set(NAMES) - set(at_once) == LAZY


@pytest.mark.parametrize("name", sorted(LAZY))
def test_a_lazy_name_imports_its_module_at_its_first_use(name):
    code = (
        f"import sys, mountpoint; before = {NAMES[name]!r} in sys.modules; mountpoint.{name};"
        f" print(before, {NAMES[name]!r} in sys.modules)"
    )
    assert output_of(code).split() == ["False", "True"]


@pytest.mark.skipif(not MANUAL.exists(), reason="the manual has no page about embedding yet")
@pytest.mark.parametrize("name", NAMES)
def test_the_manual_page_about_embedding_has_the_public_name(name):
    assert re.search(rf"`{name}[`(]", MANUAL.read_text(encoding="utf-8"))


def test_the_public_names_are_these():
    modules = {name for _, name, _ in pkgutil.iter_modules(mountpoint.__path__)}
    assert {name for name in dir(mountpoint) if not name.startswith("_")} - modules - OWN_IMPORTS == set(NAMES)


def imports_of_the_package():
    """Return each ``from module import name as name`` in the file of the package."""
    tree = ast.parse(Path(mountpoint.__file__).read_text(encoding="utf-8"))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
    return [ast.unparse(node) for node in found]


# --------------------------------------------------------------------------------------------------- the package itself


@pytest.mark.parametrize("statement", ["import mountpoint", "from mountpoint import Dispatcher, Mount, MountTable"])
def test_the_dispatcher_alone_needs_neither_server_nor_configuration(statement):
    heavy = {
        "argparse",
        "hupper",
        "logging",
        "tomllib",
        "waitress",
        "werkzeug",
        "mountpoint.config.reader",
        "mountpoint.lifecycle.serve",
    }
    code = (
        f"import sys; before = set(sys.modules); {statement}; print(*sorted({heavy!r} & (set(sys.modules) - before)))"
    )
    assert output_of(code).split() == []


def test_the_import_of_the_server_loads_neither_openssl_nor_compression():
    slow = {"hashlib", "secrets", "ssl", "bz2", "lzma", "shutil", "tempfile"}
    code = (
        "import sys; before = set(sys.modules); import mountpoint.lifecycle.serve;"
        f" print(*sorted({slow!r} & (set(sys.modules) - before)))"
    )
    assert output_of(code).split() == []


def test_importing_it_changes_nothing_in_the_process():
    code = (
        "import os, signal, sys, threading, warnings\n"
        "def state(): return (list(sys.path), dict(os.environ), threading.active_count(), warnings.filters[:],"
        " signal.getsignal(signal.SIGINT), sys.excepthook, os.getcwd())\n"
        "before = state(); import mountpoint; mountpoint.load_config; mountpoint.serve; print(state() == before)"
    )
    assert output_of(code).strip() == "True"


def test_every_exception_is_a_mountpoint_error():
    ours = {value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, Exception)}
    assert ours == {value for value in ours if issubclass(value, mountpoint.MountpointError)}
    assert issubclass(mountpoint.ConfigError, ValueError)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"^module 'mountpoint' has no attribute 'Mounts'$"):
        mountpoint.Mounts  # noqa: B018
    assert not hasattr(mountpoint, "__wrapped__")


# ----------------------------------------------------------------------------------------------------------- docstrings


def modules():
    """Return every module of the package, without the one that runs the command at its import."""
    names = [name for _, name, _ in pkgutil.walk_packages(mountpoint.__path__, "mountpoint.")]
    return [importlib.import_module(name) for name in names if name != "mountpoint.__main__"]


def test_every_example_in_a_docstring_is_true():
    apps = dict.fromkeys(("app", "tv_ws", "other", "home", "shop", "admin"), never_called)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    report, tried = [], set()
    for module in modules():
        before = runner.tries
        for test in doctest.DocTestFinder().find(module, extraglobs=apps):
            runner.run(test, out=report.append)
        if runner.tries > before:
            tried.add(module.__name__)
    assert runner.failures == 0, "".join(report)
    with_examples = {module.__name__ for module in modules() if ">>> " in inspect.getsource(module)}
    assert tried == with_examples
    assert {"mountpoint.errors", "mountpoint.wsgi.table", "mountpoint.doctor.fixes"} <= tried
