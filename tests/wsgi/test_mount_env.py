"""The ``env`` of a mount is in the environ of its requests, except for the names that describe requests."""

import os

import pytest
from support.tables import imports_undone, write

import mountpoint
from mountpoint.wsgi.mount_env import MountEnv, is_request_variable

SHOW = """
import os
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{environ.get('NAME')} {os.environ.get('NAME')}".encode()]
"""


@pytest.mark.parametrize(
    "name",
    ["PATH_INFO", "REMOTE_USER", "HTTPS", "SERVER_NAME", "HTTP_PROXY", "HTTP_HOST", "wsgi.input", "mountpoint.mount"],
)
def test_a_name_that_describes_a_request_is_not_set(call, echo, name):
    values = []

    def app(environ, start_response):
        values.append(environ.get(name))
        return echo("x")(dict(environ), start_response)

    call(MountEnv(app, {name: "from env"}), "/x")
    assert is_request_variable(name)
    assert "from env" not in values
    assert len(values) == 1


@pytest.mark.parametrize("name", ["SERVER_URL", "RADICALE_CONFIG", "HTTPS_ONLY", "REMOTE_API", "path_info"])
def test_any_other_name_replaces_a_variable_of_the_process(call, echo, name):
    seen = []

    def app(environ, start_response):
        seen.append(environ[name])
        return echo("x")(dict(environ), start_response)

    call(MountEnv(app, {name: "of the mount"}), "/x", **{name: "of the process"})  # wsgiref copies os.environ
    assert seen == ["of the mount"]


def test_each_mount_of_a_table_has_its_own_values(tmp_path, call):
    toml = """
        [defaults]
        env = { NAME = "default" }
        [mounts]
        "/a" = { app = "show:app", env = { NAME = "a" } }
        "/b" = { app = "show:app", cookies = "scoped", limit = 1, max_body = 10 }
        """
    write(tmp_path, {"mounts.toml": toml, "show.py": SHOW})
    with imports_undone(tmp_path):
        app = mountpoint.load(tmp_path / "mounts.toml")
        assert [call(app, path).body for path in ("/a/", "/b/")] == [b"a None", b"default None"]
    assert "NAME" not in os.environ
