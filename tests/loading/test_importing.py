"""An app is found by its spec; a missing module or attribute gets advice."""

import sys

import pytest
from support.tables import APP, imports_undone, write

from mountpoint.config.app_spec import parse_spec
from mountpoint.errors import AppRaised, NoSuchAttribute, NoSuchModule
from mountpoint.loading.importing import load_app
from mountpoint.loading.sys_path import SysPath

# ------------------------------------------------------------------------------------------------------ apps that load


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("tv:app", {"tv.py": APP}),
        ("tv.web:app", {"tv/__init__.py": "", "tv/web.py": APP}),
        ("tv.web:app", {"tv/web.py": APP}),  # a namespace package
        ("tv", {"tv.py": APP}),
        ("tv", {"tv.py": f"{APP}application = app\napp = None\n"}),
        ("tv.py:app", {"tv.py": APP}),
        ("tv.py", {"tv.py": APP}),
        ("tv:site.app", {"tv.py": f"{APP}class site:\n    app = app\n"}),
        ("tv:make()", {"tv.py": f"{APP}def make():\n    return app\n"}),
        ("tv:site.make('x', debug=True)", {"tv.py": f"{APP}class site:\n    make = lambda name, debug: app\n"}),
    ],
)
def test_every_form_of_a_spec_loads_the_app(load, text, files):
    assert load(text, files).__name__ == "app"


def test_the_factory_gets_the_arguments_of_the_spec(load):
    code = "def make(*args, **kwargs):\n    app = lambda e, s: []\n    app.given = args, kwargs\n    return app\n"
    assert load("tv:make('prod', 3, debug=True)", {"tv.py": code}).given == (("prod", 3), {"debug": True})


# ---------------------------------------------------------------------------------------------------- no such module


def test_a_missing_module_is_named_with_its_folder(failure, tmp_path):
    error = failure(NoSuchModule, "tv_ws:app", {"other.py": APP})
    assert str(error) == f'no module "tv_ws" in the folder "{tmp_path}", nor installed'
    assert error.files == (str(tmp_path / "tv_ws.py"),)
    assert error.details == ""


def test_a_misspelled_module_gets_the_nearest_name(failure):
    error = failure(NoSuchModule, "tv_sw:app", {"tv_ws.py": APP, "zebra.py": ""})
    assert str(error).endswith('nor installed; did you mean "tv_ws"?')


def test_a_misspelled_package_gets_the_nearest_name(failure):
    error = failure(NoSuchModule, "shpo.web:app", {"shop/__init__.py": "", "shop/web.py": APP})
    assert 'no module "shpo" in the folder' in str(error)
    assert 'did you mean "shop"?' in str(error)


def test_a_misspelled_submodule_gets_the_nearest_name(failure):
    error = failure(NoSuchModule, "blog.wsgj:app", {"blog/__init__.py": "", "blog/wsgi.py": APP})
    assert 'no module "blog.wsgj"' in str(error)
    assert 'did you mean "blog.wsgi"?' in str(error)


def test_a_module_that_is_not_a_package_has_no_submodules(failure):
    error = failure(NoSuchModule, "tv.web:app", {"tv.py": APP})
    assert 'no module "tv.web"' in str(error)


@pytest.mark.parametrize("name", ["json", "time", "sys", "logging"])
def test_a_module_named_like_an_imported_one_is_reported_as_a_clash(failure, tmp_path, name):
    error = failure(NoSuchModule, f"{name}:app", {f"{name}.py": APP})
    file = tmp_path / f"{name}.py"
    assert str(error) == (
        f'expected "{name}" to be {file}, but "{name}" is a module of Python\'s standard library; '
        f'rename the file "{file}"'
    )


@pytest.mark.parametrize("files", [{"site/__init__.py": "", "site/wsgi.py": APP}, {"site/wsgi.py": APP}])
def test_a_package_named_like_a_module_of_python_gets_advice_to_rename_its_folder(failure, tmp_path, files):
    error = failure(NoSuchModule, "site.wsgi:app", files)
    assert str(error) == (
        f'expected "site.wsgi" to be {tmp_path / "site" / "wsgi.py"}, but "site" is a module of Python\'s standard '
        f'library; rename the folder "{tmp_path / "site"}"'
    )


def test_a_module_named_like_an_installed_package_gets_advice_to_rename_it(failure, tmp_path):
    error = failure(NoSuchModule, "pytest:app", {"pytest.py": APP})
    assert str(error).endswith(f'"pytest" is an installed package; rename the file "{tmp_path / "pytest.py"}"')


def test_a_module_that_another_root_has_imported_is_named(failure, load, tmp_path):
    load("tv:app", {"tv.py": APP})
    other = tmp_path / "other"
    with pytest.raises(NoSuchModule, match="is already imported under that name; rename one of the two"):
        load_app(parse_spec("tv:app"), write(other, {"tv.py": APP}))


