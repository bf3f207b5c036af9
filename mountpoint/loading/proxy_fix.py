"""Find werkzeug's ProxyFix around an app, and whether the code of the app itself applies it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ..config.reader import MountConfig
from .app_kinds import is_instance_by_name
from .eviction import is_own, locations


def has_proxy_fix(app: Any) -> bool:
    """Whether *app* or an app that it wraps, in an attribute ``wsgi_app`` or ``app``, is werkzeug's ProxyFix."""
    layer = app
    for _ in range(10):  # bounded, since an object may wrap itself
        if is_instance_by_name(layer, "werkzeug.ProxyFix"):
            return True
        if not hasattr(layer, "__dict__"):
            return False
        layer = vars(layer).get("wsgi_app") or vars(layer).get("app")
    return False


def applies_proxy_fix_itself(mount: MountConfig) -> bool:
    """Whether a module in the root of *mount* names ProxyFix. If none does, an installed package applies it."""
    for module in [*sys.modules.values()]:
        for place in locations(module):
            if is_own(place, mount.root) and "ProxyFix" in _text(Path(place)):
                return True
    return False


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:  # a folder, of a namespace package
        return ""
