"""The same small site in each framework. ``SITES`` has a factory for each, called with a folder of static files."""

import html
import warnings
from urllib.parse import quote

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


SITES = [flask_site, django_site, bottle_site, falcon_site, pyramid_site]


def linted(name, folder):
    """Return the site that the function *name* makes, in a linter that knows ``wsgi.input_terminated``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # WebOb imports the deprecated module cgi
        from webtest.lint import middleware

    return middleware(globals()[name](folder))