@pytest.mark.parametrize(("spec", "name"), [("json:app", "json"), ("json", "json"), ("pytest:site", "pytest")])
def test_a_module_from_elsewhere_is_named_as_such(failure, tmp_path, spec, name):
    whose = "an installed package" if name == "pytest" else "a module of Python's standard library"
    error = failure(NoSuchAttribute, spec, {})
    assert str(error).endswith(f'; "{name}" is {whose}, and "{tmp_path}" has no such module')


def test_a_package_named_like_an_imported_one_is_reported_as_a_clash(failure, tmp_path):
    error = failure(NoSuchModule, "json.web:app", {"json/__init__.py": "", "json/web.py": APP})
    assert str(tmp_path / "json" / "web.py") in str(error)
    assert "rename" in str(error)


# ------------------------------------------------------------------------------------------- a file, named directly


@pytest.mark.parametrize(
    ("spec", "files", "advice"),
    [
        ("hello.py:app", {}, ""),
        ("hello.py:app", {"helo.py": APP, "zebra.py": APP}, '; did you mean "helo.py"?'),
        ("hello.py:app", {"hi/hello.py": APP}, '; there is <root>/hi/hello.py: write "hi/hello.py:app"'),
        (
            "hello.py:app",
            {"hello/__init__.py": APP},
            '; there is <root>/hello/__init__.py: write "hello/__init__.py:app"',
        ),
        ("hello.py", {"helo.py": APP}, '; did you mean "helo.py"?'),
        ("json.py:app", {}, ""),
    ],
    ids=["nothing", "similar", "in a folder", "a package", "no attribute", "a name of the standard library"],
)
def test_a_file_that_does_not_exist_is_reported_as_a_file(failure, tmp_path, spec, files, advice):
    file = tmp_path / spec.partition(":")[0]
    error = failure(NoSuchModule, spec, files)
    expected = advice.replace("<root>", str(tmp_path))
    assert str(error) == f'expected the file "{file}", found no such file{expected}'
    assert error.files == (str(file),)


def test_a_folder_with_the_name_of_a_file_is_reported(failure):
    assert 'hello.py", found a folder' in str(failure(NoSuchModule, "hello.py:app", {"hello.py/x.txt": ""}))


@pytest.mark.parametrize(
    ("spec", "folder", "files", "advice"),
    [
        ("shop/web.py:app", "shop", {"shop/web.py": "from .db import x"}, 'app = "shop.web:app"'),
        ("shop/web.py:make('a.py:b')", "shop", {"shop/web.py": "from . import x"}, "app = \"shop.web:make('a.py:b')\""),
        ("shop/web.py", "shop", {"shop/web.py": "from .db import x"}, 'app = "shop.web"'),
        (
            "apps/shop/web.py:app",
            "apps/shop",
            {"apps/shop/web.py": "from .db import x"},
            'app = "shop.web:app", and root = "<root>/apps"',
        ),
        (
            "apps/shop/web.py:app",
            "apps/shop",
            {"apps/__init__.py": "", "apps/shop/__init__.py": "", "apps/shop/web.py": "from .db import x"},
            'app = "apps.shop.web:app"',
        ),
        (
            "apps/shop/web.py:app",
            "apps/shop",
            {"apps/shop/web.py": "from ..db import x"},
            'app = "apps.shop.web:app"',
        ),
        ("web:app", "shop", {"shop/web.py": "from .db import x"}, 'app = "shop.web:app", and root = "<root>"'),
        (
            "shop.web:app",
            "site1",
            {"site1/shop/__init__.py": "", "site1/shop/web.py": "from ..db import x"},
            'app = "site1.shop.web:app", and root = "<root>"',
        ),
        (
            "shop.web:app",
            "site1",
            {
                "site1/shop/__init__.py": "",
                "site1/shop/web.py": "from . import b",
                "site1/shop/b.py": "from ..db import x",
            },
            'app = "site1.shop.web:app", and root = "<root>"',
        ),
    ],
)
def test_relative_imports_get_the_name_of_the_module_in_its_package(tmp_path, spec, folder, files, advice):
    write(tmp_path, files)
    SysPath().set_roots([tmp_path / folder])
    with imports_undone(tmp_path), pytest.raises(AppRaised) as caught:
        load_app(parse_spec(spec), tmp_path / folder)
    expected = advice.replace("<root>", str(tmp_path))
    assert caught.value.details == ""
    assert str(caught.value).endswith(
        f"; it uses relative imports, so name it as a part of its package: write {expected}"
    )


