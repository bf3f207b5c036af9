"""Real frameworks, mounted: their links, redirects and static files stay under the prefix.

Each framework gets the same small site; the same tests ask each of them.
"""

import html
import re
import warnings
from urllib.parse import quote
from wsgiref.validate import validator

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # WebOb imports the deprecated module cgi
    from webtest import TestApp

from mountpoint import Dispatcher

NAME = "smörgås bord"
SCRIPT = b"console.log('weather');\n"


def home_page(link, script):
    return f'<a href="{html.escape(link)}">page</a><script src="{html.escape(script)}"></script>'


def flask_site(folder):
    import flask

    app = flask.Flask(__name__, static_folder=str(folder), static_url_path="/static")

    @app.get("/")
    def home():
        return home_page(flask.url_for("page", name=NAME), flask.url_for("static", filename="ws.js"))

    @app.get("/page/<name>")
    def page(name):
        return f"page of {name}"

    @app.get("/go")
    def go():
        return flask.redirect(flask.url_for("page", name=NAME))

    @app.get("/stream")
    def stream():
        return flask.stream_with_context(flask.url_for("page", name="x") + "\n" for _ in range(3))

    @app.post("/form")
    def form():
        return f"posted {flask.request.form['name']}"

    return app


def django_site(folder):
    import django
    from django import http, urls
    from django.conf import settings
    from django.core.handlers.wsgi import WSGIHandler
    from django.shortcuts import redirect
    from django.views.static import serve

    def home(request):
        return http.HttpResponse(home_page(urls.reverse("page", args=[NAME]), urls.reverse("static", args=["ws.js"])))

    def stream(request):
        return http.StreamingHttpResponse(urls.reverse("page", args=["x"]) + "\n" for _ in range(3))

    patterns = (
        urls.path("", home),
        urls.path("page/<name>", lambda request, name: http.HttpResponse(f"page of {name}"), name="page"),
        urls.path("go", lambda request: redirect("page", NAME)),
        urls.path("stream", stream),
        urls.path("form", lambda request: http.HttpResponse(f"posted {request.POST['name']}")),
        urls.path("static/<path>", serve, {"document_root": str(folder)}, name="static"),
    )
    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"], SECRET_KEY="-", USE_TZ=True, LOGGING_CONFIG=None)
        django.setup(set_prefix=False)

    settings.ROOT_URLCONF = patterns  # Django has one project in a process, and reads this setting in each request
    return WSGIHandler()


def bottle_site(folder):
    import bottle

    app = bottle.Bottle()

    @app.get("/")
    def home():
        return home_page(app.get_url("page", name=quote(NAME)), app.get_url("static", path="ws.js"))

    @app.get("/page/<name>", name="page")
    def page(name):
        return f"page of {name}"

    @app.get("/go")
    def go():
        bottle.redirect(app.get_url("page", name=quote(NAME)))

    @app.get("/stream")
    def stream():
        for _ in range(3):
            yield app.get_url("page", name="x") + "\n"

    @app.post("/form")
    def form():
        return f"posted {bottle.request.forms.name}"

    @app.get("/static/<path:path>", name="static")
    def static(path):
        return bottle.static_file(path, root=str(folder))

    return app


def falcon_site(folder):
    import falcon

    def link(request, path):
        return quote(request.root_path + path)

    class Home:
        def on_get(self, request, response):
            response.content_type = falcon.MEDIA_HTML
            response.text = home_page(link(request, f"/page/{NAME}"), link(request, "/static/ws.js"))

    class Page:
        def on_get(self, request, response, name):
            response.text = f"page of {name}"

        on_head = on_get

    class Go:
        def on_get(self, request, response):
            raise falcon.HTTPFound(link(request, f"/page/{NAME}"))

    class Stream:
        def on_get(self, request, response):
            response.stream = (link(request, "/page/x").encode() + b"\n" for _ in range(3))

    class Form:
        def on_post(self, request, response):
            response.text = f"posted {request.get_media()['name']}"

    app = falcon.App()
    for path, resource in {
        "/": Home(),
        "/page/{name}": Page(),
        "/go": Go(),
        "/stream": Stream(),
        "/form": Form(),
    }.items():
        app.add_route(path, resource)
    app.add_static_route("/static", folder)
    return app


