"""Apps that have a prefix of their own: `mountpoint check` names it, and leaves right apps alone."""

from __future__ import annotations

import sys
import textwrap

import pytest

from mountpoint.check import check

FLASK = """
import flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware

app = flask.Flask(__name__)
app.secret_key = "-"
"""


@pytest.fixture
def warnings_of(tmp_path, monkeypatch):
    """Return ``warnings_of(source, key, proxy)``: the warnings about the app in *source*, mounted at *key*."""

    def warnings_of(source, key="/shop", proxy=""):
        name = f"own_prefix_{abs(hash((source, key, proxy)))}"
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
        (tmp_path / "mounts.toml").write_text(f'{proxy}\n[mounts]\n"{key}" = "{name}:app"\n')
        report = check(tmp_path / "mounts.toml")
        assert report.problems == []
        return [f"{finding.key}: {finding.message}" for finding in report.warnings]

    before = {*sys.modules}
    yield warnings_of
    for name in {*sys.modules} - before:
        if name.startswith("own_prefix_"):
            del sys.modules[name]


BLUEPRINT = """
blue = flask.Blueprint("blue", __name__, url_prefix="/shop")
blue.add_url_rule("/", view_func=lambda: "home")
app.register_blueprint(blue)
"""
DISPATCHER = 'app = DispatcherMiddleware(flask.Flask("none"), {"/shop": app})'
INNER_DISPATCHER = 'app.wsgi_app = DispatcherMiddleware(flask.Flask("none"), {"/shop/": app.wsgi_app})'
MIDDLEWARE = """
class PrefixMiddleware:
    def __init__(self, app, prefix):
        self.app, self.prefix = app, prefix

    def __call__(self, environ, start_response):
        raise NotImplementedError


app.wsgi_app = PrefixMiddleware(app.wsgi_app, "/shop")
"""
BOTTLE = "import bottle\napp = bottle.Bottle()\napp.route('/shop/x', callback=lambda: 'x')\n"
NESTED = "from mountpoint import Dispatcher\napp = Dispatcher({'/shop': lambda e, s: [], '/other': lambda e, s: []})\n"
PASTE = "from paste.urlmap import URLMap\napp = URLMap()\napp['/shop'] = lambda e, s: []\n"
CHEROOT = "from cheroot.wsgi import PathInfoDispatcher\napp = PathInfoDispatcher({'/shop': lambda e, s: []})\n"
PYRAMID = """
import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pyramid.config import Configurator
config = Configurator(route_prefix="shop")
config.add_route("home", "/")
app = config.make_wsgi_app()
"""
CHERRYPY = """
import cherrypy

class Root:
    @cherrypy.expose
    def index(self):
        return "home"

tree = cherrypy._cptree.Tree()
"""


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (FLASK + BLUEPRINT, '1 of its 1 routes begin with "/shop"'),
        (FLASK + DISPATCHER, 'werkzeug.DispatcherMiddleware in the app mounts it at "/shop" once more'),
        (FLASK + INNER_DISPATCHER, 'werkzeug.DispatcherMiddleware in the app mounts it at "/shop" once more'),
        (FLASK + MIDDLEWARE, 'PrefixMiddleware has prefix = "/shop"'),
        (FLASK + 'app.config["APPLICATION_ROOT"] = "/store"', 'APPLICATION_ROOT = "/store" is the path of its session'),
        (FLASK + 'app.config["SESSION_COOKIE_PATH"] = "/shop/admin"', 'remove SESSION_COOKIE_PATH, or write "/shop"'),
        (BOTTLE, '1 of its 1 routes begin with "/shop"'),
        (NESTED, 'mountpoint.Dispatcher in the app mounts it at "/shop" once more'),
        (PASTE, 'paste.URLMap in the app mounts it at "/shop" once more'),
        (CHEROOT, 'in the app mounts it at "/shop" once more'),
        (PYRAMID, '1 of its 1 routes begin with "/shop"'),
        (CHERRYPY + "tree.mount(Root(), '')\napp = tree", 'write cherrypy.tree.mount(root, "/shop")'),
        (CHERRYPY + "app = tree.mount(Root(), '')", "write cherrypy.Application(root, script_name=None)"),
    ],
)
def test_a_prefix_of_the_app_itself_is_a_warning(warnings_of, source, expected):
    [found] = warnings_of(source)
    assert found.startswith('mounts."/shop": ')
    assert expected in found


@pytest.mark.parametrize(
    "source",
    [
        FLASK + 'app.add_url_rule("/", view_func=lambda: "home")' + BLUEPRINT,
        FLASK + BLUEPRINT.replace("/shop", "/shopping"),
        FLASK + DISPATCHER.replace("/shop", "/admin"),
        FLASK + MIDDLEWARE.replace('"/shop"', '"cache"'),
        FLASK + 'app.config["APPLICATION_ROOT"] = "/shop"',
        FLASK + 'app.config.update(APPLICATION_ROOT="/store", SECRET_KEY=None)',
        BOTTLE.replace("/shop", "/basket"),
        CHERRYPY + "tree.mount(Root(), '/shop')\napp = tree",
        CHERRYPY + "app = cherrypy.Application(Root(), None)",
        "def app(environ, start_response):\n    raise NotImplementedError\napp.app = app\n",
    ],
)
def test_an_app_without_a_prefix_of_its_own_has_no_warning(warnings_of, source):
    assert warnings_of(source) == []


@pytest.mark.parametrize("source", [FLASK + BLUEPRINT, FLASK + DISPATCHER])
def test_the_root_mount_and_other_prefixes_have_no_warning(warnings_of, source):
    assert warnings_of(source, "/") == []
    assert warnings_of(source, "/store") == []


def test_the_prefix_that_the_proxy_strips_is_part_of_the_public_one(warnings_of):
    strips = '[proxy]\nstrips = "/apps"\n'
    right = FLASK + 'app.config["SESSION_COOKIE_PATH"] = "/apps/shop"'
    assert warnings_of(right, proxy=strips) == []
    assert (
        "browsers return no such cookie to /apps/shop" in warnings_of(right.replace("/apps", "/other"), proxy=strips)[0]
    )
    assert "/apps/shop" in warnings_of(FLASK + BLUEPRINT.replace("/shop", "/apps/shop"), proxy=strips)[0]


def test_a_forwarded_prefix_leaves_the_path_of_a_cookie_open(warnings_of):
    forwarded = '[proxy]\ntrusted = ["127.0.0.1"]\nx_prefix = 1\n'
    source = FLASK + 'app.config["SESSION_COOKIE_PATH"] = "/apps/shop"'
    assert warnings_of(source, proxy=forwarded) == []
    assert len(warnings_of(source, proxy=f"{forwarded}restore_prefix = true\n")) == 1
