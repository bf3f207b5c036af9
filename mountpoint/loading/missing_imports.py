"""Explain an import that finds no module: the app's own package, a file beside it, another environment, a library."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import TracebackType

from ..config.app_spec import AppSpec
from ..errors import did_you_mean
from .module_files import top_level_modules

_PARENTS = 3  # folders above the root in which the package of an app is expected


def package_import_advice(spec: AppSpec, root: Path, missing: str, own: TracebackType | None) -> str:
    """Return how to name an app that imports its own package by its full name, or an empty string for other errors.

    ``shop/web.py:app`` has the root ``shop``, where ``import shop.db`` finds nothing. *missing* is the name that was
    not found, and *own* the traceback from the first frame of the app.
    """
    if own is None or not missing:
        return ""
    names: list[str] = []
    for folder in [*[root.resolve(), *root.resolve().parents][:_PARENTS]]:
        names.insert(0, folder.name)
        if folder.name == missing and all(name.isidentifier() for name in names):
            _, colon, attribute = spec.text.partition(".py:" if spec.folder else ":")
            app = ".".join([*names, spec.module]) + (f":{attribute}" if colon else "")
            return (
                f'; "{missing}" is the package of the app itself, so name the app as a part of it: '
                f'write app = "{app}", and root = "{folder.parent}"'
            )
    return ""


def missing_import_hint(missing: str, root: Path, own: TracebackType | None) -> str:
    """Return how to get the module *missing*, which the code of an app imports, or an empty string.

    A name that code has made at run time, as Django does with the name of its settings, may be any mistake.
    """
    importer = ""
    while own is not None:
        file = own.tb_frame.f_code.co_filename
        # `module_origins` wraps the import system during a load.
        if not file.startswith("<frozen importlib") and Path(file).parent != Path(__file__).parent:
            importer = file
        own = own.tb_next
    if importer in ("", importlib.__file__):
        return ""
    top, dot, _ = missing.partition(".")
    if not top or dot or top in getattr(sys, "stdlib_module_names", ()):
        return ""
    if advice := environment_advice(top, root):
        return advice
    if near := did_you_mean(top, top_level_modules(root) if root.is_dir() else ()):
        return near
    return f'; install the package that contains "{top}": {sys.executable} -m pip install PACKAGE'


def environment_advice(name: str, root: Path) -> str:
    """Return advice to run the app in a virtual environment in or below *root* that has the module *name*, or ""."""
    for folder in [root, *sorted(entry for entry in root.iterdir() if entry.is_dir())] if root.is_dir() else []:
        for python in sorted(folder.glob("*/bin/python")):
            environment = python.parent.parent
            packages = environment.glob("lib/python*/site-packages")
            has_it = any((place / name).is_dir() or (place / f"{name}.py").is_file() for place in packages)
            if has_it and environment.resolve() != Path(sys.prefix).resolve():
                return f'; the environment {environment} has it: write python = "{python}"'
    return ""
