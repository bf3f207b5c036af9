"""From a `Config` to the WSGI stack: load every app, make the table, put the layers around it.

    server  ->  [Echo]  ->  TrustedProxies  ->  Dispatcher  ->  app

One app that fails to load takes none of the others down: its mount answers 503, and the log says why.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .answers import unavailable
from .config import DEFAULT_FILE, Config, MountConfig, load_config
from .cookies import ScopedCookies
from .dispatch import Dispatcher
from .errors import LoadError
from .loading import import_path, is_a, load_app, put_on_path, top_level
from .proxies import TrustedProxies
from .table import Mount, MountTable

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

RETRY_AFTER = 60  # seconds: how soon a client is to ask again for an app that could not be loaded

logger = logging.getLogger("mountpoint")


@dataclass(frozen=True, slots=True)
class LoadedMount:
    """A mount of the file with what became of it: its app, or the error that took the app's place."""

    config: MountConfig
    app: WSGIApplication | None = None
    error: LoadError | None = None

    @property
    def state(self) -> str:
        """``ready``, or ``broken: `` and the reason in one line."""
        return f"broken: {self.error}" if self.error else "ready"


def load_mounts(config: Config) -> Sequence[LoadedMount]:
    """Load every app of *config*, in the table's order. What fails is in the result, and is not raised."""
    loader = _Loader(import_path(mount.root for mount in config.mounts))
    return [loader.load(mount) for mount in config.mounts]


class _Loader:
    """Loads one mount after the other, and remembers what of the process the earlier ones have taken."""

    def __init__(self, path: Sequence[str]) -> None:
        put_on_path(path)
        self._path = path
        self._modules: dict[str, Path] = {}  # file, by top-level name
        self._clashes: dict[Path, list[tuple[Path, Path]]] = {}  # by root
        self._django: MountConfig | None = None

    def load(self, mount: MountConfig) -> LoadedMount:
        try:
            self._claim_modules(mount.root)
            app = load_app(mount.app, mount.root)
            if is_a(app, "django.WSGIHandler"):
                self._claim_django(mount)
            return LoadedMount(mount, app=app)
        except LoadError as error:
            return LoadedMount(mount, error=error)
        except OSError as error:  # of the root: what the app itself raises is a LoadError by now
            return LoadedMount(mount, error=LoadError(f"{error.filename} cannot be read: {error.strerror}"))
        finally:
            put_on_path(self._path)  # the app may have put its own folders first

    def _claim_modules(self, root: Path) -> None:
        """Raise LoadError if *root* has a module of the name of another's: a second import answers with the first."""
        if root not in self._clashes:  # each is looked into once, and one file by two names is no clash
            claimed = [(file, self._modules.setdefault(name, file)) for name, file in sorted(top_level(root).items())]
            self._clashes[root] = [(file, other) for file, other in claimed if not file.samefile(other)]
        if clashes := self._clashes[root]:
            files = "; ".join(f"{file} and {other}" for file, other in clashes)
            raise LoadError(
                f"one process can import only one module of a name, and an earlier mount has it: {files}; rename one",
                files=[str(file) for file, _ in clashes],
            )

    def _claim_django(self, mount: MountConfig) -> None:
        """Raise LoadError if there is another Django project: it would answer with that one's URLs and database."""
        first = self._django = self._django or mount
        if (first.root, _package(first)) != (mount.root, _package(mount)):
            raise LoadError(
                f"another Django project is at {first.key}, and one process has room for the settings of one; "
                "serve this one by a process of its own"
            )


def _package(mount: MountConfig) -> str:
    return mount.app.module.partition(".")[0]


def build_table(mounts: Sequence[LoadedMount]) -> MountTable:
    """Return the mount table of *mounts*, with a 503 in the place of each app that failed."""
    return MountTable(
        Mount(mount.config.key, _app(mount), slash=mount.config.slash, dot_segments=mount.config.dot_segments)
        for mount in mounts
    )


def _app(mount: LoadedMount) -> WSGIApplication:
    """Return what is called for *mount*: its app, or a 503 in its place, in the layers that it asks for."""
    app = mount.app or unavailable(RETRY_AFTER)
    return ScopedCookies(app) if mount.config.cookies == "scoped" else app


def build_stack(config: Config, table: MountTable) -> WSGIApplication:
    """Return the WSGI application that serves *table* as *config* says."""
    stack = TrustedProxies(Dispatcher(table), **dataclasses.asdict(config.proxy))
    if not config.doctor.key:
        return stack
    from .doctor.echo import Echo  # of a later layer, and only where it is asked for

    return Echo(stack, config.doctor.key)


def report_broken(mounts: Sequence[LoadedMount], *, strict: bool) -> None:
    """Log every mount of *mounts* that failed, with its traceback; raise `LoadError` if there is one and *strict*."""
    broken = [mount for mount in mounts if mount.error]
    for mount in broken:
        assert mount.error is not None
        details = f"\n{mount.error.details.rstrip()}" if mount.error.details else ""
        logger.error("%s is broken: %s%s", mount.config.key, mount.error, details)
    if broken and strict:
        names = ", ".join(mount.config.key for mount in broken)
        raise LoadError(f"strict: not started, {len(broken)} of {len(mounts)} mounts failed to load: {names}")


def load(file: str | Path = DEFAULT_FILE, *, strict: bool = False) -> WSGIApplication:
    """Return the WSGI application of a ``mounts.toml``, for any WSGI server.

    It has the file's ``[mounts]`` and ``[proxy]``; ``[server]`` and ``[logging]`` are the server's own affair here. A
    mount whose app fails to load answers 503 and is logged on ``mountpoint``; with *strict* nothing is returned and
    `LoadError` is raised. Raises `ConfigError` with all that is wrong in the file.

    ``gunicorn 'mountpoint:load("mounts.toml")'``
    """
    config = load_config(file)
    mounts = load_mounts(config)
    report_broken(mounts, strict=strict)
    return build_stack(config, build_table(mounts))