def pyramid_site(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pkg_resources
        warnings.simplefilter("ignore", UserWarning)
        from pyramid.config import Configurator
        from pyramid.httpexceptions import HTTPFound
        from pyramid.response import Response

    def home(request):
        return Response(home_page(request.route_path("page", name=NAME), request.static_path(f"{folder}/ws.js")))

    def stream(request):
        return Response(
            app_iter=((request.route_path("page", name="x") + "\n").encode() for _ in range(3)),
            content_type="text/plain",
        )

    with Configurator() as config:
        views = {
            "home": ("/", home),
            "page": ("/page/{name}", lambda request: Response(f"page of {request.matchdict['name']}")),
            "go": ("/go", lambda request: HTTPFound(request.route_url("page", name=NAME))),
            "stream": ("/stream", stream),
            "form": ("/form", lambda request: Response(f"posted {request.POST['name']}")),
        }
        for name, (path, view) in views.items():
            config.add_route(name, path)
            config.add_view(view, route_name=name)
        config.add_static_view("static", str(folder))
        return config.make_wsgi_app()


def escaped(environ, start_response):
    raise AssertionError(f"{environ['PATH_INFO']} is outside of the mount")


SITES = [flask_site, django_site, bottle_site, falcon_site, pyramid_site]
PREFIXES = ["/x", "/a/b", "/blå"]
# Bottle garbles links under a prefix that is not ASCII. `mountpoint check` warns about it.
CASES = [(site, prefix) for site in SITES for prefix in PREFIXES if site is not bottle_site or prefix.isascii()]


def as_sent(link):
    """Return *link* as a browser sends it. Flask and Pyramid leave it to the browser to encode the prefix."""
    return quote(link, safe="/%:")


@pytest.fixture(params=CASES, ids=[f"{site.__name__.removesuffix('_site')} at {prefix}" for site, prefix in CASES])
def site(request, tmp_path):
    make, prefix = request.param
    (tmp_path / "ws.js").write_bytes(SCRIPT)
    dispatcher = Dispatcher({prefix: validator(make(tmp_path))}, default=escaped)
    client = TestApp(validator(dispatcher))
    client.prefix = quote(prefix)
    return client


def test_a_page_is_found_under_the_prefix(site):
    assert site.get(f"{site.prefix}/page/7").text == "page of 7"


def test_a_link_and_a_static_file_stay_under_the_prefix(site):
    page = site.get(site.prefix + "/").text
    link, script = (as_sent(html.unescape(found)) for found in re.findall(r'(?:href|src)="(.*?)"', page))
    assert link == f"{site.prefix}/page/{quote(NAME)}"
    assert site.get(link).text == f"page of {NAME}"
    assert script == f"{site.prefix}/static/ws.js"
    assert site.get(script).body == SCRIPT


def test_the_exact_prefix_is_redirected_so_that_relative_links_work(site):
    response = site.get(site.prefix)
    assert (response.status_int, response.headers["Location"]) == (308, f"{site.prefix}/")
    assert "page" in response.follow().text


def test_a_redirect_stays_under_the_prefix(site):
    response = site.get(f"{site.prefix}/go")
    assert response.status_int == 302
    path = response.headers["Location"].removeprefix("http://localhost").removeprefix(":80")
    assert path == f"{site.prefix}/page/{quote(NAME)}"
    assert response.follow().text == f"page of {NAME}"


def test_a_stream_still_knows_its_prefix_long_after_the_call(site):
    lines = site.get(f"{site.prefix}/stream").text.splitlines()
    assert [as_sent(line) for line in lines] == [f"{site.prefix}/page/x"] * 3


def test_the_app_responds_to_head(site):
    assert site.head(f"{site.prefix}/page/7").status_int == 200


def test_a_form_is_posted_to_the_app(site):
    assert site.post(f"{site.prefix}/form", {"name": NAME}).text == f"posted {NAME}"


def test_a_path_in_utf_8_reaches_the_app(site):
    assert site.get(f"{site.prefix}/page/{quote(NAME)}").text == f"page of {NAME}"


def test_the_app_itself_responds_404_to_an_unknown_path(site):
    response = site.get(f"{site.prefix}/nowhere", status=404)
    assert response.body != b"404 Not Found\n", "this would be ours"
