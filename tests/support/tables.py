"""Mount tables, folders with apps, and the command line, for the tests of the file, the loading and the commands."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mountpoint.config.reader import Config, load_config
from mountpoint.errors import ConfigError

TABLES = Path(__file__).parent.parent / "config" / "tables"
#: The source of a module with the smallest WSGI app.
APP = "def app(environ, start_response):\n    return []\n"
REWRITE = "MOUNTPOINT_REWRITE_TABLES" in os.environ

#: The cache of bytecode compares whole seconds, so a module that a test rewrites would stay the old one.
sys.dont_write_bytecode = True


def tables(suffix: str) -> list[Path]:
    """Return the tables that have a file with *suffix* beside them."""
    found = sorted(file.with_suffix(".toml") for file in TABLES.glob(f"*{suffix}"))
    return [file for file in found if sys.platform != "win32" or not file.name.startswith("unix_")]


def to_compare(file: Path, actual: str) -> tuple[str, str]:
    """Return *actual* and the content of *file*, which `REWRITE` replaces. ``<here>`` is the folder of tables."""
    actual = actual.replace(str(TABLES), "<here>").replace(str(TABLES.parent.parent), "<tests>")
    if REWRITE:
        file.write_text(actual, encoding="utf-8", newline="\n")
    expected = file.read_text(encoding="utf-8")
    if os.sep == "\\":
        actual, expected = actual.replace("\\", "/"), expected.replace("\\", "/")
    return actual, expected


def write(folder: Path, files: dict[str, str]) -> Path:
    """Write *files*, texts by name, below *folder*, and return the folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    return folder


def config_of(folder: Path, toml: str, **overrides: object) -> Config:
    """Return the configuration in *toml*, written to ``mounts.toml`` in *folder*."""
    write(folder, {"mounts.toml": toml})
    return load_config(folder / "mounts.toml", overrides)


def problems_of(folder: Path, toml: str, **overrides: object) -> list[str]:
    """Return the problems in *toml*, without the name of the file."""
    with pytest.raises(ConfigError) as caught:
        config_of(folder, toml, **overrides)
    return [str(problem) for problem in caught.value.problems]


@contextmanager
def imports_undone(folder: Path) -> Iterator[None]:
    """Restore ``sys.path`` afterwards, and forget the modules that were imported from below *folder*."""
    path, modules = sys.path[:], set(sys.modules)
    try:
        yield
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - modules:
            places = [getattr(sys.modules[name], "__file__", None), *getattr(sys.modules[name], "__path__", ())]
            if any(place and Path(place).resolve().is_relative_to(folder.resolve()) for place in places):
                del sys.modules[name]
        importlib.invalidate_caches()


def command(*arguments: str, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `mountpoint` with *arguments* in a new process and return the result."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "mountpoint", *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"} | (env or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
