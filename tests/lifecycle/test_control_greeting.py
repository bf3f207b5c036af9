"""The first message of a server to each command."""

from importlib import metadata
from types import SimpleNamespace

from mountpoint.lifecycle.control import Control
from mountpoint.status.process import versions


def test_a_server_whose_package_is_being_replaced_greets_without_a_version(tmp_path, monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    versions.cache_clear()
    try:
        control = Control(SimpleNamespace(file=tmp_path / "mounts.toml"), None, lambda: "serving")
        greeting = control._greeting()
        assert (greeting["state"], greeting["version"]) == ("serving", None)
    finally:
        versions.cache_clear()
