"""Apps that add a prefix of their own, or lose the prefix of their mount: the doctor names the fault of the app."""

from __future__ import annotations

import subprocess
import sys

import pytest

NESTED = """
import site_app
from werkzeug.middleware.dispatcher import DispatcherMiddleware

flask_app = site_app.make("a")
dispatcher = DispatcherMiddleware(lambda e, s: s("404 Not Found", []) and [], {"/a": flask_app})


def middleware(environ, start_response):
    path = environ["PATH_INFO"]
    if not path.startswith("/a"):
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"This URL does not belong to the app."]
    return flask_app({**environ, "PATH_INFO": path[2:], "SCRIPT_NAME": "/a"}, start_response)


def missing(environ, start_response):
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"nothing here"]


dispatcher.app = missing


def without_slash(environ, start_response):
    path = environ["PATH_INFO"]
    if path.endswith("/"):
        start_response("301 Moved", [("Location", environ["SCRIPT_NAME"] + path.rstrip("/"))])
        return []
    return flask_app({**environ, "PATH_INFO": path or "/"}, start_response)


scoped = site_app.make("scoped")
scoped.config["APPLICATION_ROOT"] = "/b"
"""


@pytest.fixture
def table(folder):
    (folder / "nested.py").write_text(NESTED)

    def table(app, rest=""):
        (folder / "mounts.toml").write_text(f'[mounts."/a"]\napp = "nested:{app}"\n{rest}')

    return table


@pytest.mark.parametrize("app", ["dispatcher", "middleware"])
def test_an_app_that_adds_its_prefix_has_its_pages_below_two(table, examine, app):
    table(app)
    done = examine()
    assert (done.code, done.named) == (1, {("/a", "own-prefix", "sure")})
    [found] = done.report["findings"]
    assert found["evidence"][1] == "/a/a/: 200 text/html"


def test_an_app_without_any_page_does_not_seem_to_add_a_prefix(table, examine):
    table("missing")
    assert (examine().code, examine().named) == (0, set())


def test_a_cookie_path_outside_the_mount_is_seen_in_the_settings(table, examine):
    table("scoped")
    assert ("/a", "cookie-path", "likely") in examine().named


def test_a_slash_that_the_app_removes_makes_a_loop_which_slash_pass_ends(table, examine):
    table("without_slash")
    [found] = examine().report["findings"]
    assert (found["symptom"], found["certainty"]) == ("loop-bare-prefix", "sure")
    assert found["fix"].startswith('in mounts.toml: [mounts."/a"] slash = "pass"')
    table("without_slash", 'slash = "pass"\n')
    assert [symptom for _, symptom, _ in examine().named if "loop" in symptom] == []


# --------------------------------------------------------------------------------------------------------------- Django

DJANGO = """
from pathlib import Path
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.templatetags.static import static
from django.urls import path, re_path

here = Path(__file__).parent
urlpatterns = [path("", lambda request: HttpResponse(f'<link rel=stylesheet href="{static("a.css")}">'))]
settings.configure(
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="-" * 50,
    LOGGING_CONFIG=None,
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.staticfiles"],
    STATIC_ROOT=here / "collected",
    STATICFILES_DIRS=[here / "collected"],
    OPTIONS
)
app = get_wsgi_application()
"""
WHITENOISE = 'MIDDLEWARE=["whitenoise.middleware.WhiteNoiseMiddleware"],'
REMEDY = 'STATIC_URL="/shop/static/", WHITENOISE_STATIC_PREFIX="/static/",'
SERVED = 'DEBUG=True, STATIC_URL="static/",'


@pytest.fixture(params=["shared", "own"])
def django(folder, request):
    """Return ``django(options)``: it writes a project with these settings, and a table that mounts it at /shop."""
    if request.param == "own" and sys.platform == "win32":
        pytest.skip("a mount with its own process needs a Unix system")
    (folder / "collected").mkdir()
    (folder / "collected" / "a.css").write_text("body {}")
    (folder / "mounts.toml").write_text(f'[mounts."/shop"]\napp = "project:app"\nprocess = "{request.param}"\n')

    def django(options, extra=""):
        (folder / "project.py").write_text(DJANGO.replace("OPTIONS", options) + extra)

    return django


def test_a_static_url_that_whitenoise_reads_during_the_load_is_named(django, examine):
    django(f'{WHITENOISE} STATIC_URL="static/",')
    done = examine()
    assert done.named == {("/shop", "static-url", "sure")}
    [found] = done.report["findings"]
    assert 'STATIC_URL = "/shop/static/"' in found["fix"]
    assert 'WHITENOISE_STATIC_PREFIX = "/static/"' in found["fix"]


SERVE = """
from django.contrib.staticfiles.views import serve
urlpatterns.append(re_path(r"^static/(?P<path>.*)$", serve))
"""


@pytest.mark.parametrize(
    ("options", "extra"),
    [(f"{WHITENOISE} {REMEDY}", ""), (f"{WHITENOISE} DEBUG=True, {REMEDY}", ""), (SERVED, SERVE)],
)
def test_the_remedies_of_the_manual_for_static_files_work(django, examine, options, extra):
    django(options, extra)
    done = examine()
    assert (done.code, done.report["findings"]) == (0, []), done.log


def test_check_names_the_settings_of_django_that_leave_the_mount(django, folder):
    django(
        f'{WHITENOISE} STATIC_URL="assets/", FORCE_SCRIPT_NAME="/store", SESSION_COOKIE_PATH="/store", '
        'CSRF_COOKIE_PATH="/shop", LANGUAGE_COOKIE_PATH="/",'
    )
    command = [sys.executable, "-m", "mountpoint", "check"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stdout.splitlines() if "warning" in line and "mounts.toml" in line]
    assert [line.split('"')[2].split()[1] for line in warnings] == [
        "SESSION_COOKIE_PATH",
        "FORCE_SCRIPT_NAME",
        "STATIC_URL",
    ]
    assert 'write STATIC_URL = "/shop/assets/", and for WhiteNoise WHITENOISE_STATIC_PREFIX = "/assets/"' in warnings[2]
