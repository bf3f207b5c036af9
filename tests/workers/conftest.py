"""Workers without a server: the pool of one mount, and the app that forwards to it."""

import sys

import pytest
from support.client import app_file
from support.tables import config_of

if sys.platform == "win32":
    collect_ignore_glob = ["test_*.py"]

APP = app_file("own_app")


@pytest.fixture
def start(tmp_path):
    """Return ``start(keys, app=, env=)``: start a mount with TOML *keys*, and return its app once it is ready."""
    from mountpoint.workers.processes import WorkerProcesses

    started = []

    def start(keys="", *, app=f"{APP}:app", env=None):
        config = config_of(tmp_path, f'[mounts."/own"]\napp = "{app}"\nprocess = "own"\n{keys}\n')
        processes = WorkerProcesses(env)
        started.append(processes)
        found = processes.start(config.mounts[0])
        assert processes.wait(found, 30)
        if error := processes.error(found):
            raise error
        return found

    yield start
    for processes in started:
        processes.close()
