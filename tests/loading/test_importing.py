import re
import sys

import pytest
from support.tables import imports_undone, write

from mountpoint.config.app_spec import parse_spec
from mountpoint.errors import AppRaised, LoadError, NoSuchAttribute, NoSuchModule, NotAnApp
from mountpoint.loading.importing import load_app, put_on_path

APP = "def app(environ, start_response):\n    return []\n"


@pytest.fixture
def load(tmp_path):
    """Load an app by its name: ``load("tv:app", {"tv.py": "..."})``, with the files at the root."""

    def load(text, files):
        write(tmp_path, files)
        put_on_path([str(tmp_path)])
        return load_app(parse_spec(text), tmp_path)

    with imports_undone(tmp_path):
        yield load


@pytest.fixture
def failure(load):
    """Return the failure of loading, which must be of exactly the kind that is expected."""

    def failure(kind, text, files):
        with pytest.raises(LoadError) as caught:
            load(text, files)
        assert type(caught.value) is kind, caught.value
        return caught.value

    return failure


def test_a_folder_without_code_is_told_from_an_empty_module(failure, tmp_path):
    file = tmp_path / "blog" / "blog" / "__init__.py"
    error = failure(NoSuchAttribute, "blog:make()", {"blog/blog/__init__.py": APP})
    assert str(error) == f'"blog" is a folder without an __init__.py; there is {file}: write root = "blog"'


def test_a_folder_that_holds_nothing_to_import_asks_for_a_file(failure):
    error = failure(NoSuchAttribute, "blog:app", {"blog/README": ""})
    assert str(error).endswith("; write the file that is meant, or put an __init__.py into the folder")


def test_a_module_one_folder_down_is_found_for_the_hint(failure, tmp_path):
    error = failure(NoSuchModule, "mysite.wsgi", {"mysite/mysite/wsgi.py": APP})
    assert str(error).endswith(f'; there is {tmp_path / "mysite/mysite/wsgi.py"}: write root = "mysite"')


# --------------------------------------------------------------------------------------------------------- what loads


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
def test_every_form_of_a_name_leads_to_the_app(load, text, files):
    assert load(text, files).__name__ == "app"


@pytest.mark.parametrize(
    "code",
    [
        "class app:\n    def __init__(self, environ, start_response): ...\n    def __iter__(self): return iter(())\n",
        "class App:\n    def __call__(self, environ, start_response): return []\napp = App()\n",
        "class App:\n    def run(self, environ, start_response): return []\napp = App().run\n",
        "import functools\ndef f(x, environ, start_response): return []\napp = functools.partial(f, 1)\n",
        "app = lambda environ, start_response, extra=None: []\n",
        "def app(environ, start_response):\n    yield b''\n",
        "def app(*arguments): return []\n",
    ],
    ids=["class of PEP 3333", "instance", "method", "partial", "lambda", "generator", "arguments of any number"],
)
def test_whatever_can_be_called_as_an_app_is_one(load, code):
    assert callable(load("tv:app", {"tv.py": code}))


def test_the_arguments_reach_the_factory(load):
    code = "def make(*args, **kwargs):\n    app = lambda e, s: []\n    app.given = args, kwargs\n    return app\n"
    assert load("tv:make('prod', 3, debug=True)", {"tv.py": code}).given == (("prod", 3), {"debug": True})


@pytest.mark.filterwarnings("ignore:.*pkg_resources")  # Pyramid imports it
def test_the_frameworks_apps_are_apps(load):
    code = """
        import bottle, falcon, flask
        from pyramid.config import Configurator
        from werkzeug.middleware.proxy_fix import ProxyFix
        class site:
            flask = flask.Flask("tv")
            bottle = bottle.Bottle()
            falcon = falcon.App()
            pyramid = Configurator().make_wsgi_app()
            wrapped = ProxyFix(flask)
        """
    for name in ("flask", "bottle", "falcon", "pyramid", "wrapped"):
        assert callable(load(f"tv:site.{name}", {"tv.py": code}))