@pytest.mark.parametrize(
    ("spec", "folder", "files", "advice"),
    [
        (
            "own_store/web.py:app",
            "own_store",
            {"own_store/web.py": "import own_store.db"},
            'app = "own_store.web:app", and root = "<root>"',
        ),
        (
            "own_store/web.py",
            "own_store",
            {"own_store/web.py": "from own_store import db"},
            'app = "own_store.web", and root = "<root>"',
        ),
        (
            "web:make('x')",
            "own_store/api",
            {"own_store/api/web.py": "from own_store.db import x"},
            'app = "own_store.api.web:make(\'x\')", and root = "<root>"',
        ),
    ],
)
def test_an_import_of_its_own_package_gets_the_name_of_the_module_in_it(tmp_path, spec, folder, files, advice):
    write(tmp_path, files)
    SysPath().set_roots([tmp_path / folder])
    with imports_undone(tmp_path), pytest.raises(AppRaised) as caught:
        load_app(parse_spec(spec), tmp_path / folder)
    assert caught.value.details == ""
    expected = advice.replace("<root>", str(tmp_path))
    assert str(caught.value).endswith(f"so name the app as a part of it: write {expected}")


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("import nowhere_at_all", f'that contains "nowhere_at_all": {sys.executable} -m pip install PACKAGE'),
        ("import nowhere_at_all.x", "; install the package"),
        ("import importlib\nimportlib.import_module('nowhere_at_all')", ""),
        ("import helper_of_tw", '; did you mean "helper_of_tv"?'),
        ("import html.nowhere_at_all", ""),
        ("def app(): import nowhere_at_all", "; install the package"),
    ],
)
def test_a_missing_import_of_an_app_gets_advice(failure, code, hint):
    spec = "tv:app()" if "def app" in code else "tv:app"
    text = str(failure(AppRaised, spec, {"tv.py": code, "helper_of_tv.py": ""}))
    assert (hint in text) if hint else text.endswith("'"), text


@pytest.mark.parametrize(
    ("code", "has_advice"),
    [
        ("import os\nos.environ['NOWHERE_SET']", True),
        ("import os\ndef app(): os.environ['NOWHERE_SET']", True),
        ("import os\nclass Settings:\n    url = os.environ['NOWHERE_SET']", True),
        ("{}['NOWHERE_SET']", False),
        ("import os\nos.environ['NOWHERE SET']", False),
    ],
)
def test_a_variable_that_is_not_set_gets_advice(failure, code, has_advice):
    text = str(failure(AppRaised, "tv:app()" if "def app" in code else "tv:app", {"tv.py": code}))
    advice = '; set this environment variable, or write env = { NOWHERE_SET = "value" } into the table of the mount'
    assert text.endswith(advice) if has_advice else text.endswith("SET'"), text


@pytest.mark.parametrize("name", [".venv", "venv", "shop/.venv"])
@pytest.mark.parametrize("library", ["library/__init__.py", "library.py"])
@pytest.mark.parametrize(
    ("error", "spec"), [(AppRaised, "tv.py:app"), (NoSuchModule, "library:app"), (NoSuchAttribute, "library:app")]
)
def test_a_module_of_another_environment_gets_its_interpreter(failure, tmp_path, name, library, error, spec):
    environment = tmp_path / name
    files = {f"{name}/bin/python": "", f"{name}/lib/python3.9/site-packages/{library}": "", "tv.py": "import library"}
    if error is NoSuchAttribute:
        files["library/data.txt"] = ""  # Python takes this folder for a package without an __init__.py
    text = str(failure(error, spec, files))
    assert text.endswith(f'; the environment {environment} has it: write python = "{environment}/bin/python"')


def test_the_interpreter_that_lacks_a_module_is_not_advised(failure, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    files = {".venv/bin/python": "", ".venv/lib/python3.9/site-packages/library.py": "", "tv.py": "import library"}
    assert "; install the package" in str(failure(AppRaised, "tv.py:app", files))


@pytest.mark.parametrize("spec", ["tv:app", "tv:app()"])
@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("import argparse\np = argparse.ArgumentParser()\np.add_argument('--x', required=True)\np.parse_args()", True),
        ("import optparse\noptparse.OptionParser().error('no')", True),
        ("import argparse, sys\nsys.exit(2)", False),
    ],
)
def test_an_app_that_parses_its_arguments_gets_advice(failure, capsys, spec, code, hint):
    if spec == "tv:app()":
        code = "def app():\n" + "".join(f"    {line}\n" for line in code.splitlines())
    text = str(failure(AppRaised, spec, {"tv.py": code}))
    advice = '; it parses sys.argv, so write its arguments, such as argv = ["--quiet"], which need process = "own"'
    assert text.endswith("SystemExit: 2" + advice if hint else "SystemExit: 2")


