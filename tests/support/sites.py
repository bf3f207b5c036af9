"""The servers behind the proxy in the doctor's tests, in one process: five frameworks, alone and under mountpoint.

Each stack listens on its own port. The process prints the port of each stack to stderr, as one line of JSON.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import warnings
from urllib.parse import urlsplit

import waitress

from mountpoint import Dispatcher, Mount, TrustedProxies

FRAMEWORKS = ("flask", "django", "bottle", "falcon", "pyramid")
SCRIPT = "console.log('weather');\n"


def page(link, script, action, go, extra=""):
    return f"""<!doctype html>
<title>Weather</title>
<script src="{script}"></script>
<p><a href="{link}">history</a> <a href="{go}">go</a>
<a href="https://elsewhere.example/">elsewhere</a>
<form action="{action}"><input name="q"></form>{extra}
"""


def history(home):
    return f'<!doctype html><title>History</title><p>last year <a href="{home}">home</a>'


def flask_app(extra=""):
    import flask

    app = flask.Flask("weather", static_folder=None)
    app.secret_key = "-"
    to = flask.url_for

    @app.get("/")
    def home():
        flask.session["seen"] = 1
        return page(to("past"), to("asset", name="ws.js"), to("search"), to("go"), extra)

    @app.get("/history")
    def past():
        return history(to("home"))

    @app.get("/search")
    def search():
        return "<title>Found</title>nothing"

    @app.get("/go")
    def go():
        return flask.redirect(to("past"))

    @app.get("/static/<name>")
    def asset(name):
        return flask.Response(SCRIPT, content_type="text/javascript") if name == "ws.js" else flask.abort(404)

    return app


def django_app():
    import django
    from django import http, urls
    from django.conf import settings
    from django.core.handlers.wsgi import WSGIHandler
    from django.shortcuts import redirect

    to = urls.reverse

    def home(request):
        response = http.HttpResponse(page(to("past"), to("asset", args=["ws.js"]), to("search"), to("go")))
        response.set_cookie("sessionid", "1")
        return response

    def asset(request, name):
        return http.HttpResponse(SCRIPT, content_type="text/javascript", status=200 if name == "ws.js" else 404)

    patterns = (
        urls.path("", home, name="home"),
        urls.path("history", lambda request: http.HttpResponse(history(to("home"))), name="past"),
        urls.path("search", lambda request: http.HttpResponse("<title>Found</title>nothing"), name="search"),
        urls.path("go", lambda request: redirect("past"), name="go"),
        urls.path("static/<name>", asset, name="asset"),
    )
    settings.configure(
        ALLOWED_HOSTS=["*"], SECRET_KEY="-", USE_TZ=True, LOGGING_CONFIG=None, ROOT_URLCONF=patterns, MIDDLEWARE=[]
    )
    django.setup(set_prefix=False)
    return WSGIHandler()


def bottle_app():
    import bottle

    app = bottle.Bottle()
    to = app.get_url

    @app.get("/", name="home")
    def home():
        bottle.response.set_cookie("seen", "1")
        return page(to("past"), to("asset", name="ws.js"), to("search"), to("go"))

    @app.get("/history", name="past")
    def past():
        return history(to("home"))

    @app.get("/search", name="search")
    def search():
        return "<title>Found</title>nothing"

    @app.get("/go", name="go")
    def go():
        bottle.redirect(to("past"))

    @app.get("/static/<name>", name="asset")
    def asset(name):
        bottle.response.content_type = "text/javascript"
        return SCRIPT if name == "ws.js" else bottle.abort(404)

    return app


def falcon_app():
    import falcon

    def to(request, path):  # Falcon has no function that builds links
        return request.root_path + path

    class Home:
        def on_get(self, request, response):
            response.content_type = "text/html"
            response.set_cookie("seen", "1")
            response.text = page(*(to(request, path) for path in ("/history", "/static/ws.js", "/search", "/go")))

    class History:
        def on_get(self, request, response):
            response.content_type = "text/html"
            response.text = history(to(request, "/"))

    class Search:
        def on_get(self, request, response):
            response.content_type = "text/html"
            response.text = "<title>Found</title>nothing"

    class Go:
        def on_get(self, request, response):
            raise falcon.HTTPFound(to(request, "/history"))

    class Asset:
        def on_get(self, request, response, name):
            if name != "ws.js":
                raise falcon.HTTPNotFound
            response.content_type = "text/javascript"
            response.text = SCRIPT

    app = falcon.App()
    app.add_route("/", Home())
    app.add_route("/history", History())
    app.add_route("/search", Search())
    app.add_route("/go", Go())
    app.add_route("/static/{name}", Asset())
    return app


def pyramid_app():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # WebOb imports cgi, and Pyramid pkg_resources: both are deprecated
        from pyramid.config import Configurator
        from pyramid.httpexceptions import HTTPFound, HTTPNotFound
        from pyramid.response import Response

    def home(request):
        to = request.route_url
        response = Response(page(to("past"), to("asset", name="ws.js"), to("search"), to("go")))
        response.set_cookie("session", "1")
        return response

    def past(request):
        return Response(history(request.route_url("home")))

    def asset(request):
        if request.matchdict["name"] != "ws.js":
            raise HTTPNotFound
        return Response(SCRIPT, content_type="text/javascript", charset="utf-8")

    config = Configurator()
    for name, path, view in (
        ("home", "/", home),
        ("past", "/history", past),
        ("search", "/search", lambda request: Response("<title>Found</title>nothing")),
        ("go", "/go", lambda request: HTTPFound(request.route_url("past"))),
        ("asset", "/static/{name}", asset),
    ):
        config.add_route(name, path)
        config.add_view(view, route_name=name)
    return config.make_wsgi_app()


# ---------------------------------------------------------------------------------------------- faulty apps and servers


def with_cookie(app, value):
    """Replace the cookies of every response of *app* with one."""

    def wrapped(environ, start_response):
        def start(status, headers, exc_info=None):
            kept = [header for header in headers if header[0].lower() != "set-cookie"]
            return start_response(status, [*kept, ("Set-Cookie", value)], exc_info)

        return app(environ, start)

    return wrapped


def requiring_https(app):
    """Redirect every request to https that does not have this scheme."""

    def wrapped(environ, start_response):
        if environ["wsgi.url_scheme"] == "https":
            return app(environ, start_response)
        location = f"https://{environ['HTTP_HOST']}{environ['SCRIPT_NAME']}{environ['PATH_INFO']}"
        start_response("301 Moved Permanently", [("Location", location), ("Content-Length", "0")])
        return [b""]

    return wrapped


def deep_cookie(app):
    """Set a cookie without a path at the static files: browsers return it only below their folder."""
    inner = with_cookie(app, "deep=1")

    def wrapped(environ, start_response):
        return (inner if environ["PATH_INFO"].startswith("/static/") else app)(environ, start_response)

    return wrapped


def naming(app, script_name):
    """Set ``SCRIPT_NAME``, as servers with such a setting do; the proxy has stripped the prefix from the path."""
    return lambda environ, start_response: app({**environ, "SCRIPT_NAME": script_name}, start_response)


def redirecting(app):
    """Redirect every path but that of one page to this page, as apps do that require a login."""

    def wrapped(environ, start_response):
        if environ["PATH_INFO"] == "/history":
            return app(environ, start_response)
        location = f"{environ['SCRIPT_NAME']}/history?next={environ['PATH_INFO']}"
        start_response("302 Found", [("Location", location), ("Content-Length", "0")])
        return [b""]

    return wrapped


def at_root(app):
    """Return the root page of *app* for its prefix without the slash, as most frameworks do."""
    return lambda environ, start_response: app({**environ, "PATH_INFO": environ["PATH_INFO"] or "/"}, start_response)


def stacks():
    apps = {name: globals()[f"{name}_app"]() for name in FRAMEWORKS}
    prefixed = {f"/{name}": app for name, app in apps.items()}
    found = {f"bare-{name}": app for name, app in apps.items()}
    found |= {f"named-{name}": naming(app, f"/{name}") for name, app in apps.items()}
    found |= {
        "mounted": Dispatcher(prefixed),
        "under-apps": TrustedProxies(Dispatcher(prefixed), strips="/apps"),
        "headers": TrustedProxies(Dispatcher(prefixed), trusted=["127.0.0.1"], x_prefix=1, x_proto=1, x_host=1),
        "passing": Dispatcher([Mount("/flask", at_root(flask_app('\n<a href="history">relative</a>')), slash="pass")]),
        "redirecting": Dispatcher({"/flask": redirecting(apps["flask"])}),
        "prefixed-twice": Dispatcher({"/flask": Dispatcher({"/flask": apps["flask"]})}),
        "https": Dispatcher({key: requiring_https(app) for key, app in prefixed.items()}),
        "hard": Dispatcher({"/flask": flask_app('\n<p><a href="/history">hard-coded</a>')}),
        "deep-cookie": Dispatcher({key: deep_cookie(app) for key, app in prefixed.items()}),
    }
    return found


def main():
    ports = {}
    for name, app in stacks().items():
        server = waitress.create_server(app, listen="127.0.0.1:0", threads=2, clear_untrusted_proxy_headers=False)
        ports[name] = urlsplit(f"//127.0.0.1:{server.effective_port}").port
        threading.Thread(target=server.run, daemon=True).start()
    print(json.dumps(ports), file=sys.stderr, flush=True)
    signal.sigwait({signal.SIGTERM})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    main()
