"""Find werkzeug's ProxyFix around an app, and whether the code of the app itself applies it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from .app_kinds import is_instance_by_name, layers
from .module_files import is_own, locations


def has_proxy_fix(app: Any) -> bool:
    """Whether *app*, or an app that it wraps, is werkzeug's ProxyFix."""
    return any(is_instance_by_name(layer, "werkzeug.ProxyFix") for layer in layers(app))


def names_proxy_fix(root: Path) -> bool:
    """Whether an imported module below *root* names ProxyFix. If none does, an installed package applies it."""
    for module in [*sys.modules.values()]:
        for place in locations(module):
            if is_own(place, root) and "ProxyFix" in _text(Path(place)):
                return True
    return False


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:  # a folder, of a namespace package
        return ""
