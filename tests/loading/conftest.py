from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.tables import imports_undone, write

from mountpoint.config.app_spec import parse_spec
from mountpoint.errors import LoadError
from mountpoint.loading.importing import load_app
from mountpoint.loading.sys_path import SysPath


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Callable[[str, dict[str, str]], Any]]:
    """Load an app by its spec: ``load("tv:app", {"tv.py": "..."})``, with the files in the root."""

    def load(text: str, files: dict[str, str]) -> Any:
        write(tmp_path, files)
        SysPath().set_roots([tmp_path])
        return load_app(parse_spec(text), tmp_path)

    with imports_undone(tmp_path):
        yield load


@pytest.fixture
def failure(load: Callable[..., Any]) -> Callable[[type[LoadError], str, dict[str, str]], LoadError]:
    """Load an app as `load` does, and return its error, which must be of exactly the expected type."""

    def failure(expected: type[LoadError], text: str, files: dict[str, str]) -> LoadError:
        with pytest.raises(LoadError) as caught:
            load(text, files)
        assert type(caught.value) is expected, caught.value
        return caught.value

    return failure
