"""Real frameworks, mounted: their links, redirects and static files stay under the prefix.

Each framework gets the same small site, in the process of the dispatcher and in one of its own. The same tests ask each
of them.
"""

import html
import json
import re
import sys
import warnings
from contextlib import closing
from functools import cache
from urllib.parse import quote
from wsgiref.validate import validator

import pytest
from support.apps.framework_sites import NAME, SCRIPT, SITES, bottle_site
from support.client import app_file
from support.tables import config_of
from support.waiting import TIMEOUT

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # WebOb imports the deprecated module cgi
    from webtest import TestApp

from mountpoint import Dispatcher
from mountpoint.workers.processes import WorkerProcesses


def escaped(environ, start_response):
    raise AssertionError(f"{environ['PATH_INFO']} is outside of the mount")


PREFIXES = ["/x", "/a/b", "/blå"]
# Bottle garbles links under a prefix that is not ASCII. `mountpoint check` warns about it.
CASES = [(site, prefix) for site in SITES for prefix in PREFIXES if site is not bottle_site or prefix.isascii()]
KINDS = ["shared", "own"] if sys.platform != "win32" else ["shared"]


def as_sent(link):
    """Return *link* as a browser sends it. Flask and Pyramid leave it to the browser to encode the prefix."""
    return quote(link, safe="/%:")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frameworks")
    (folder / "ws.js").write_bytes(SCRIPT)
    return folder


@pytest.fixture(scope="module")
def in_worker(folder):
    """Return ``in_worker(name)``: start a process with a site, once for all tests, and return its app."""
    with closing(WorkerProcesses()) as processes:

        @cache
        def in_worker(name):
            spec = f"{app_file('framework_sites')}:linted({name!r}, {str(folder)!r})"
            config = config_of(folder, f"[mounts.'/x']\napp = {json.dumps(spec)}\nprocess = 'own'\n")
            app = processes.start(config.mounts[0])
            assert processes.wait(app, TIMEOUT)
            assert processes.error(app) is None
            return app

        yield in_worker


@pytest.fixture(
    params=[(site, prefix, kind) for site, prefix in CASES for kind in KINDS],
    ids=lambda case: f"{case[0].__name__.removesuffix('_site')} at {case[1]}, {case[2]}",
)
def site(request, folder, in_worker):
    make, prefix, kind = request.param
    app = validator(make(folder)) if kind == "shared" else in_worker(make.__name__)
    client = TestApp(validator(Dispatcher({prefix: app}, default=escaped)))
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
