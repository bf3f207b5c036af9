"""Apps that share one process with mountpoint's own state: environment, arguments, patches, and modules of one name."""

import importlib.util
import signal
import sys

import pytest
from support.sources import LINTED
from support.tables import write

SHOW = f"""
import os, sys
import argparse
argparse.ArgumentParser().parse_args()
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{{environ.get('NAME')}} {{os.environ.get('NAME')}} {{environ.get('HTTP_PROXY')}}".encode()]
{LINTED}"""


def test_env_is_in_environ_and_the_app_sees_no_option_of_ours(serve, tmp_path):
    write(tmp_path, {"show.py": SHOW})
    server = serve(
        """
        [mounts]
        "/a" = { app = "show:app", env = { NAME = "a", HTTP_PROXY = "forged" } }
        "/b" = { app = "show:app", env = { NAME = "b" }, cookies = "scoped" }
        """,
        "--threads=3",
    )
    assert [server.request(path).text for path in ("/a/", "/b/")] == ["a None None", "b None None"]


@pytest.mark.skipif(importlib.util.find_spec("gevent") is None, reason="pip install gevent")
def test_an_app_that_patches_does_not_change_the_server(serve, tmp_path):
    sibling = f"import time\nassert 'gevent' not in time.sleep.__module__\n{SHOW}"
    write(tmp_path, {"green.py": f"from gevent import monkey\nmonkey.patch_all()\n{SHOW}", "show.py": sibling})
    server = serve('[mounts]\n"/green" = "green:app"\n"/a" = "show:app"\n')
    assert server.request("/green/").status == 503
    assert server.request("/a/").text == "None None None"
    assert "green.py calls gevent's patch_all(), which would replace the sockets" in server.log()
    assert server.stop() == 0


def test_the_log_warns_of_variables_that_two_apps_share(serve, tmp_path):
    code = f"import os\nos.environ.setdefault('SECRET_KEY', __name__)\n{SHOW}"
    write(tmp_path, {"one.py": code, "two.py": code})
    server = serve('[mounts]\n"/a" = "one:app"\n"/b" = "two:app"\n')
    server.wait_for("/b: its load has read SECRET_KEY, with the values that the load of /a has set")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")
def test_a_clash_at_a_reload_leaves_the_old_table(serve, tmp_path):
    lazily = SHOW.replace("    start_response", "    import util\n    start_response", 1)
    write(tmp_path, {"a/one.py": lazily, "a/util.py": "", "b/two.py": lazily, "b/util.py": ""})
    server = serve('[mounts]\n"/a" = "a/one.py:app"\n')
    (tmp_path / "mounts.toml").write_text('[mounts]\n"/a" = "a/one.py:app"\n"/b" = "b/two.py:app"\n')
    server.send(signal.SIGHUP)
    server.wait_for("/b is broken: one process can import only one module of each name")
    server.wait_for("reload ended")
    assert server.request("/a/").status == 200
    assert server.request("/b/").status == 503
