"""What ``import mountpoint`` gives, and what it leaves alone."""

import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest
from support.wsgi_calls import never_called

import mountpoint
from mountpoint import errors

NAMES = [
    "AppRaised",
    "ConcurrencyLimit",
    "Config",
    "ConfigError",
    "Dispatcher",
    "LoadError",
    "Match",
    "Mount",
    "MountTable",
    "MountpointError",
    "NoSuchAttribute",
    "NoSuchModule",
    "NotAnApp",
    "ServeError",
    "TrustedProxies",
    "UnreadableError",
    "UsageError",
    "load",
    "load_config",
    "serve",
]


def output_of(code):
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60).stdout


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


def test_importing_it_changes_nothing_in_the_process():
    code = (
        "import os, signal, sys, threading, warnings\n"
        "def state(): return (list(sys.path), dict(os.environ), threading.active_count(), warnings.filters[:],"
        " signal.getsignal(signal.SIGINT), sys.excepthook, os.getcwd())\n"
        "before = state(); import mountpoint; mountpoint.load_config; mountpoint.serve; print(state() == before)"
    )
    assert output_of(code).strip() == "True"


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_there_and_says_what_it_is(name):
    value = getattr(mountpoint, name)
    assert value.__name__ == name
    assert value.__module__.startswith("mountpoint.")
    assert inspect.getdoc(value)
    assert value.__doc__ != getattr(value.__base__, "__doc__", None) if inspect.isclass(value) else True
    assert name in dir(mountpoint)


@pytest.mark.parametrize("name", NAMES)
def test_every_public_method_has_a_docstring(name):
    value = getattr(mountpoint, name)
    methods = vars(value).items() if inspect.isclass(value) else []
    assert [
        method
        for method, function in methods
        if inspect.isfunction(function) and not method.startswith("_") and not function.__doc__
    ] == []


def test_the_public_names_are_these():
    exported = {
        name
        for name in dir(mountpoint)
        if not name.startswith("_") and getattr(getattr(mountpoint, name), "__module__", "").startswith("mountpoint.")
    }
    assert exported == set(NAMES)


def test_every_exception_is_a_mountpoint_error():
    ours = {value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, Exception)}
    assert ours == {value for value in ours if issubclass(value, mountpoint.MountpointError)}
    assert issubclass(mountpoint.ConfigError, ValueError)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"^module 'mountpoint' has no attribute 'Mounts'$"):
        mountpoint.Mounts  # noqa: B018
    assert not hasattr(mountpoint, "__wrapped__")


def modules():
    """Return every module of the package, in its rooms too, but for the one that runs the command when imported."""
    names = [name for _, name, _ in pkgutil.walk_packages(mountpoint.__path__, "mountpoint.")]
    return [importlib.import_module(name) for name in names if name != "mountpoint.__main__"]


def test_every_example_in_a_docstring_is_true():
    apps = dict.fromkeys(("app", "tv_ws", "other", "home", "shop", "admin"), never_called)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    said, tried = [], set()
    for module in modules():
        before = runner.tries
        for test in doctest.DocTestFinder().find(module, extraglobs=apps):
            runner.run(test, out=said.append)
        if runner.tries > before:
            tried.add(module.__name__)
    assert runner.failures == 0, "".join(said)
    with_examples = {module.__name__ for module in modules() if ">>> " in inspect.getsource(module)}
    assert tried == with_examples
    assert {"mountpoint.errors", "mountpoint.wsgi.table", "mountpoint.doctor.fixes"} <= tried
