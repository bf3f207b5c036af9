"""Servers and questions at import: each is an error of its own, with advice, and threads may serve."""

import gc
import socket
import socketserver
import subprocess
import sys
import warnings

import pytest
from support.tables import config_of, imports_undone, write

from mountpoint.loading.loader import load_mounts

WEB = "def app(environ, start_response):\n    return []\n"
SERVERS = {
    "flask": ("from flask import Flask\napp = Flask('x')\napp.run(port=0)\n", "app.run()", 3),
    "flask in debug mode": ("from flask import Flask\napp = Flask('x')\napp.run(port=0, debug=True)\n", "app.run()", 3),
    "bottle": ("import bottle\napp = bottle.app()\nbottle.run(port=0)\n", "run()", 3),
    "bottle's reloader": ("import bottle\napp = bottle.app()\nbottle.run(port=0, reloader=True)\n", "run()", 3),
    "a bottle app": ("import bottle\napp = bottle.Bottle()\napp.run(port=0, server='waitress')\n", "run()", 3),
    "werkzeug": (f"from werkzeug.serving import run_simple\n{WEB}run_simple('127.0.0.1', 0, app)\n", "run_simple()", 4),
    "waitress": (f"import waitress\n{WEB}waitress.serve(app, port=0)\n", "waitress.serve()", 4),
    "wsgiref": (
        f"from wsgiref.simple_server import make_server\n{WEB}make_server('127.0.0.1', 0, app).serve_forever()\n",
        "serve_forever()",
        4,
    ),
    "http.server": (
        "from http.server import HTTPServer\napp = HTTPServer(('127.0.0.1', 0), None)\napp.serve_forever()\n",
        "serve_forever()",
        3,
    ),
    "cheroot": (
        f"from cheroot.wsgi import Server\n{WEB}server = Server(('127.0.0.1', 0), app)\nserver.start()\n",
        "server.start()",
        5,
    ),
}
ASKS = {
    "input": ("input('name? ')\n", 1),
    "in a function": ("def ask():\n    return input()\nask()\n", 2),
    "in a module": ("import other\n", 1),
}


@pytest.fixture
def load(tmp_path):
    """Return ``load(code)``, which loads the app in *code* and returns its mount.

    A server that is refused does not close its socket. It is collected here, since another test would fail for it.
    """
    with imports_undone(tmp_path):
        yield lambda code: load_mounts(config_of(write(tmp_path, {"web.py": code}), '[mounts]\n"/" = "web:app"\n'))[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(("code", "call", "line"), SERVERS.values(), ids=SERVERS)
def test_a_server_that_an_app_starts_at_import_is_refused(load, tmp_path, code, call, line):
    error = load(code).error
    assert str(error) == (
        f'"web:app" starts a server of its own while it is loaded, with {call}, at {tmp_path / "web.py"}:{line}; '
        'mountpoint serves this app, so remove the call, or write it below if __name__ == "__main__":'
    )
    assert str(tmp_path / "web.py") in error.files


@pytest.mark.parametrize(("code", "line"), ASKS.values(), ids=ASKS)
def test_a_question_at_import_is_an_error_that_names_its_line(load, tmp_path, code, line):
    (tmp_path / "other.py").write_text("\ninput()\n")
    error = str(load(code).error)
    place = f"{tmp_path / 'other.py'}:2" if "other" in code else f"{tmp_path / 'web.py'}:{line}"
    assert f'"web:app" asks for input while it is loaded, at {place}; a server has no terminal' in error


def test_another_end_of_a_file_is_reported_as_it_is(load):
    assert "could not be imported: EOFError: no data" in str(load("raise EOFError('no data')\n").error)


def test_an_app_that_catches_the_refusal_loads(load):
    assert load(f"{WEB}import waitress\ntry:\n    waitress.serve(app, port=0)\nexcept Exception:\n    pass\n").app


def test_a_server_in_a_thread_a_listener_and_a_command_are_allowed(load):
    code = f"""
import socket, subprocess, sys, threading
from http.server import HTTPServer
{WEB}
server = HTTPServer(("127.0.0.1", 0), None)
thread = threading.Thread(target=server.serve_forever)
thread.start()
server.shutdown()
thread.join()
server.server_close()
socket.create_server(("127.0.0.1", 0)).close()
subprocess.run([sys.executable, "-c", ""], check=True)
"""
    assert load(code).app


def test_nothing_stays_replaced_after_a_load(load):
    before = socket.socket.listen, socketserver.BaseServer.serve_forever, subprocess.Popen.__init__, sys.stdin
    assert load("1 / 0\n").error
    assert before == (
        socket.socket.listen,
        socketserver.BaseServer.serve_forever,
        subprocess.Popen.__init__,
        sys.stdin,
    )
