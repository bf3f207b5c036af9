"""The pools of all mounts, and the thread that supervises them.

That thread starts every worker, because Linux can end a process with the thread that has started it. It runs until the
last worker has ended.
"""

from __future__ import annotations

import sys

assert sys.platform != "win32"  # `processes` imports this module elsewhere only

import logging
import os
import select
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

from ..config.reader import MountConfig
from ..errors import LoadError
from ..loading.app_facts import AppFacts
from ..loading.forking import close_in_children
from .connection import serving
from .forwarding import ForwardingApp
from .launch import without_server_variables
from .pool import Pool
from .report import WorkerReport, WorkersReport
from .worker import Worker, WorkerConnection

_FILES_SECONDS = 0.5  # between two requests for the files of the workers
_RETRY_SECONDS = 1.0
_LINGER_SECONDS = 1.0  # for which the workers of a former mount still take requests
_OUTPUT_SECONDS = 1.0  # for which the end waits until the last lines of the workers are in the log

logger = logging.getLogger("mountpoint")


class Supervisor:
    """Does the work of `mountpoint.workers.processes.WorkerProcesses`, which documents the methods.

    *environ* is that of the server, from before the first load.
    """

    def __init__(
        self, environ: Mapping[str, str], *, is_trial: bool, watch_files: Callable[[list[str]], object] | None = None
    ) -> None:
        self._is_trial = is_trial
        self._watch_files = watch_files
        self._files_at = 0.0  # from `time.monotonic`: then the workers are asked for their files
        self._environ = without_server_variables(environ)
        self._lock = threading.Lock()
        self._pools: list[Pool] = []
        self._thread: threading.Thread | None = None
        self._wake_pipe: tuple[int, int] | None = None
        self._is_closed = False
        close_in_children(self)

    def start(self, mount: MountConfig) -> ForwardingApp:
        return self._start(mount, is_trial=self._is_trial)

    def start_replacement(self, mount: MountConfig) -> Replacement:
        return Replacement(self._start(mount, is_trial=True))

    def _start(self, mount: MountConfig, *, is_trial: bool) -> ForwardingApp:
        pool = Pool(mount, self._environ, self._wake, is_trial=is_trial)
        with self._lock:
            if self._is_closed:
                raise LoadError("the server is stopping")
            if self._thread is None:
                self._start_thread()
            self._pools.append(pool)
        self._wake()
        return ForwardingApp(pool)

    def _start_thread(self) -> None:
        """Start the thread that supervises, with the lock. Raises `LoadError` if the system does not allow it."""
        pipe: tuple[int, ...] = ()
        try:
            pipe = self._wake_pipe = os.pipe()
            for descriptor in pipe:
                os.set_blocking(descriptor, False)
            thread = threading.Thread(target=self._run, name="mountpoint-workers", daemon=True)
            thread.start()
        except (OSError, RuntimeError, MemoryError) as error:
            self._wake_pipe = None
            for descriptor in pipe:
                os.close(descriptor)
            raise LoadError(f"its workers cannot be supervised: {error}") from None
        self._thread = thread

    def wait(self, app: object, seconds: float) -> bool:
        assert isinstance(app, ForwardingApp)
        return app.pool.wait(seconds)

    def error(self, app: object) -> LoadError | None:
        assert isinstance(app, ForwardingApp)
        return app.pool.error

    def facts(self, app: object) -> AppFacts | None:
        """Return the facts about *app* that a worker has found, None before the first one is ready."""
        assert isinstance(app, ForwardingApp)
        return app.pool.facts

    def retire(self, app: object) -> None:
        assert isinstance(app, ForwardingApp)
        UnusedPools([app.pool]).close()

    def unused_by(self, apps: Callable[[], Iterable[object]]) -> UnusedPools:
        with self._lock:
            pools = [pool for pool in self._pools if not pool.is_trial]
        used = {app.pool for app in apps() if isinstance(app, ForwardingApp)}  # a replacement is in use by now
        return UnusedPools([pool for pool in pools if pool not in used])

    def close(self, *, is_urgent: bool = False) -> None:
        with self._lock:
            pools, thread = [*self._pools], self._thread
            self._is_closed = True
        workers = [worker for pool in pools for worker in pool.workers]
        for pool in pools:
            pool.close(is_urgent=is_urgent)
        if thread is not None:
            self._wake()
            thread.join()
        deadline = time.monotonic() + _OUTPUT_SECONDS
        for worker in workers:
            worker.join_output(max(deadline - time.monotonic(), 0.0))

    def close_in_child(self) -> None:
        """Close the descriptors in a child that an app of this process has forked. Takes no lock."""
        for descriptor in self._wake_pipe or ():
            os.close(descriptor)
        for pool in self._pools:
            for worker in pool.workers:
                worker.close_in_child()

    def _wake(self) -> None:
        if self._wake_pipe is not None:
            with suppress(OSError):  # full, which wakes the thread as well
                os.write(self._wake_pipe[1], b"x")

    def _run(self) -> None:
        assert self._wake_pipe is not None
        try:
            while True:
                with self._lock:
                    self._pools = [pool for pool in self._pools if not pool.is_over]
                    pools = [*self._pools]
                    if self._is_closed and not pools:
                        return
                try:
                    self._run_once(pools)
                except Exception:
                    logger.exception("unhandled exception in the supervision of workers; continuing")
                    time.sleep(_RETRY_SECONDS)
        finally:
            with self._lock:
                pipe, self._wake_pipe, self._thread = self._wake_pipe, None, None
            for descriptor in pipe:
                os.close(descriptor)

    def _run_once(self, pools: list[Pool]) -> None:
        assert self._wake_pipe is not None
        poller = select.poll()
        poller.register(self._wake_pipe[0], select.POLLIN)
        workers = {worker.fileno(): worker for pool in pools for worker in pool.workers if worker.fileno() >= 0}
        for descriptor in workers:
            poller.register(descriptor, select.POLLIN)
        for descriptor, _ in poller.poll(min([pool.tick for pool in pools], default=1.0) * 1000):
            if descriptor in workers:
                workers[descriptor].read_control()
            else:
                with suppress(OSError):
                    os.read(descriptor, 4096)
        for pool in pools:
            pool.supervise()
        if self._watch_files:
            self._watch([*workers.values()], self._watch_files)

    def _watch(self, workers: Sequence[Worker], watch_files: Callable[[list[str]], object]) -> None:
        """Have the files watched that *workers* have imported."""
        now = time.monotonic()
        is_due = now >= self._files_at
        if is_due:
            self._files_at = now + _FILES_SECONDS
        for worker in workers:
            if files := worker.take_files():
                watch_files(files)
            if is_due:
                worker.ask_for_files()