# ---------------------------------------------------------------------------------------------------- no such module


def test_a_module_that_is_not_there(failure, tmp_path):
    error = failure(NoSuchModule, "tv_ws:app", {"other.py": APP})
    assert str(error) == f'no module "tv_ws" in the folder "{tmp_path}", nor installed'
    assert error.files == (str(tmp_path / "tv_ws.py"),)
    assert error.details == ""


def test_the_nearest_module_is_named(failure):
    error = failure(NoSuchModule, "tv_sw:app", {"tv_ws.py": APP, "zebra.py": ""})
    assert str(error).endswith('nor installed; did you mean "tv_ws"?')


def test_the_nearest_package_is_named_when_it_is_the_package_that_is_wrong(failure):
    error = failure(NoSuchModule, "shpo.web:app", {"shop/__init__.py": "", "shop/web.py": APP})
    assert 'no module "shpo" in the folder' in str(error)
    assert 'did you mean "shop"?' in str(error)


def test_the_nearest_module_of_a_package_is_named(failure):
    error = failure(NoSuchModule, "blog.wsgj:app", {"blog/__init__.py": "", "blog/wsgi.py": APP})
    assert 'no module "blog.wsgj"' in str(error)
    assert 'did you mean "blog.wsgi"?' in str(error)


def test_a_module_in_a_module_that_is_no_package(failure):
    error = failure(NoSuchModule, "tv.web:app", {"tv.py": APP})
    assert 'no module "tv.web"' in str(error)


@pytest.mark.parametrize("name", ["json", "time", "sys", "logging"])
def test_a_module_that_is_hidden_by_one_imported_already_is_not_mistaken_for_it(failure, tmp_path, name):
    error = failure(NoSuchModule, f"{name}:app", {f"{name}.py": APP})
    assert str(tmp_path / f"{name}.py") in str(error)
    assert "rename" in str(error)


def test_a_package_that_is_hidden_by_one_imported_already_is_not_called_missing(failure, tmp_path):
    error = failure(NoSuchModule, "json.web:app", {"json/__init__.py": "", "json/web.py": APP})
    assert str(tmp_path / "json" / "web.py") in str(error)
    assert "rename" in str(error)


# -------------------------------------------------------------------------------------------------- no such attribute


def test_an_attribute_that_is_not_there_and_what_there_is(failure, tmp_path):
    code = "import flask\nfrom flask import Flask\nsite = Flask('tv')\ndef make(): ...\n_hidden = 1\nVERSION = 3\n"
    error = failure(NoSuchAttribute, "tv:zebra", {"tv.py": code})
    assert str(error) == '"tv" has no attribute "zebra"; it has site, make'
    assert error.files == (str(tmp_path / "tv.py"),)


def test_the_nearest_attribute_is_named(failure):
    error = failure(NoSuchAttribute, "tv:create_ap()", {"tv.py": "def create_app(): ...\n"})
    assert str(error) == '"tv" has no attribute "create_ap"; did you mean "create_app"?'


def test_of_a_dotted_attribute_the_part_that_is_missing_is_named(failure):
    error = failure(NoSuchAttribute, "tv:site.zebra", {"tv.py": "class site:\n    def app(e, s): ...\n"})
    assert str(error) == '"tv:site" has no attribute "zebra"; it has app'


def test_a_module_alone_needs_an_application_or_app(failure):
    error = failure(NoSuchAttribute, "tv", {"tv.py": "def site(environ, start_response): ...\n"})
    assert str(error) == 'module "tv" has neither "application" nor "app"; it has site'


def test_an_empty_module_is_called_empty(failure):
    assert str(failure(NoSuchAttribute, "tv:app", {"tv.py": ""})) == '"tv" has no attribute "app"; it is empty'


