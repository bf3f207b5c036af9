"""The points to know of getting-started.md, each of them tried. Its examples are run by test_pages.py."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.pages import ROOT, Page, SectionRunner, Settings

START = "$ mountpoint serve\n...\nserving on http://127.0.0.1:8080/\n"


@pytest.fixture
def reader(tmp_path) -> Callable[..., None]:
    """Return ``reader(files, mounts, console)``: a reader who writes the files and enters the commands."""

    def reader(files: dict[str, str], mounts: str, console: str) -> None:
        page = Page(ROOT / "page.md", f"```console\n{console}```\n")
        settings = Settings(files={**files, "mounts.toml": f"[mounts]\n{mounts}\n"})
        for section in page.sections:
            SectionRunner(tmp_path, settings).run(section)

    return reader


def test_two_modules_of_one_name_are_refused_with_both_named(reader):
    app = "def app(environ, start_response): ...\n"
    reader(
        {"a/app.py": app, "b/app.py": app},
        '"/a" = "a/app.py:app"\n"/b" = "b/app.py:app"',
        "$ mountpoint check >out; echo $?; grep -c 'b/app.py.*a/app.py' out\n1\n1\n",
    )


def test_redirect_to_a_slash_leaves_a_flask_mount(reader):
    app = (
        "from flask import Flask, redirect\napp = Flask(__name__)\napp.add_url_rule('/', 'i', lambda: redirect('/'))\n"
    )
    reader(
        {"f.py": app},
        '"/f" = "f.py:app"',
        f"{START}$ curl -s -o page -w '%{{redirect_url}}' http://127.0.0.1:8080/f/\nhttp://127.0.0.1:8080/\n",
    )


@pytest.mark.parametrize(("value", "shown"), [("static/", "/shop/static/x"), ("/static/", "/static/x")])
def test_static_url_of_django_gets_the_prefix_without_its_slash_only(reader, value, shown):
    app = f"""
from django.conf import settings
settings.configure(
    STATIC_URL={value!r}, ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], INSTALLED_APPS=["django.contrib.staticfiles"]
)
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.templatetags.static import static
from django.urls import path
urlpatterns = [path("", lambda request: HttpResponse(static("x")))]
application = get_wsgi_application()
"""
    reader({"shop.py": app}, '"/shop" = "shop.py"', f"{START}$ curl -s http://127.0.0.1:8080/shop/\n{shown}\n")


def test_the_default_app_of_bottle_is_mounted_by_a_call(reader):
    app = "from bottle import default_app, route\n@route('/')\ndef index(): return 'hello'\n"
    reader({"b.py": app}, '"/b" = "b.py:default_app()"', f"{START}$ curl -s http://127.0.0.1:8080/b/\nhello\n")


def test_a_bottle_app_under_a_prefix_that_is_not_ascii_is_a_warning(reader):
    app = "from bottle import Bottle\napp = Bottle()\n"
    console = "$ mountpoint check | grep -c 'warning.*ASCII'\n1\n"
    reader({"b.py": app}, '"/café" = "b.py:app"', console)


def test_main_of_a_pyramid_project_is_a_factory(reader):
    app = """
from pyramid.config import Configurator
def main(global_config, **settings):
    with Configurator(settings=settings) as config:
        config.add_route("home", "/")
        config.add_view(lambda request: request.registry.settings["name"], route_name="home", renderer="string")
        return config.make_wsgi_app()
"""
    reader(
        {"p.py": app},
        """"/p" = "p:main({}, name='mine')" """,
        f"{START}$ curl -s http://127.0.0.1:8080/p/\nmine\n",
    )


def test_the_script_name_of_a_cherrypy_app_has_to_be_none(reader):
    pytest.importorskip("cherrypy")
    app = """
import cherrypy
class Hello:
    @cherrypy.expose
    def index(self): return "hello"
    @cherrypy.expose
    def home(self): raise cherrypy.HTTPRedirect("/")
right = cherrypy.Application(Hello(), script_name=None)
right.log.screen = False
right.log.access_log.propagate = False
wrong = cherrypy.Application(Hello(), script_name="")
cherrypy.tree.mount(Hello(), "/tree")
tree = cherrypy.tree
"""
    get = "$ curl -s -o page -w '%{http_code} %{redirect_url}' http://127.0.0.1:8080"
    reader(
        {"c.py": app},
        '"/right" = "c:right"\n"/wrong" = "c:wrong"\n"/tree" = "c:tree"',
        "$ mountpoint serve >log 2>&1\n"
        f"{get}/right/\n200 \n$ grep -c 'GET /right/' log\n1\n"
        f"{get}/right/home\n303 http://127.0.0.1:8080/\n{get}/wrong/\n404 \n{get}/tree/\n200 \n",
    )


def test_url_base_pathname_of_dash_is_the_prefix_twice(reader):
    pytest.importorskip("dash")
    app = "from dash import Dash, html\napp = Dash(url_base_pathname='/dash/')\n"
    app += "app.layout = html.Div()\nserver = app.server\n"
    get = "$ curl -s -o page -w '%{http_code}' http://127.0.0.1:8080"
    reader({"d.py": app}, '"/dash" = "d:server"', f"{START}{get}/dash/\n404\n{get}/dash/dash/\n200\n")
