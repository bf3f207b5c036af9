"""``mountpoint serve --reload``: for development. hupper watches; a child serves, on its own main thread.

The child is drained, and started again, when a module that it imported changes, or the table does, or a file whose
change could mend a broken mount.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import NoReturn

from ..config.reader import load_config
from ..errors import MountpointError, ServeError

PATIENCE = 5  # seconds that a child has for its drain, before it is killed


def serve_reloading(file: str, overrides: Mapping[str, object]) -> NoReturn:
    """Serve *file* in a child, again and again, until a signal. Raises `ServeError` if hupper is not installed."""
    try:
        import hupper  # type: ignore[import-untyped]
    except ImportError:
        raise ServeError("--reload needs hupper; install it: pip install 'mountpoint[reload]'") from None
    hupper.start_reloader(
        "mountpoint.lifecycle.autoreload.serve_child", worker_args=[file, dict(overrides)], shutdown_interval=PATIENCE
    )
    raise AssertionError  # pragma: no cover - hupper ends the process itself


def serve_child(file: str, overrides: Mapping[str, object]) -> None:
    """Serve *file* once, in the child that hupper has started."""
    import hupper

    from .serve import end_process, serve

    watch = hupper.get_reloader().watch_files
    watch([file])  # first, so that a table with a mistake in it is read again once that is mended
    try:
        config = load_config(file, overrides)
        code = serve(config, watch=watch)
    except MountpointError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    end_process(code, config.server.drain_timeout)
