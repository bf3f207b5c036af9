"""Reports about the workers of mounts, while the modules that know workers may not be there yet."""

import sys
from types import ModuleType

import pytest

from mountpoint.workers import processes


@pytest.mark.parametrize("module", [None, ModuleType("mountpoint.workers.supervisor")], ids=["absent", "half imported"])
def test_there_are_no_workers_before_their_modules_are_imported(monkeypatch, module):
    monkeypatch.setitem(sys.modules, "mountpoint.workers.supervisor", module)
    assert processes.report_on_workers(print) is None
    assert processes.worker_stack(1) is None
