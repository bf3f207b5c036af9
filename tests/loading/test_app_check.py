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
    assert str(error) == '"tv:web" is a module; write "tv.web:app"'


def test_a_module_without_an_app_is_rejected_with_the_form_of_a_spec(failure):
    error = failure(NotAnApp, "tv:web", {"tv/__init__.py": "from . import web\n", "tv/web.py": "x = 1\n"})
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


@pytest.mark.parametrize(
    ("signature", "arguments"),
    [
        ("make()", ""),
        ("make(name='prod')", ""),
        ("make(config=None, debug=False)", ""),
        ("make(config=None, debug=False, **options)", ""),
        ("make(*, debug)", "debug=..."),
        ("make(a, b, c)", "a=..., b=..., c=..."),
        ("make(config, env)", "config=..., env=..."),
        ("make(settings_file, debug=False)", "settings_file=..."),
        ("make(place: str, path)", "place=..., path=..."),
        ("make(place, number: 'int | None')", "place=..., number=..."),
        ("create_app(*args)", ""),
        ("create_app(*args, **kwargs)", ""),
        ("make_site(place, path)", "place=..., path=..."),
        ("app_factory(loader, global_conf)", "loader=..., global_conf=..."),
        ("main(global_config, **settings)", "global_config=..."),
        ("main(*arguments)", ""),
        ("wsgifunc(*middleware)", ""),
    ],
)
def test_a_factory_without_parentheses_gets_the_spec_with_them(failure, signature, arguments):
    name, _, parameters = signature.removesuffix(")").partition("(")
    error = failure(NotAnApp, f"tv:{name}", {"tv.py": f"def {signature}:\n    return None\n"})
    assert str(error) == (
        f'"tv:{name}" takes ({parameters}), but a WSGI application takes (environ, start_response); '
        f'if it is a factory that returns the app, write "tv:{name}({arguments})"'
    )


def test_a_return_annotation_shows_that_a_function_is_a_factory(failure):
    code = "from flask import Flask\ndef site(place, path) -> Flask:\n    return Flask(place)\n"
    assert 'write "tv:site(place=..., path=...)"' in str(failure(NotAnApp, "tv:site", {"tv.py": code}))


@pytest.mark.parametrize(
    "signature",
    [
        "app(e, s)",
        "app(env, start)",
        "app(_environ, _start)",
        "app(request_environ, respond)",
        "app(request, response)",
        "get_app(environ, start_response)",
        "create_app(env, sr)",
        "app(environ: dict, start_response)",
        "app(*args)",
        "wrapper(*args, **kwargs)",
    ],
)
def test_an_app_is_not_taken_for_a_factory(load, signature):
    name = signature.partition("(")[0]
    assert callable(load(f"tv:{name}", {"tv.py": f"def {signature}:\n    return []\n"}))


def test_a_view_that_werkzeug_wraps_is_an_app(load):
    code = (
        "from werkzeug.wrappers import Request, Response\n@Request.application\ndef app(request): return Response()\n"
    )
    assert callable(load("tv:app", {"tv.py": code}))


def test_a_wrapped_factory_is_not_taken_for_an_app(failure):
    code = "import functools\n@functools.cache\ndef make(): ...\n"
    assert 'write "tv:make()"' in str(failure(NotAnApp, "tv:make", {"tv.py": code}))


def test_a_method_of_an_app_gets_the_spec_of_the_app(failure):
    error = failure(NotAnApp, "tv:app.run", {"tv.py": "from flask import Flask\napp = Flask('tv')\n"})
    assert str(error).endswith('; it is a method of the app: write "tv:app"')


def test_a_method_of_a_class_gets_advice_to_make_an_instance(failure):
    code = "class Site:\n    def wsgi(self, environ, start_response): return []\n"
    error = failure(NotAnApp, "tv:Site.wsgi", {"tv.py": code})
    assert "it is a method of a class: make an instance in the module" in str(error)


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
        "def app(scope, receive, send): ...\n",
        "class App:\n    async def __call__(self, scope, receive, send): ...\napp = App()\n",
        "class app:\n    async def __call__(self, scope, receive, send): ...\n",
        "import functools\nasync def f(x, scope, receive, send): ...\napp = functools.partial(f, 1)\n",
    ],
    ids=["Starlette", "Falcon", "function", "plain function", "instance", "class", "partial"],
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


