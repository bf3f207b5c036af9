"""An app is found by its spec; a missing module or attribute gets advice."""

import pytest
from support.tables import APP

from mountpoint.errors import AppRaised, NoSuchAttribute, NoSuchModule

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
    assert str(error).startswith(f'expected "{name}" to be {tmp_path / f"{name}.py"}, but ')
    assert str(error).endswith(" is already imported under that name; rename one of the two")


def test_a_package_named_like_an_imported_one_is_reported_as_a_clash(failure, tmp_path):
    error = failure(NoSuchModule, "json.web:app", {"json/__init__.py": "", "json/web.py": APP})
    assert str(tmp_path / "json" / "web.py") in str(error)
    assert "rename" in str(error)


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