def test_an_attribute_that_raises_is_the_app_s_own_fault(failure):
    code = "class Site:\n    @property\n    def app(self):\n        raise RuntimeError('boom')\nsite = Site()\n"
    error = failure(AppRaised, "tv:site.app", {"tv.py": code})
    assert "RuntimeError: boom" in str(error)


# ------------------------------------------------------------------------------------------------- your module raised


def frames(details):
    return re.findall(r'^  File "(.+?)", line', details, re.MULTILINE)


def test_a_module_that_raises_shows_its_own_traceback_from_its_own_first_frame(failure, tmp_path):
    files = {"tv.py": "def f():\n    return 1 / 0\nf()\n"}
    error = failure(AppRaised, "tv:app", files)
    assert str(error) == '"tv:app" could not be imported: ZeroDivisionError: division by zero'
    assert error.details.startswith("Traceback (most recent call last):\n")
    assert frames(error.details) == [str(tmp_path / "tv.py")] * 2
    assert str(tmp_path / "tv.py") in error.files


def test_a_module_that_imports_what_is_not_there_is_there_itself(failure, tmp_path):
    error = failure(AppRaised, "tv:app", {"tv.py": "import nowhere_to_be_found\n"})
    assert str(error) == (
        "\"tv:app\" could not be imported: ModuleNotFoundError: No module named 'nowhere_to_be_found'"
    )
    assert frames(error.details) == [str(tmp_path / "tv.py")]


@pytest.mark.parametrize("line", ["import tv.missing", "from tv import missing", "from .missing import x"])
def test_a_package_that_misses_a_part_of_itself_is_there(failure, tmp_path, line):
    error = failure(AppRaised, "tv.web:app", {"tv/__init__.py": "", "tv/web.py": f"{line}\n"})
    assert frames(error.details) == [str(tmp_path / "tv" / "web.py")]


def test_a_package_that_misses_the_very_module_that_is_named_says_where(failure, tmp_path):
    error = failure(AppRaised, "tv.web:app", {"tv/__init__.py": "from tv.web import app\n"})
    assert frames(error.details) == [str(tmp_path / "tv" / "__init__.py")]


def test_a_module_that_raises_in_what_it_imports_shows_both_files_and_no_machinery(failure, tmp_path):
    error = failure(AppRaised, "tv:app", {"tv.py": "import helper\n", "helper.py": "raise OSError('no disk')\n"})
    assert frames(error.details) == [str(tmp_path / "tv.py"), str(tmp_path / "helper.py")]
    assert {str(tmp_path / "tv.py"), str(tmp_path / "helper.py")} <= set(error.files)


def test_a_cause_keeps_its_own_frames(failure, tmp_path):
    code = "try:\n    import nowhere\nexcept ImportError as error:\n    raise RuntimeError('install it') from error\n"
    error = failure(AppRaised, "tv:app", {"tv.py": code})
    assert "No module named 'nowhere'" in error.details
    assert frames(error.details) == [str(tmp_path / "tv.py")] * 2


def test_a_syntax_error_shows_the_line_and_no_machinery(failure, tmp_path):
    error = failure(AppRaised, "tv:app", {"tv.py": "x = 1\ndef app(:\n"})
    assert str(error) == '"tv:app" could not be imported: SyntaxError: invalid syntax'
    assert frames(error.details) == [str(tmp_path / "tv.py")]
    assert "def app(:" in error.details
    assert str(tmp_path / "tv.py") in error.files


def test_null_bytes_in_a_module_are_its_own_fault(failure):
    assert "null bytes" in str(failure(AppRaised, "tv:app", {"tv.py": "x = '\0'\n"}))


