"""A load inside another server, as by ``gunicorn 'mountpoint:load()'``: the frames of that server are not the app's."""

from __future__ import annotations

import pytest
from support.tables import APP, config_of, imports_undone, write

from mountpoint.loading.loader import load_mounts

CODE = {
    "runs a command": "import subprocess, sys\nsubprocess.run([sys.executable, '-c', ''], check=True)\n",
    "listens": "import socket\nsocket.create_server(('127.0.0.1', 0)).close()\n",
}
HOSTS = {"gunicorn": ("gunicorn.app.base", "run"), "uvicorn": ("uvicorn.main", "run"), "flask": ("flask.app", "run")}


@pytest.fixture
def load_inside(tmp_path):
    """Return ``load_inside(host, code)``, which loads an app in a function of the module that starts the host."""

    def load_inside(host, code):
        module, function = HOSTS[host]
        names = {"__name__": module}
        exec(f"def {function}(load): return load()", names)
        config = config_of(write(tmp_path, {"web.py": code + APP}), '[mounts]\n"/" = "web:app"\n')
        return names[function](lambda: load_mounts(config))[0]

    with imports_undone(tmp_path):
        yield load_inside


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("code", CODE.values(), ids=CODE)
def test_an_app_may_run_commands_and_listen_at_import(load_inside, host, code):
    assert load_inside(host, code).error is None


def test_an_app_that_starts_the_same_server_is_refused(load_inside):
    error = load_inside("flask", "from flask import Flask\nFlask('x').run(port=0)\n").error
    assert "with app.run(), at " in str(error)