@pytest.mark.parametrize(
    ("spec", "code", "advice"),
    [
        ("tv:app()", "def app(environ, start_response): pass", '; it is a WSGI app already: write "tv:app"'),
        ("tv.py:make()", "def make(config): pass", '; it takes (config): write "tv.py:make(config=...)"'),
        ("tv:make('(x)', y=2)", "def make(): pass", '; it takes (): write "tv:make()"'),
        ("tv:make()", "def make(): return divmod(1)", "got 1"),
    ],
)
def test_a_call_with_the_wrong_arguments_gets_the_call_to_write(failure, spec, code, advice):
    error = failure(AppRaised, spec, {"tv.py": code})
    assert str(error).endswith(advice), error


def test_a_file_with_another_suffix_is_to_be_renamed(failure):
    error = failure(NoSuchModule, "site.wsgi:application", {"site.wsgi": ""})
    assert str(error).endswith('rename "site.wsgi" to "site_wsgi.py", and write "site_wsgi.py:application"')


def test_a_package_whose_folder_has_no_python_name_is_to_be_renamed(tmp_path):
    write(tmp_path, {"my-shop/web.py": "from .db import x"})
    SysPath().set_roots([tmp_path / "my-shop"])
    with imports_undone(tmp_path), pytest.raises(AppRaised, match='rename "my-shop" to "my_shop", for example'):
        load_app(parse_spec("my-shop/web.py:app"), tmp_path / "my-shop")


def test_a_relative_import_in_another_module_gets_no_advice(failure):
    error = failure(AppRaised, "tv:app", {"tv.py": "import helpers_of_tv", "helpers_of_tv.py": "from .db import x"})
    assert str(error).endswith("attempted relative import with no known parent package")


# -------------------------------------------------------------------------------------------------- no such attribute


def test_a_missing_attribute_is_reported_with_the_names_there_are(failure, tmp_path):
    code = "import flask\nfrom flask import Flask\nsite = Flask('tv')\ndef make(): ...\n_hidden = 1\nVERSION = 3\n"
    error = failure(NoSuchAttribute, "tv:zebra", {"tv.py": code})
    assert str(error) == '"tv" has no attribute "zebra"; it has site, make'
    assert error.files == (str(tmp_path / "tv.py"),)


def test_a_misspelled_attribute_gets_the_nearest_name(failure):
    error = failure(NoSuchAttribute, "tv:create_ap()", {"tv.py": "def create_app(): ...\n"})
    assert str(error) == '"tv" has no attribute "create_ap"; did you mean "create_app"?'


def test_the_missing_part_of_a_dotted_attribute_is_named(failure):
    error = failure(NoSuchAttribute, "tv:site.zebra", {"tv.py": "class site:\n    def app(e, s): ...\n"})
    assert str(error) == '"tv:site" has no attribute "zebra"; it has app'


def test_a_spec_without_attribute_needs_application_or_app(failure):
    error = failure(NoSuchAttribute, "tv", {"tv.py": "def site(environ, start_response): ...\n"})
    assert str(error) == 'module "tv" has neither "application" nor "app"; it has site'


def test_a_spec_without_attribute_gets_that_of_the_only_app(failure):
    code = "from flask import Flask, request\nsite = Flask('tv')\nnumber = 3\n"
    error = failure(NoSuchAttribute, "tv", {"tv.py": code})
    assert str(error) == 'module "tv" has neither "application" nor "app"; write "tv:site"'


def test_an_empty_module_is_reported_as_empty(failure):
    assert str(failure(NoSuchAttribute, "tv:app", {"tv.py": ""})) == '"tv" has no attribute "app"; it is empty'


def test_an_attribute_that_raises_is_reported_as_app_raised(failure):
    code = "class Site:\n    @property\n    def app(self):\n        raise RuntimeError('boom')\nsite = Site()\n"
    error = failure(AppRaised, "tv:site.app", {"tv.py": code})
    assert "RuntimeError: boom" in str(error)


# ------------------------------------------------------------------------------------------------------ advice on root


def test_a_module_one_folder_down_gets_advice_to_set_root(failure, tmp_path):
    error = failure(NoSuchModule, "mysite.wsgi", {"mysite/mysite/wsgi.py": APP})
    assert str(error).endswith(f'; there is {tmp_path / "mysite/mysite/wsgi.py"}: write root = "mysite"')


def test_a_folder_without_init_gets_advice_to_set_root(failure, tmp_path):
    file = tmp_path / "blog" / "blog" / "__init__.py"
    error = failure(NoSuchAttribute, "blog:make()", {"blog/blog/__init__.py": APP})
    assert str(error) == f'"blog" is a folder without an __init__.py; there is {file}: write root = "blog"'


def test_a_folder_with_nothing_to_import_gets_advice_to_name_a_module(failure):
    error = failure(NoSuchAttribute, "blog:app", {"blog/README": ""})
    assert str(error).endswith("; name a module inside the folder, or add an __init__.py to it")
