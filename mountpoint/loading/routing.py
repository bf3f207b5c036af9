"""Build the WSGI application that serves loaded mounts, each app in the middleware that its settings ask for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..config.reader import Config
from ..wsgi.cookies import ScopedCookies
from ..wsgi.limits import ConcurrencyLimit, MaxBody
from ..wsgi.mount_env import MountEnv
from ..wsgi.responses import unavailable
from ..wsgi.router import Router
from ..wsgi.table import Mount, MountTable
from .loaded_mount import LoadedMount

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

RETRY_AFTER = 60  # seconds until a client may ask again for an app that failed to load
RETRY_AFTER_LOADING = 5  # the same for an app that is still loading


def build_table(mounts: Sequence[LoadedMount], *, limits: bool = False) -> MountTable:
    """Return the mount table of *mounts*, in which a broken mount has an app that responds 503.

    *limits* applies the ``limit`` of each mount inside its app, for servers other than ours. Our own server limits a
    mount before it takes a thread.
    """
    return MountTable(
        Mount(
            mount.config.key,
            _wrap_app(mount, limits),
            slash=mount.config.slash,
            dot_segments=mount.config.dot_segments,
        )
        for mount in mounts
    )


def _wrap_app(mount: LoadedMount, limits: bool) -> WSGIApplication:
    """Return the app of *mount*, or one that responds 503, in the middleware that its settings ask for."""
    app = mount.app or _unavailable(mount)
    if mount.app and mount.config.env:
        app = MountEnv(app, mount.config.env)
    if mount.config.cookies == "scoped":
        app = ScopedCookies(app)
    if limits and mount.config.limit is not None:
        app = ConcurrencyLimit(app, mount.config.limit)
    return app if mount.config.max_body is None else MaxBody(app, mount.config.max_body)


def _unavailable(mount: LoadedMount) -> WSGIApplication:
    if mount.is_loaded:
        return unavailable(RETRY_AFTER, "the app could not be loaded")
    return unavailable(RETRY_AFTER_LOADING, "the app is still loading")


def build_router(config: Config, table: MountTable) -> Router:
    """Return the WSGI application that serves *table* with the ``[proxy]`` and ``[doctor]`` settings of *config*."""
    return Router(table, config.proxy, config.doctor.key, has_request_ids=config.server.request_id)