class Replacement:
    """New workers for a mount whose workers serve: *app* forwards to them."""

    def __init__(self, app: ForwardingApp) -> None:
        self.app = app

    def have_all_started(self) -> bool:
        return self.app.pool.have_all_started()

    def end_trial(self) -> None:
        self.app.pool.end_trial()

    def abandon(self) -> None:
        self.app.pool.close(is_urgent=True)


class UnusedPools:
    """Pools that no mount of the table uses any longer."""

    def __init__(self, pools: Iterable[Pool]) -> None:
        self._pools = pools

    def close(self) -> None:
        """Close the pools. Their requests in flight finish."""
        for pool in self._pools:
            pool.close(_LINGER_SECONDS)


def worker_stack(thread: int) -> str | None:
    """Return the stack in the worker that *thread* waits for, as `mountpoint.workers.processes.worker_stack` does."""
    connection = serving.get(thread)
    return connection.worker.stack(connection.number) if isinstance(connection, WorkerConnection) else None


def report_on_workers(app: object) -> WorkersReport | None:
    """Return the report on the workers of *app*, None if its mount has none.

    It takes no lock, because a thread that serves a request may wait for that.
    """
    if not isinstance(app, ForwardingApp):
        return None
    pool, now = app.pool, time.monotonic()
    workers = [worker for worker in pool.workers if not worker.has_ended]
    is_ready = any(worker.accepts for worker in workers)
    latest = max((worker for worker in workers if worker.is_ready), key=lambda worker: worker.ready_at, default=None)
    return WorkersReport(
        is_ready,
        None if is_ready else pool.start_error,
        pool.restarts,
        latest.ready_at - latest.started_at if latest else None,
        [
            WorkerReport(worker.pid, _state(worker), now - worker.started_at, worker.resident_bytes(), worker.assigned)
            for worker in workers
        ],
    )


def _state(worker: Worker) -> str:
    if worker.kill_at or worker.fileno() < 0:
        return "ending"
    return "ready" if worker.is_ready else "starting"
