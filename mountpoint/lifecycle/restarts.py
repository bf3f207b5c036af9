"""Restart one mount: new processes replace those that run its app, so that new code or a new environment is live.

The old processes serve until every new one is ready. If one of the new processes does not become ready, they all end,
and the old ones stay. A restart runs in a thread of its own, so it also works while a reload or a first load hangs, and
while another mount restarts. Restarts of one mount run one after the other.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence

from ..errors import LoadError, counted, did_you_mean
from ..loading.loaded_mount import LoadedMount
from ..workers.processes import WorkerProcesses
from .control_messages import Reply
from .reload import TableReloader

_POLL_SECONDS = 0.02  # between two checks of workers that start

logger = logging.getLogger("mountpoint")


class MountRestarts:
    """Restarts mounts of the table of *reloader*. *soon* calls a function once the loop serves the latest table."""

    def __init__(
        self, reloader: TableReloader, workers: WorkerProcesses, soon: Callable[[Callable[[], object]], object]
    ) -> None:
        self._reloader = reloader
        self._workers = workers
        self._soon = soon
        self._lock = threading.Lock()
        self._waiting: dict[str, list[Reply]] = {}  # for each mount that restarts, the restarts that follow

    def start(self, name: str, reply: Reply) -> None:
        """Restart the mount *name* in a thread, and return at once. *reply* gets the outcome."""
        try:
            key = find_mount(self._reloader.mounts, name).config.key
        except LoadError as error:
            reply.end(str(error), ok=False)
            return
        with self._lock:
            if key in self._waiting:
                self._waiting[key].append(reply)
                reply.line(f"{key} restarts already; this restart begins after that one")
                return
            self._waiting[key] = []
        try:
            threading.Thread(target=self._run, args=(key, reply), name="mountpoint-restart", daemon=True).start()
        except (RuntimeError, MemoryError) as error:  # the system or the container allows no more threads
            self._end(key, reply, f"{key}: not restarted: {error}")
            self._next(key)

    def _run(self, key: str, first: Reply) -> None:
        reply: Reply | None = first
        while reply is not None:
            try:
                self._restart(key, reply)
            except Exception as error:
                logger.exception("unhandled exception in the restart of %s; its workers stay", key)
                reply.end(f"{key}: not restarted: {error!r}; the log of the server has the details", ok=False)
            reply = self._next(key)

    def _next(self, key: str) -> Reply | None:
        """Return the next restart of the mount, None if no other one was asked for."""
        with self._lock:
            if not self._waiting[key]:
                del self._waiting[key]
                return None
            return self._waiting[key].pop(0)

    def _restart(self, key: str, reply: Reply) -> None:
        try:
            before = find_mount(self._reloader.mounts, key)
            replacement = self._workers.start_replacement(before.config)
        except LoadError as error:
            self._end(key, reply, f"{key}: not restarted: {error}")
            return
        logger.info("%s: restarting", key)
        started_at = time.monotonic()
        is_replaced = False
        try:
            while not replacement.have_all_started():
                time.sleep(_POLL_SECONDS)
            is_replaced = self._reloader.replace_app(before, LoadedMount(before.config, app=replacement.app))
        except LoadError as error:
            details = f"\n{error.details.rstrip()}" if error.details else ""
            self._end(key, reply, f"{key}: not restarted, the old workers stay in service: {error}{details}")
            return
        finally:
            if not is_replaced:
                replacement.abandon()
        if not is_replaced:
            self._end(key, reply, f"{key}: not restarted: a reload has replaced or removed the mount in the meantime")
            return
        replacement.end_trial()
        seconds = time.monotonic() - started_at
        own = before.config.own
        assert own is not None

        def end() -> None:
            if before.app is not None:
                self._workers.retire(before.app)
            text = f"{key}: restarted; {counted(own.workers, 'new worker')} ready after {seconds:.1f} s"
            logger.info("%s", text)
            reply.end(text)

        self._soon(end)

    def _end(self, key: str, reply: Reply, text: str) -> None:
        logger.error("%s", text)
        reply.end(text, ok=False)


def find_mount(mounts: Sequence[LoadedMount], name: str) -> LoadedMount:
    """Return the mount *name*, with or without its host and its last slash. Raises `LoadError` if it cannot restart."""
    by_key = {mount.config.key: mount for mount in mounts}
    found = next((by_key[key] for key in (name, name.rstrip("/"), f"{name}/", f"/{name}") if key in by_key), None)
    if found is None:
        on_hosts = [key for key in by_key if key.endswith(name) and name.startswith("/")]
        hint = f'; did you mean "{on_hosts[0]}"?' if on_hosts else did_you_mean(name, by_key)
        hint = hint or f"; it has {', '.join([*by_key][:10])}"
        raise LoadError(f'expected a mount of the served table, found "{name}"{hint}')
    if found.config.own is None:
        app = json.dumps(found.config.app.text, ensure_ascii=False)
        raise LoadError(
            f"{found.config.key} runs in the process of the server, and only a mount with processes of its own can "
            f'restart; write process = "own" below [mounts."{found.config.key}"], or, if the mount is one line, '
            f'"{found.config.key}" = {{ app = {app}, process = "own" }}, and run "mountpoint reload"; or '
            f"restart the whole server without losing a request: kill -USR2 {os.getpid()}"
        )
    return found
