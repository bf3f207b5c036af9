"""Fixtures for the tests of reloads."""

import logging

import pytest
from support.reloading import ReloadedSite
from support.tables import imports_undone

from mountpoint.loading.isolation import forget_failed_loads


@pytest.fixture
def site(tmp_path, call, caplog):
    """Return a `ReloadedSite` in an empty folder."""
    caplog.set_level(logging.INFO, "mountpoint")
    with imports_undone(tmp_path):
        yield ReloadedSite(tmp_path, call)
    forget_failed_loads()
