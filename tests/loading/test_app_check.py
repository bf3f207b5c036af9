"""An object that is not a WSGI application is rejected with the change to make."""

import pytest
from support.tables import APP

from mountpoint.errors import AppRaised, NotAnApp


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
        "app = max\n",
    ],
    ids=["class of PEP 3333", "instance", "method", "partial", "lambda", "generator", "any number", "no signature"],
)
def test_every_callable_of_two_arguments_is_an_app(load, code):
    assert callable(load("tv:app", {"tv.py": code}))


@pytest.mark.filterwarnings("ignore:.*pkg_resources")  # Pyramid imports it
def test_the_apps_of_the_frameworks_load(load):
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


# ---------------------------------------------------------------------------------------------- objects of other kinds


def test_a_module_is_rejected_with_the_spec_of_an_app_in_it(failure):
    error = failure(NotAnApp, "tv:web", {"tv/__init__.py": "from . import web\n", "tv/web.py": APP})
    assert str(error) == '"tv:web" is a module; write "tv.web:app", where "app" is the name of the app in it'


@pytest.mark.parametrize(
    ("value", "kind"),
    [("None", "NoneType"), ("'tv'", "str"), ("{}", "dict"), ("object()", "object")],
)
def test_an_object_that_cannot_be_called_is_rejected_with_its_type(failure, value, kind):
    error = failure(NotAnApp, "tv:app", {"tv.py": f"app = {value}\n"})
    assert str(error) == f'"tv:app" is an object of type {kind}, which is not a WSGI application'


def test_an_object_that_holds_an_app_gets_the_spec_of_that_app(failure):
    code = f"{APP}class Dash: ...\ndash = Dash()\ndash.server = app\n"
    error = failure(NotAnApp, "tv:dash", {"tv.py": code})
    assert str(error) == (
        '"tv:dash" is an object of type tv.Dash, which is not a WSGI application; '
        'its attribute "server" is callable: write "tv:dash.server"'
    )


@pytest.mark.parametrize("name", ["Site", "Flask"])
def test_a_class_with_callable_instances_gets_the_spec_of_an_instance(failure, name):
    code = "from flask import Flask\nclass Site:\n    def __call__(self, environ, start_response): return []\n"
    assert str(failure(NotAnApp, f"tv:{name}", {"tv.py": code})) == (
        f'"tv:{name}" is a class with callable instances; write "tv:{name}()" to mount an instance'
    )


def test_a_factory_that_returns_none_is_reported(failure):
    error = failure(NotAnApp, "tv:make('x')", {"tv.py": "def make(name):\n    app = name\n"})
    assert str(error) == 'the factory "tv:make(\'x\')" returned None; write "return app" at its end'


def test_a_factory_that_returns_a_string_is_reported(failure):
    error = failure(NotAnApp, "tv:make()", {"tv.py": "def make():\n    return 'app'\n"})
    assert str(error) == '"tv:make()" is an object of type str, which is not a WSGI application'


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("class Site:\n    server = app\n", "is an object of type tv.Site, which is not a WSGI application"),
        (
            "class Site:\n    def __call__(self, scope): ...\n",
            "takes (scope), but a WSGI application takes (environ, start_response)",
        ),
    ],
    ids=["not callable", "wrong parameters"],
)
def test_the_result_of_a_factory_gets_no_advice_on_the_spec(failure, code, message):
    error = failure(NotAnApp, "tv:make()", {"tv.py": f"{APP}{code}\ndef make():\n    return Site()\n"})
    assert str(error) == f'"tv:make()" {message}'


def test_a_factory_that_returns_a_class_gets_advice_to_return_an_instance(failure):
    code = "class Site:\n    def __call__(self, environ, start_response): ...\ndef make():\n    return Site\n"
    error = failure(NotAnApp, "tv:make()", {"tv.py": code})
    assert str(error) == '"tv:make()" is a class with callable instances; return an instance of it'


@pytest.mark.parametrize("parameters", ["", "name='prod'", "config=None, debug=False", "*, debug", "a, b, c"])
def test_a_factory_without_parentheses_gets_the_spec_with_them(failure, parameters):
    error = failure(NotAnApp, "tv:make", {"tv.py": f"def make({parameters}):\n    return None\n"})
    assert str(error) == (
        f'"tv:make" takes ({parameters}), but a WSGI application takes (environ, start_response); '
        'if it is a factory that returns the app, write "tv:make()"'
    )


def test_parentheses_after_an_object_that_cannot_be_called(failure):
    error = failure(NotAnApp, "tv:app()", {"tv.py": "app = 3\n"})
    assert str(error) == '"tv:app" is an object of type int, which cannot be called; remove the "()"'


def test_parentheses_after_an_app_show_its_missing_arguments(failure):
    error = failure(AppRaised, "tv:app()", {"tv.py": APP})
    assert "missing 2 required positional arguments: 'environ' and 'start_response'" in str(error)


def test_a_blueprint_is_rejected(failure):
    code = "from flask import Blueprint\napp = Blueprint('tv', __name__)\n"
    error = failure(NotAnApp, "tv:app", {"tv.py": code})
    assert str(error) == (
        '"tv:app" is a Flask Blueprint, only a part of an app; register it on a Flask app and name that'
    )


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
def test_an_asgi_app_is_rejected(failure, code):
    error = failure(NotAnApp, "tv:app", {"tv.py": code})
    assert str(error).startswith('"tv:app" is an ASGI app (')
    assert str(error).endswith(
        ", but mountpoint serves WSGI apps; serve it with an ASGI server, "
        "or wrap it in a2wsgi's ASGIMiddleware and name the wrapper"
    )


def test_a_coroutine_function_is_rejected_as_a_factory(failure):
    error = failure(NotAnApp, "tv:make()", {"tv.py": "async def make():\n    return None\n"})
    assert str(error) == 'the factory "tv:make()" is a coroutine function; write "def" instead of "async def"'


def test_an_unbound_context_proxy_breaks_only_its_mount(failure):
    error = failure(AppRaised, "tv:app", {"tv.py": "from flask import current_app as app\n"})
    assert str(error).startswith('"tv:app" could not be inspected: RuntimeError: ')
    assert "app_check" not in error.details
