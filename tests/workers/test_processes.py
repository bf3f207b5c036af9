"""The part of the workers that a server without own processes imports."""

import subprocess
import sys
import threading
from types import ModuleType

import pytest

from mountpoint.workers import processes


@pytest.mark.parametrize("state", ["not imported", "being imported"])
def test_no_thread_waits_for_a_worker_before_there_are_any(monkeypatch, state):
    monkeypatch.delitem(sys.modules, "mountpoint.workers.supervisor", raising=False)
    if state == "being imported":
        name = "mountpoint.workers.supervisor"
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    assert processes.worker_stack(threading.get_ident()) is None
    assert processes.report_on_workers(print) is None


def test_a_server_without_workers_closes_none():
    workers = processes.WorkerProcesses()
    workers.unused_by([]).close()
    workers.close()


def test_the_modules_for_workers_are_imported_only_when_they_are_prepared():
    code = (
        "import sys; from mountpoint.lifecycle import serve; from mountpoint.workers import processes\n"
        "def has(): return 'mountpoint.workers.supervisor' in sys.modules\n"
        "before = has(); processes.prepare(); print(before, has())"
    )
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60).stdout
    assert output.split() == ["False", "True"]
