"""The processes of all mounts, as the rest of the server asks about them."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from mountpoint.workers.processes import report_on_workers, worker_stack


@pytest.mark.parametrize("module", [None, ModuleType("supervisor")], ids=["not imported", "half imported"])
def test_no_app_has_workers_before_their_module_is_imported(monkeypatch, module):
    monkeypatch.delitem(sys.modules, "mountpoint.workers.supervisor", raising=False)
    if module:
        monkeypatch.setitem(sys.modules, "mountpoint.workers.supervisor", module)
    assert report_on_workers(print) is None
    assert worker_stack(1) is None
