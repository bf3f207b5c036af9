"""SIGHUP: the table is read again, and what has changed in it is loaded, while the old one goes on serving.

All of it is done in a thread of its own, since an import may take seconds, and nothing that fails takes anything away:

- errors in the file keep the old table, and so does a mount that worked and now fails to load;
- a mount that is new, or was broken before, and fails, answers 503, and the rest is taken; with ``strict`` nothing is;
- a mount that has not changed keeps its app.

Modules are never loaded again: two versions of one would mix. What has changed in the code is for a new process.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..config.reader import Config, ServerConfig, load_config
from ..errors import ConfigError
from ..loading.eviction import namespace_of
from ..loading.loader import LoadedMount, Loader, describe_broken

SETTLE_SECONDS = 0.5  # seconds for which a file must not have changed: half of one can be valid TOML

# What a new table changes in a process that serves.
_LIVE = {"drain_timeout", "header_timeout", "strict"}

logger = logging.getLogger("mountpoint")


class TableReloader:
    """The table that is served, and its successors.

    *take* is called in the renewal's thread with each table that replaces it, once all of it is loaded; *ended* after
    each attempt, with what became of it in a few words.
    """

    def __init__(
        self,
        config: Config,
        mounts: Sequence[LoadedMount],
        loader: Loader,
        take: Callable[[Config, Sequence[LoadedMount]], object],
        ended: Callable[[str], object] = lambda outcome: None,
    ) -> None:
        self.mounts = mounts
        self._config = config
        self._loader = loader
        self._swap_table = take
        self._ended = ended
        self._file = config.file.absolute()
        self._modules: dict[str, float] = {}  # when each was first seen, a Unix time
        self._see_modules()
        self._lock = threading.Lock()
        self._wanted = False  # whether an attempt was asked for that has not begun
        self._is_running = False

    def begin(self) -> None:
        """Have the table read again; asked for while that is being done, once more afterwards. Returns at once."""
        with self._lock:
            self._wanted = True
            if self._is_running:
                return
            self._is_running = True
        threading.Thread(target=self._run, name="mountpoint-reload", daemon=True).start()

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._wanted:
                    self._is_running = False
                    return
                self._wanted = False
            try:
                outcome = self._attempt()
            except BaseException:  # a KeyboardInterrupt of an app's: nobody else ends this thread
                logger.exception("reload failed; the old table is kept")
                outcome = "the old table is kept"
            self._ended(outcome)

    def _attempt(self) -> str:
        logger.info("%s: reloading", self._config.file)
        try:
            config = self._read()
        except ConfigError as error:
            logger.error("not reloaded, the old table is kept:\n%s", error)
            return "not reloaded: errors in the file"
        before = {mount.config.key: mount for mount in self.mounts}
        self._see_modules()
        began, modules = time.time(), dict(sys.modules)
        mounts = self._loader.load(config, self.mounts)
        # Of a failed load, and loaded anew; or new.
        self._modules |= {name: began for name, module in [*sys.modules.items()] if modules.get(name) is not module}
        broken = [mount for mount in mounts if mount.error]
        worked = [mount for mount in broken if (old := before.get(mount.config.key)) and old.app]
        for mount in broken:
            logger.error("%s", describe_broken(mount))
        if worked or (broken and config.server.strict):
            why = "worked, and would fail now" if worked else "strict: failed to load"
            names = ", ".join(mount.config.key for mount in worked or broken)
            logger.error("not reloaded, the old table is kept; %s: %s", why, names)
            return "not reloaded: apps failed to load"
        for line in [*_changes(self.mounts, mounts), *_needs_restart(self._config, config), *self._stale(mounts)]:
            logger.info("%s", line)
        self.mounts = mounts
        self._swap_table(config, mounts)
        return f"{len(mounts)} mounts, {len(broken)} broken"

    def _read(self) -> Config:
        """Read the file once its size and time have stood for a while, and again if they moved while it was read."""
        while True:
            before = self._state()
            while before != (now := self._stood(before)):
                before = now
            config = load_config(self._file, self._config.overrides)
            if self._state() == before:
                return dataclasses.replace(config, file=self._config.file)

    def _stood(self, before: tuple[float, int] | None) -> tuple[float, int] | None:
        """Wait until what was seen *before* is old enough; return what is seen then."""
        age = time.time() - before[0] if before else 0.0
        if not age >= SETTLE_SECONDS:  # one from the future has no age
            time.sleep(SETTLE_SECONDS if age < 0 else SETTLE_SECONDS - age)
        return self._state()

    def _state(self) -> tuple[float, int] | None:
        try:
            state = self._file.stat()
        except OSError:
            return None  # the reader has the words for it
        return state.st_mtime, state.st_size

    def _see_modules(self) -> None:
        now = time.time()
        for name in list(sys.modules):
            self._modules.setdefault(name, now)

    def _stale(self, mounts: Sequence[LoadedMount]) -> Iterator[str]:
        """Yield a line for each mount whose app is the old one, while its code has changed."""
        names: dict[Path, set[str]] = {}  # of files that have changed, by the innermost root
        for name, seen in self._modules.items():
            if (file := namespace_of(sys.modules.get(name)).get("__file__")) and _modified(file) > seen:
                path = Path(file)
                roots = [mount.config.root for mount in mounts if path.is_relative_to(mount.config.root)]
                if roots:
                    names.setdefault(max(roots, key=lambda root: len(root.parts)), set()).add(path.name)
        for mount in mounts:
            if mount.app and (changed := names.get(mount.config.root)):
                yield (
                    f"{mount.config.key}: its code has changed ({', '.join(sorted(changed)[:3])}), and a reload keeps "
                    "what is loaded; SIGUSR2 starts a new process with the new"
                )


def _modified(file: str) -> float:
    try:
        return Path(file).stat().st_mtime
    except (OSError, ValueError):
        return 0.0


def _changes(before: Sequence[LoadedMount], after: Sequence[LoadedMount]) -> Iterator[str]:
    """Yield a line for each mount that is gone, new or another."""
    old = {mount.config.key: mount for mount in before}
    new = {mount.config.key: mount for mount in after}
    for key in old.keys() - new.keys():
        yield f"{key}: gone"
    for key, mount in new.items():
        if key not in old:
            yield f"{key}: new, {mount.state}"
        elif old[key].config != mount.config or old[key].app is not mount.app:
            yield f"{key}: changed, {mount.state}"


def _needs_restart(before: Config, after: Config) -> Iterator[str]:
    """Yield a line for each setting that has changed in the file, and not in the process."""
    changed = [
        f"server.{field.name}"
        for field in dataclasses.fields(ServerConfig)
        if field.name not in _LIVE | {"adjustments"}
        and getattr(before.server, field.name) != getattr(after.server, field.name)
    ]
    old, new = before.server.adjustments, after.server.adjustments
    changed += [f"server.{name}" for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
    if before.logging != after.logging:
        changed.append("logging")
    if changed:
        yield f"not changed without a restart: {', '.join(changed)}"
