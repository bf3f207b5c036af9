from __future__ import annotations

import copy
from typing import Any

import pytest
from support.snapshots import SNAPSHOT, mount


@pytest.fixture
def snapshot() -> dict[str, Any]:
    """A server with a mount that fails, one that starts and one that is broken."""
    return copy.deepcopy(SNAPSHOT)


@pytest.fixture
def many(snapshot) -> dict[str, Any]:
    """A server with 300 mounts."""
    snapshot["mounts"] = [mount(f"/app{number:03}", number) for number in range(300)]
    return snapshot
