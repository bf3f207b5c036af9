"""The greeting of the control socket."""

import sys
from contextlib import closing
from importlib import metadata

import pytest

from mountpoint.config.reader import load_config
from mountpoint.lifecycle.control import Control
from mountpoint.lifecycle.inheritance import Inheritance
from mountpoint.status.process import versions

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no unix sockets")


def test_a_package_without_metadata_greets_without_a_version(tmp_path, socket_path, monkeypatch):
    from mountpoint.lifecycle.control_connection import GREETING_SECONDS, Connection

    def lack(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", lack)
    versions.cache_clear()
    file = tmp_path / "mounts.toml"
    file.write_text(f'[server]\ncontrol = "{socket_path}"\n[mounts]\n"/app" = "app:app"\n')
    control = Control(load_config(file), Inheritance(), lambda: "serving")
    control.start()
    try:
        with closing(Connection(socket_path, GREETING_SECONDS)) as connection:
            assert connection.greeting["version"] is None
            assert connection.greeting["file"] == str(file)
    finally:
        control.close()
        versions.cache_clear()