@pytest.mark.parametrize(
    ("line", "summary"),
    [
        ("import sys; sys.exit('no database')", "SystemExit: no database"),
        ("import sys; sys.exit()", "SystemExit"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import asyncio; raise asyncio.CancelledError", "asyncio.exceptions.CancelledError"),
        ("class Stop(BaseException): pass\nraise Stop('now')", "tv.Stop: now"),
    ],
)
def test_a_module_that_would_end_the_process_only_breaks_its_mount(failure, tmp_path, line, summary):
    error = failure(AppRaised, "tv:app", {"tv.py": f"{line}\n"})
    assert str(error) == f'"tv:app" could not be imported: {summary}'
    assert frames(error.details) == [str(tmp_path / "tv.py")]


def test_ctrl_c_while_an_app_is_loaded_ends_the_loading(load):
    with pytest.raises(KeyboardInterrupt):
        load("tv:app", {"tv.py": "raise KeyboardInterrupt\n"})


def test_a_module_that_failed_is_imported_anew_the_next_time(failure, load):
    failure(AppRaised, "tv:app", {"tv.py": "1 / 0\n"})
    assert "tv" not in sys.modules
    assert callable(load("tv:app", {"tv.py": f"# mended\n{APP}"}))


@pytest.mark.parametrize(
    ("code", "summary"),
    [
        ("raise ValueError('one\\ntwo')\n", "ValueError: one"),
        ("error = ValueError('one')\nerror.add_note('a note')\nraise error\n", "ValueError: one"),
    ],
    ids=["lines", "note"],
)
def test_the_reason_is_one_line_and_the_error_s_own(failure, code, summary):
    error = failure(AppRaised, "tv:app", {"tv.py": code})
    assert str(error) == f'"tv:app" could not be imported: {summary}'


@pytest.mark.parametrize("decorator", ["", "import functools\n@functools.cache\n"], ids=["plain", "cached"])
def test_a_factory_that_raises_shows_its_own_traceback(failure, tmp_path, decorator):
    error = failure(AppRaised, "tv:make()", {"tv.py": f"{decorator}def make():\n    raise RuntimeError('boom')\n"})
    assert str(error) == '"tv:make()" raised when it was called: RuntimeError: boom'
    assert frames(error.details) == [str(tmp_path / "tv.py")]


@pytest.mark.parametrize(
    "code",
    [
        "import functools\nmake = functools.partial(int, 'x')\n",
        "make = int\n",
        "class Make:\n    def __call__(self, *a): return 1 / 0\nmake = Make()\n",
    ],
    ids=["partial", "builtin", "instance"],
)
def test_a_factory_without_a_source_file_is_told_like_any_other(failure, code):
    error = failure(AppRaised, "tv:make('x')", {"tv.py": code})
    assert "raised when it was called: " in str(error)


def test_a_factory_that_exits_only_breaks_its_mount(failure):
    error = failure(AppRaised, "tv:make()", {"tv.py": "def make():\n    raise SystemExit('no key')\n"})
    assert str(error) == '"tv:make()" raised when it was called: SystemExit: no key'


def test_a_factory_that_is_given_wrong_arguments_says_so(failure):
    error = failure(AppRaised, "tv:make('x')", {"tv.py": "def make():\n    return None\n"})
    assert str(error).startswith("\"tv:make('x')\" raised when it was called: TypeError: make() takes 0 positional")


# ------------------------------------------------------------------------------------------------------ not an app


def test_a_module_is_no_app_and_the_name_of_the_app_in_it_is_asked_for(failure):
    error = failure(NotAnApp, "tv:web", {"tv/__init__.py": "from . import web\n", "tv/web.py": APP})
    assert str(error) == '"tv:web" is a module; write "tv.web:app", with the name that the app has in it'


@pytest.mark.parametrize(
    ("value", "kind"),
    [("None", "NoneType"), ("'tv'", "str"), ("{}", "dict"), ("object()", "object")],
)
def test_what_cannot_be_called_is_named_by_its_kind(failure, value, kind):
    error = failure(NotAnApp, "tv:app", {"tv.py": f"app = {value}\n"})
    assert str(error) == f'"tv:app" is {kind}, which is not a WSGI application'


def test_an_object_that_holds_the_app_is_answered_with_the_app(failure):
    code = f"{APP}class Dash: ...\ndash = Dash()\ndash.server = app\n"
    error = failure(NotAnApp, "tv:dash", {"tv.py": code})
    assert (
        str(error) == '"tv:dash" is tv.Dash, which is not a WSGI application; its attribute is: write "tv:dash.server"'
    )


@pytest.mark.parametrize("name", ["Site", "Flask"])
def test_a_class_in_place_of_an_instance(failure, name):
    code = "from flask import Flask\nclass Site:\n    def __call__(self, environ, start_response): return []\n"
    assert str(failure(NotAnApp, f"tv:{name}", {"tv.py": code})) == (
        f'"tv:{name}" is a class; write "tv:{name}()" for an instance of it'
    )


def test_a_factory_that_returns_nothing(failure):
    error = failure(NotAnApp, "tv:make('x')", {"tv.py": "def make(name):\n    app = name\n"})
    assert str(error) == 'the factory "tv:make(\'x\')" returned None; it ends without "return app"'


def test_a_factory_that_returns_no_app(failure):
    error = failure(NotAnApp, "tv:make()", {"tv.py": "def make():\n    return 'app'\n"})
    assert str(error) == '"tv:make()" is str, which is not a WSGI application'


@pytest.mark.parametrize("parameters", ["", "name='prod'", "config=None, debug=False", "*, debug", "a, b, c"])
def test_a_factory_without_its_parentheses(failure, parameters):
    error = failure(NotAnApp, "tv:make", {"tv.py": f"def make({parameters}):\n    return None\n"})
    assert str(error) == (
        f'"tv:make" takes ({parameters}), and a WSGI application takes (environ, start_response); '
        'if it makes the app, write "tv:make()"'
    )


def test_parentheses_after_what_is_no_factory(failure):
    error = failure(NotAnApp, "tv:app()", {"tv.py": "app = 3\n"})
    assert str(error) == '"tv:app" is int, which cannot be called; remove the "()"'


def test_parentheses_after_an_app_are_told_by_what_it_says(failure):
    error = failure(AppRaised, "tv:app()", {"tv.py": APP})
    assert "missing 2 required positional arguments: 'environ' and 'start_response'" in str(error)


def test_a_blueprint_is_part_of_an_app(failure):
    code = "from flask import Blueprint\napp = Blueprint('tv', __name__)\n"
    error = failure(NotAnApp, "tv:app", {"tv.py": code})
    assert str(error) == '"tv:app" is a Flask Blueprint, a part of an app; register it on a Flask() and name that'


@pytest.mark.parametrize(
    "code",
    [
        "from starlette.applications import Starlette\napp = Starlette()\n",
        "import falcon.asgi\napp = falcon.asgi.App()\n",
        "async def app(scope, receive, send): ...\n",
        "async def app(environ, start_response): ...\n",
        "class App:\n    async def __call__(self, scope, receive, send): ...\napp = App()\n",
        "import functools\nasync def f(x, scope, receive, send): ...\napp = functools.partial(f, 1)\n",
    ],
    ids=["Starlette", "Falcon", "function", "function of two", "instance", "partial"],
)
def test_an_asgi_app_is_recognised(failure, code):
    error = failure(NotAnApp, "tv:app", {"tv.py": code})
    assert str(error).startswith('"tv:app" is an ASGI app (')
    assert str(error).endswith(
        "and mountpoint serves WSGI apps; serve it with an ASGI server, "
        "or wrap it in a2wsgi's ASGIMiddleware and name that"
    )


def test_a_factory_that_is_a_coroutine_is_no_factory(failure):
    error = failure(NotAnApp, "tv:make()", {"tv.py": "async def make():\n    return None\n"})
    assert "async" in str(error)


def test_a_proxy_that_stands_for_nothing_yet_breaks_only_its_mount(load):
    with pytest.raises(LoadError):
        load("tv:app", {"tv.py": "from flask import current_app as app\n"})
