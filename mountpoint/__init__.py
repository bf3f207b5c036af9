"""mountpoint: several WSGI apps in one process, each under its own prefix.

The names that need a configuration file or a server are imported when they are first used, so that
``from mountpoint import Dispatcher`` imports neither tomllib nor waitress.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from .errors import AppRaised as AppRaised
from .errors import ConfigError as ConfigError
from .errors import LoadError as LoadError
from .errors import MountpointError as MountpointError
from .errors import NoSuchAttribute as NoSuchAttribute
from .errors import NoSuchModule as NoSuchModule
from .errors import NotAnApp as NotAnApp
from .errors import ServeError as ServeError
from .errors import UnreadableError as UnreadableError
from .errors import UsageError as UsageError
from .wsgi.dispatch import Dispatcher as Dispatcher
from .wsgi.limits import ConcurrencyLimit as ConcurrencyLimit
from .wsgi.proxies import TrustedProxies as TrustedProxies
from .wsgi.table import Match as Match
from .wsgi.table import Mount as Mount
from .wsgi.table import MountTable as MountTable

if TYPE_CHECKING:
    from .config.reader import Config as Config
    from .config.reader import load_config as load_config
    from .lifecycle.serve import serve as serve
    from .loading.json_log import JsonFormatter as JsonFormatter
    from .loading.loader import load as load

_LAZY = {
    "Config": "config.reader",
    "JsonFormatter": "loading.json_log",
    "load": "loading.loader",
    "load_config": "config.reader",
    "serve": "lifecycle.serve",
}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(import_module(f".{_LAZY[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
