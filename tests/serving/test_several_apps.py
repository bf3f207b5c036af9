"""The table of examples/several, with real apps from PyPI, behind a real nginx with the printed configuration.

Each app has its own process and most have their own virtual environment, which ``install.py`` makes from PyPI, once for
all workers of a run. ``MOUNTPOINT_SKIP_INSTALLS=1`` skips these tests.
"""

from __future__ import annotations

import base64
import hashlib
import http.cookiejar
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.pages import ROOT
from support.proxies import Front, reserved_ports, start
from support.response import Response
from support.running import MountpointServe, children
from support.waiting import TIMEOUT

from mountpoint.config.address import listen_address
from mountpoint.config.reader import load_config
from mountpoint.proxyconf import RenderOptions, proxy_config
from mountpoint.proxyconf.plan import make_plan
from mountpoint.proxyconf.section import proxy_section

if sys.platform == "win32":
    pytest.skip("a mount with its own process needs a Unix system", allow_module_level=True)
if os.environ.get("MOUNTPOINT_SKIP_INSTALLS"):
    pytest.skip("MOUNTPOINT_SKIP_INSTALLS is set", allow_module_level=True)

import fcntl

pytestmark = [pytest.mark.nginx, pytest.mark.installs]
EXAMPLE = ROOT / "examples" / "several"
PASSWORD = "change-me"
MOUNTS = ("/shop", "/blog", "/old", "/new", "/radicale", "/pypi", "/live", "/report")
EVENT = """BEGIN:VCALENDAR\r
VERSION:2.0\r
PRODID:-//test\r
BEGIN:VEVENT\r
UID:1\r
DTSTAMP:20260101T000000Z\r
DTSTART:20260101T100000Z\r
SUMMARY:Talk\r
END:VEVENT\r
END:VCALENDAR\r
"""


@pytest.fixture(scope="session")
def installed(tmp_path_factory) -> Path:
    """Return a copy of the example with its virtual environments, made once for all processes of this run."""
    shared = tmp_path_factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else None
    folder = (shared or tmp_path_factory.mktemp("installed")) / "several"
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    done = folder / "installed"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            tracked = shutil.ignore_patterns(".venv", "mysite", "manage.py", "db.sqlite3", "staticfiles", "collections")
            shutil.copytree(EXAMPLE, folder, ignore=tracked)
            run([sys.executable, "install.py"], folder, PATH=path)
            for project in ("shop", "blog"):
                command = [".venv/bin/python", "manage.py", "createsuperuser", "--no-input"]
                command += ["--username=alice", "--email=alice@example.com"]
                run(command, folder / project, DJANGO_SUPERUSER_PASSWORD=PASSWORD)
            done.touch()
    return folder


def run(command: list[str | Path], folder: Path, **env: str) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@dataclass
class Site:
    """The example behind nginx at `url`; the file of its table is `table`."""

    url: str
    table: Path
    server: MountpointServe