def test_djangos_asgi_app_gets_the_name_of_its_wsgi_app(failure):
    code = "from django.core.handlers.asgi import ASGIHandler\napp = ASGIHandler.__new__(ASGIHandler)\n"
    error = failure(NotAnApp, "tv:app", {"tv.py": code})
    assert str(error).endswith('which get_wsgi_application() makes, as in "mysite.wsgi:application"')


# ------------------------------------------------------------------------------------------- coroutines, other results


@pytest.mark.parametrize("parameters", ["", "environ, start_response", "config=None"])
def test_a_coroutine_function_is_rejected(failure, parameters):
    error = failure(NotAnApp, "tv:app", {"tv.py": f"async def app({parameters}): ...\n"})
    assert str(error) == (
        '"tv:app" is a coroutine function, which WSGI cannot call; write "def" instead of "async def"'
    )


def test_a_coroutine_is_rejected(failure):
    error = failure(NotAnApp, "tv:app", {"tv.py": "async def make(): ...\napp = make()\napp.close()\n"})
    assert str(error).startswith('"tv:app" is a coroutine, since a coroutine function made it; write "def"')


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("async def f(): ...\ndef make(): return f()\n", 'returned a coroutine; write "def" instead of "async def"'),
        ("def make(): yield app\n", 'is a generator; write "return app" instead of "yield app"'),
        ("async def make(): yield app\n", 'is a generator; write "return app" instead of "yield app"'),
        ("def make(): return app, 1\n", "returned a tuple; return only the app"),
        ("def make(): return [app]\n", "returned a list; return only the app"),
        (
            "class Later:\n    def __await__(self): ...\ndef make(): return Later()\n",
            "returned an awaitable, tv.Later; return the app itself",
        ),
    ],
    ids=["coroutine", "generator", "async generator", "tuple", "list", "awaitable"],
)
def test_a_factory_with_another_result_is_reported(failure, code, message):
    assert str(failure(NotAnApp, "tv:make()", {"tv.py": APP + code})) == f'the factory "tv:make()" {message}'


# ------------------------------------------------------------------------------------------- objects of other packages


@pytest.mark.parametrize("spec", ["tv:app", "tv:app()"])
def test_a_click_command_is_rejected_before_it_runs(failure, spec):
    code = "import click\n@click.command()\ndef app():\n    raise SystemExit('ran')\n"
    assert str(failure(NotAnApp, spec, {"tv.py": code})) == (
        f'"{spec}" is a click command, which starts a program; name the WSGI app that the program serves'
    )


def test_a_configurator_of_pyramid_gets_the_spec_of_its_app(failure):
    code = "class Configurator: ...\napp = Configurator()\nConfigurator.__module__ = 'pyramid.config'\n"
    error = failure(NotAnApp, "tv:app", {"tv.py": code})
    assert str(error) == '"tv:app" is a Configurator of Pyramid; write "tv:app.make_wsgi_app()"'


@pytest.mark.parametrize(
    ("module", "name", "advice"),
    [
        (
            "tornado.web",
            "Application",
            "is a Tornado app, which runs only in an event loop, but mountpoint serves WSGI",
        ),
        (
            "aiohttp.web_app",
            "Application",
            "is an aiohttp app, which runs only in an event loop, but mountpoint serves",
        ),
        ("web.application", "application", 'makes the WSGI app; write "tv:app.wsgifunc()"'),
        ("celery.app.base", "Celery", "name the WSGI app that sends the tasks"),
        ("flask_socketio", "SocketIO", "name the Flask app"),
    ],
)
@pytest.mark.parametrize("is_callable", [True, False])
def test_an_object_of_another_package_is_named(failure, module, name, advice, is_callable):
    """The packages are not installed for the tests; their apps are recognised by the name of the class."""
    call = "    def __call__(self, request=None): ...\n" if is_callable else "    pass\n"
    code = f"class {name}:\n    __module__ = '{module}'\n{call}class Own({name}): ...\napp = Own()\n"
    assert advice in str(failure(NotAnApp, "tv:app", {"tv.py": code}))
