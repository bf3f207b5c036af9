"""Fixtures for the tests of reloads."""

import logging

import pytest
from support.reloading import ReloadedSite
from support.running import socket_path
from support.tables import imports_undone

from mountpoint.loading.eviction import evict_failed_modules

__all__ = ["socket_path"]


@pytest.fixture
def site(tmp_path, call, caplog):
    """Return a `ReloadedSite` in an empty folder."""
    caplog.set_level(logging.INFO, "mountpoint")
    with imports_undone(tmp_path):
        yield ReloadedSite(tmp_path, call)
    evict_failed_modules()
