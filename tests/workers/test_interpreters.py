"""A worker runs under any interpreter from Python 3.8 on, and as another user."""

import ast
import json
import os
import pwd
import shutil
import subprocess
from pathlib import Path

import pytest
from support.client import app_file
from support.tables import write
from support.wsgi_calls import call_app
from test_import_directions import imported

from mountpoint.errors import LoadError
from mountpoint.workers import launch

APP = app_file("own_app")
APP_TEXT = """def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [BODY]
"""
VERSIONS = ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13"]


def interpreter(version):
    """Return the path of a Python of *version*, or skip the test."""
    found = [*Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python"), shutil.which(f"python{version}")]
    for path in filter(None, found):
        if subprocess.run([path, "-c", ""], check=False, capture_output=True).returncode == 0:
            return path
    return pytest.skip(f"Python {version} is not installed")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_worker_runs_under_each_python(start, version):
    app = start(f'python = "{interpreter(version)}"')
    found = json.loads(call_app(app, "/process").body)
    assert found["version"] == [int(number) for number in version.split(".")]
    assert found["modules"] == []
    for page in ("hello", "generator", "big_pieces", "file", "write"):
        assert call_app(app, f"/{page}").status == 200
    assert call_app(app, "/spawn", QUERY_STRING="spawn").body == b"5 -15"


@pytest.mark.parametrize("version", ["3.8", "3.13"])
@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("missing", 'no module "missing"'),
        ("raises", "ZeroDivisionError"),
        ("exits", "SystemExit"),
        ("nothing", 'neither "application" nor "app"'),
        ("relative", "could not be imported"),
        ("imports", "install the package that contains"),
        ("parses", "it parses sys.argv"),
        ("syntax", "SyntaxError"),
        ("wrong:app", "is not a WSGI application"),
        ("wrong:factory()", "returned None"),
        ("wrong:typo", 'has no attribute "typo"'),
        ("shadowed.inner:app", "no module"),
        ("site.wsgi", 'rename "site.wsgi" to "site_wsgi.py"'),
    ],
)
def test_a_fault_is_explained_under_each_python(start, tmp_path, version, module, message):
    python = interpreter(version)
    sources = {
        "raises.py": "1/0",
        "exits.py": "import sys; sys.exit(1)",
        "nothing.py": "",
        "relative.py": "from . import x",
        "imports.py": "import nowhere_at_all",
        "parses.py": "import argparse; argparse.ArgumentParser().error('x')",
        "syntax.py": "def",
        "wrong.py": "app = 5\ndef factory(): pass",
        "shadowed.py": "",
        "site.wsgi": "",
    }
    write(tmp_path, sources)
    with pytest.raises(LoadError, match=message):
        start(f'python = "{python}"', app=module)


def test_an_older_python_is_refused_with_its_version(start):
    with pytest.raises(LoadError) as caught:
        start(f'python = "{interpreter("3.7")}"')
    assert "this worker needs Python 3.8 or later, and runs under 3.7" in caught.value.details


@pytest.mark.parametrize("name", launch.SOURCES)
def test_the_sources_of_a_worker_have_the_grammar_of_python_38(name):
    file = Path(launch.__file__).parent.parent / f"{name}.py"
    if file.exists():
        ast.parse(file.read_text("utf-8"), feature_version=(3, 8))


def test_each_source_of_a_worker_comes_after_those_that_it_imports():
    package = Path(launch.__file__).parent.parent
    for index, name in enumerate(launch.SOURCES):
        file = package / f"{name}.py"
        needed = imported(file.read_text("utf-8"), file) if file.exists() else ()
        own = {
            module.removeprefix("mountpoint.").replace(".", "/")
            for module in needed
            if module.startswith("mountpoint.")
        }
        assert own <= {*launch.SOURCES[:index]}, name


@pytest.mark.parametrize("patch", ["gevent.monkey.patch_all", "eventlet.monkey_patch"])
def test_an_app_that_patches_python_runs_in_its_own_process(start, tmp_path, patch):
    pytest.importorskip(patch.partition(".")[0])
    module = patch.rpartition(".")[0]
    text = f"import {module}\n{patch}()\nimport threading, time\n" + APP_TEXT.replace(
        "    start_response", "    time.sleep(0)\n    name = threading.current_thread().name\n    start_response"
    ).replace("BODY", "name.encode()")
    write(tmp_path, {"patched.py": text})
    assert call_app(start(app="patched:app", env={"PYTHONWARNINGS": "ignore"}), "/").body.startswith(b"mountpoint-")


def test_modules_of_the_app_do_not_stand_in_for_those_of_python(start, tmp_path):
    names = ("json.py", "os.py", "types.py", "socket.py", "struct.py", "threading.py")
    write(tmp_path, dict.fromkeys(names, "1/0") | {"plain.py": APP_TEXT.replace("BODY", "b'x'")})
    assert call_app(start(app="plain:app"), "/").body == b"x"


def test_a_program_that_is_not_python_is_reported(start):
    with pytest.raises(LoadError, match="its worker ended before it was ready, exit code 1"):
        start('python = "/bin/false"')


def test_values_of_a_factory_arrive_as_they_are(start, tmp_path):
    inner = APP_TEXT.replace("BODY", "repr((args, sorted(kwargs.items()))).encode()").replace("\n", "\n    ")
    write(tmp_path, {"factory.py": f"def make(*args, **kwargs):\n    {inner}\n    return app\n"})
    app = start(app="factory:make((1, 'é'), b'\\\\xff', 1e999, key={'a': {1}})")
    assert call_app(app, "/").body.decode() == "(((1, 'é'), b'\\xff', inf), [('key', {'a': {1}})])"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the user")
def test_a_worker_runs_as_another_user(start, tmp_path):
    nobody = pwd.getpwnam("nobody")
    python = shutil.which("python3", path="/usr/bin:/bin")
    for folder in (tmp_path, *tmp_path.parents):
        folder.chmod(folder.stat().st_mode | 0o055)
    shutil.copy(APP, tmp_path / "mine.py")
    app = start(f'python = "{python}"\nuser = "nobody"', app="mine:app")
    uid, gid, groups = json.loads(call_app(app, "/process").body)["ids"]
    assert (uid, gid) == (nobody.pw_uid, nobody.pw_gid)
    assert 0 not in groups
    assert call_app(app, "/spawn", QUERY_STRING="fork").body == b"5 -15"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the user")
@pytest.mark.parametrize("keys", ['user = "no-such-user"', 'group = "no-such-group"'])
def test_an_unknown_user_is_refused(start, keys):
    with pytest.raises(LoadError, match="expected a user and a group of this system"):
        start(keys)


def test_a_user_is_refused_where_the_server_is_not_root(start, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LoadError, match="a server that runs as root, and this one runs as user 1000"):
        start('user = "nobody"')
