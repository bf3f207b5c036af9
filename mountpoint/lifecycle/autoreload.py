"""``mountpoint serve --reload``, for development: hupper watches files, and a child process serves.

hupper watches the modules that the child and its workers have imported, the table, and the files whose change could
repair a broken mount. When one of them changes, the child drains and hupper starts another child.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import NoReturn

from ..config.reader import load_config
from ..errors import MountpointError, ServeError

SHUTDOWN_SECONDS = 5  # for the drain of a child, before hupper kills it


def serve_with_autoreload(file: str, overrides: Mapping[str, object]) -> NoReturn:
    """Serve *file* in one child after another, until a signal. Raises `ServeError` if hupper is not installed."""
    try:
        import hupper  # type: ignore[import-untyped]
    except ImportError:
        raise ServeError("--reload needs hupper; install it: pip install 'mountpoint[reload]'") from None
    hupper.start_reloader(
        "mountpoint.lifecycle.autoreload.serve_child",
        worker_args=[file, dict(overrides)],
        shutdown_interval=SHUTDOWN_SECONDS,
    )
    raise AssertionError  # pragma: no cover - hupper ends the process itself


def serve_child(file: str, overrides: Mapping[str, object]) -> None:
    """Serve *file* once, in a child that hupper has started."""
    import hupper

    from .serve import serve_and_end

    watch_files = hupper.get_reloader().watch_files
    watch_files([file])  # before it is read: hupper then restarts the child once an error in it is corrected
    try:
        config = load_config(file, overrides)
        serve_and_end(config, watch_files=watch_files)
    except MountpointError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