@pytest.fixture(scope="module", params=["keep", "strip"])
def site(request, installed, tmp_path_factory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site") / "several"
    shutil.copytree(installed, folder, ignore=shutil.ignore_patterns(".venv"))
    for venv in installed.glob("*/.venv"):
        (folder / venv.relative_to(installed)).symlink_to(venv)
    table = folder / "mounts.toml"

    def options(port: int) -> RenderOptions:
        upstreams = [listen_address(f"127.0.0.1:{port}")]
        return RenderOptions("localhost", shape=request.param, upstreams=upstreams, standalone=True)

    section = proxy_section(make_plan(load_config(table), options(1)).settings)
    table.write_text(f"{table.read_text(encoding='utf-8')}\n{section}\n", encoding="utf-8")
    with children(MountpointServe) as launch, children(Front) as launch_proxy, reserved_ports() as ports:
        command = [sys.executable, "-m", "mountpoint", "serve", table, "--listen", "127.0.0.1:0"]
        server = launch(command, cwd=folder)
        server.wait_until_serving()
        configuration = proxy_config(load_config(table), "nginx", options(server.port))
        front = start(launch_proxy, "nginx", configuration.text, folder / "nginx", ports, None)
        server.wait_for(" is ready after ", count=len(MOUNTS))
        yield Site(front.url, table, server)


class KeepRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass
class Browser:
    """A client with a cookie jar, which does not follow redirects by itself."""

    url: str
    jar: http.cookiejar.CookieJar = field(default_factory=http.cookiejar.CookieJar)

    def __call__(
        self, path: str, form: dict[str, str] | None = None, *, user: str = "", **options: Any
    ) -> tuple[str, Response]:
        """Request *path*, a path or URL; a *form* is posted. Return the URL and the response."""
        url = urllib.parse.urljoin(self.url, path)
        data = urllib.parse.urlencode(form).encode() if form is not None else options.pop("data", None)
        request = urllib.request.Request(url, data, **options)
        if user:
            request.add_header("Authorization", "Basic " + base64.b64encode(f"{user}:{PASSWORD}".encode()).decode())
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(self.jar), KeepRedirects
        )
        try:
            with opener.open(request, timeout=TIMEOUT) as response:
                return url, Response(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return url, Response(error.code, error.headers, error.read())

    def text(self, path: str) -> str:
        _, response = self(path)
        assert response.status == 200, response
        return response.text

    def location(self, path: str, form: dict[str, str] | None = None, **options: Any) -> str:
        """Return the path to which a request is redirected."""
        url, response = self(path, form, **options)
        assert response.status in (301, 302, 303, 307, 308), response
        target = urllib.parse.urljoin(url, response.headers["Location"])
        assert target.startswith(f"{self.url}/"), target
        return target.removeprefix(self.url)

    def require_stylesheets(self, path: str, count: int) -> None:
        """Fail unless the page at *path* has *count* stylesheets, and all are there."""
        url, page = self(path)
        found = [tag for tag in re.findall(r"<link[^>]*>", page.text) if "stylesheet" in tag]
        assert len(found) == count, page.text
        for tag in found:
            _, sheet = self(urllib.parse.urljoin(url, re.search(r'href="([^"]+)"', tag)[1]))
            assert (sheet.status, sheet.headers.get_content_type()) == (200, "text/css"), tag


@pytest.fixture
def browser(site) -> Browser:
    return Browser(site.url)


# ------------------------------------------------------------------------------------------------------------ the tests


def test_each_prefix_is_redirected_to_its_app(browser):
    assert {mount: browser.location(mount) for mount in MOUNTS} == {mount: f"{mount}/" for mount in MOUNTS}


def test_two_django_projects_have_their_own_logins(browser):
    for mount in ("/shop", "/blog"):
        login = browser.location(f"{mount}/admin/")
        assert login == f"{mount}/admin/login/?next={mount}/admin/"
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', browser.text(login))[1]
        form = {"csrfmiddlewaretoken": token, "username": "alice", "password": PASSWORD, "next": f"{mount}/admin/"}
        assert browser.location(login, form, headers={"Referer": browser.url}) == f"{mount}/admin/"
    assert {(cookie.name, cookie.path) for cookie in browser.jar} == {
        (name, mount) for name in ("csrftoken", "sessionid") for mount in ("/shop", "/blog")
    }
    for mount in ("/shop", "/blog"):
        assert f'href="{mount}/admin/auth/user/add/"' in browser.text(f"{mount}/admin/")


def test_the_static_files_of_django_are_there(browser):
    browser.require_stylesheets("/shop/admin/login/", 5)
    browser.require_stylesheets("/blog/", 1)


def test_links_redirects_and_sessions_of_the_second_django_work(browser):
    assert "Visits: 1" in browser.text("/blog/")
    page = browser.text("/blog/")
    assert "Visits: 2" in page
    assert browser.location(re.search(r'<a href="([^"]+)', page)[1]) == "/blog/"


@pytest.mark.parametrize(("mount", "flask"), [("/old", "Flask 2.2"), ("/new", "Flask 3.1")])
def test_each_flask_has_its_version_and_its_modules(browser, mount, flask):
    assert f"<h1>{mount[1:]}</h1>" in browser.text(f"{mount}/")
    assert flask in browser.text(f"{mount}/")
    browser.require_stylesheets(f"{mount}/", 1)
    assert browser.location(f"{mount}/add", {"text": "milk"}) == f"{mount}/"
    assert "<li>milk</li>" in browser.text(f"{mount}/")
    assert "Yours: 1" in browser.text(f"{mount}/")
    assert {(cookie.name, cookie.path) for cookie in browser.jar} == {("session", mount)}


@pytest.mark.parametrize(("mount", "version"), [("/old", "3.8"), ("/new", "3.13")])
def test_each_flask_has_its_python(browser, site, mount, version):
    python = site.table.parent / mount[1:] / ".venv" / "bin" / "python"
    shown = re.search(r"Python (\d+\.\d+)", browser.text(f"{mount}/"))[1]
    assert shown == run([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], python.parent).strip()
    if shown != version:
        pytest.skip(f"Python {version} is not installed")


def test_radicale_stores_an_event(browser):
    calendar = "/radicale/alice/calendar/"
    assert browser(calendar, method="MKCALENDAR", user="alice")[1].status == 201
    assert browser(f"{calendar}1.ics", data=EVENT.encode(), method="PUT", user="alice")[1].status == 201
    _, listing = browser(calendar, method="PROPFIND", headers={"Depth": "1"}, user="alice")
    assert re.findall("<response><href>([^<]+)</href>", listing.text) == [calendar, f"{calendar}1.ics"]
    assert "SUMMARY:Talk" in browser(f"{calendar}1.ics", user="alice")[1].text
    assert browser(calendar, method="DELETE", user="alice")[1].status == 200
    assert browser(calendar, method="PROPFIND")[1].status == 401


def test_the_pages_of_radicale_have_their_files(browser):
    page = "/radicale/"
    while (answer := browser(page)[1]).status != 200:
        page = browser.location(page)
    assert page == "/radicale/.web/"
    browser.require_stylesheets(page, 1)
    assert browser(urllib.parse.urljoin(page, re.search(r'src="([^"]+\.js)"', answer.text)[1]))[1].status == 200


def wheel(folder: Path, name: str, size: int) -> Path:
    """Write a wheel with the module *name*, and with *size* bytes of data."""
    file = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": b"ANSWER = 42\n",
        f"{name}.bin": os.urandom(size),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip('=')},{len(data)}\n"
        for path, data in files.items()
    )
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    with zipfile.ZipFile(file, "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return file


def test_a_wheel_is_uploaded_to_pypiserver_and_installed_from_it(browser, site, tmp_path):
    file = wheel(tmp_path, "hello_mount", 17 * 2**20)  # larger than the body that mountpoint accepts by default
    boundary = "mount"
    fields = {":action": "file_upload", "protocol_version": "1", "name": "hello_mount", "version": "1.0"}
    body = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ).encode()
    body += f'--{boundary}\r\nContent-Disposition: form-data; name="content"; filename="{file.name}"\r\n\r\n'.encode()
    body += file.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    assert browser("/pypi/", data=body, headers=headers)[1].status == 401
    assert browser("/pypi/", data=body, headers=headers, user="alice")[1].status == 200
    assert '<a href="/pypi/simple/"' in browser.text("/pypi/")

    pip = [sys.executable, "-m", "pip", "--isolated", "install", "--no-cache-dir", "--quiet"]
    if importlib.util.find_spec("pip") is None:
        pip = ["uv", "pip", "install", "--no-cache", "--no-config", "--quiet"]
    command = [*pip, "--no-deps", "--target", "target", "--index-url", f"{site.url}/pypi/simple/", "hello-mount"]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    run(command, tmp_path, PIP_CONFIG_FILE=os.devnull, PIP_TRUSTED_HOST="localhost", PATH=path)
    assert (tmp_path / "target" / "hello_mount.bin").stat().st_size == 17 * 2**20


def test_events_of_the_patched_app_arrive_as_they_are_sent(browser):
    request = urllib.request.Request(f"{browser.url}/live/events")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=TIMEOUT) as response:
        assert response.headers.get_content_type() == "text/event-stream"
        assert [response.readline(), response.readline()] == [b"data: hello\n", b"\n"]
        assert browser("/live/say", {"text": "at once"})[1].text == "said"
        assert b"data: at once\n" in iter(response.readline, b"")


def test_the_script_gets_its_arguments(browser):
    assert browser.text("/report/").splitlines()[0] == "Sales"


def test_check_finds_no_fault(installed):
    found = run([sys.executable, "-m", "mountpoint", "check"], installed)
    assert f"{len(MOUNTS)} mounts, 0 problems, 0 warnings" in found


def test_the_doctor_finds_no_fault_through_the_proxy(site):
    command = [sys.executable, "-m", "mountpoint", "doctor", site.table, "--url", f"{site.url}/"]
    assert "; 0 sure, 0 likely" in run(command, site.table.parent)
