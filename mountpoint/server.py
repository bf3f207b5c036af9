"""Serving: waitress, its loop run a turn at a time, and the drain that loses nothing.

A signal only sets a flag and wakes the loop. From then on: the accept queue is taken and the listeners closed; answers
carry ``Connection: close``; connections that have been idle for a moment are closed; and whatever is in flight, queued
requests and slow readers included, has until ``drain_timeout`` to finish.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.task import ThreadedTaskDispatcher

from . import protocol
from .assembly import LoadedMount, build_stack, build_table, load_mounts, report_broken
from .config import Config, ServerConfig
from .errors import ConfigError
from .logs import configure_logging
from .protocol import Channel
from .sockets import Bound, bind, cannot_listen
from .values import hard_file_limit

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

IDLE = 1.0  # seconds without a byte, after which a keep-alive connection is taken to be idle while draining

logger = logging.getLogger("mountpoint")


def serve(config: Config, *, watch: Callable[[list[str]], object] | None = None) -> int:
    """Load the apps of *config* and serve them until a signal; return the exit code.

    0 when everything in flight was finished, 1 when something was cut off. Raises `ServeError` if an address cannot be
    listened on, and `LoadError` if ``strict`` and an app fails to load. Runs on the main thread, or without signals.
    *watch* is called with the files whose change could mend a broken mount.
    """
    settings = config.server
    try:
        configure_logging(settings.log_level, access_log=settings.access_log, dictionary=config.logging)
    except ConfigError as error:
        raise ConfigError(error.problems, file=str(config.file)) from error
    raise_file_limit()
    adjustments = settings.adjustments
    bound = bind(
        settings.listen,
        ipv4=bool(adjustments.get("ipv4", True)),
        ipv6=bool(adjustments.get("ipv6", True)),
        permissions=settings.unix_socket_perms,
    )
    try:
        logger.info("%s: loading %d apps", config.file, len(config.mounts))  # one whose import hangs stops here
        mounts = load_mounts(config)
        if watch:
            watch([file for mount in mounts if mount.error for file in mount.error.files])
        report_broken(mounts, strict=settings.strict)
        server = Server(build_stack(config, build_table(mounts)), settings, bound)
        return server.run(lambda: logger.info("%s", announcement(config, mounts, server.urls())))
    finally:
        for one in bound:
            one.close()


def end_process(code: int, patience: float) -> NoReturn:
    """End the process with *code*, or with 1 if threads of apps still run *patience* seconds from now, or at a signal.

    Python waits at its end for every thread that is no daemon; one that never ends would keep a stopped server alive.
    Where something was cut off already, or at an interrupt, nothing is waited for.
    """
    deadline = time.monotonic() + (0 if code else patience)
    this = threading.current_thread()
    running = [thread for thread in threading.enumerate() if not thread.daemon and thread is not this]
    with suppress(KeyboardInterrupt):
        if running and not code:
            logger.info("waiting up to %g s for threads that apps have started", patience)
        # Not join(): of Python 3.13 it cannot be interrupted, and Python 3.11 takes an interrupted one for ended.
        while running and time.monotonic() < deadline:
            time.sleep(0.02)
            running = [thread for thread in running if thread.is_alive()]
    if running:
        logger.warning("cut off: threads that apps have started: %s", ", ".join(thread.name for thread in running))
        logging.shutdown()
        os._exit(code or 1)
    sys.exit(code)


def raise_file_limit() -> None:
    """Raise the soft limit of open files to the hard one: each connection takes up to three."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = hard_file_limit()
    if soft < limit:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def announcement(config: Config, mounts: Sequence[LoadedMount], urls: Sequence[str]) -> str:
    """Return what is said at start-up: the mount table, and where it is served."""
    rows = [(mount.config.key, mount.config.app.text, mount.state) for mount in mounts]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [f"{config.file}: {len(rows)} mount{'s' * (len(rows) != 1)}"]
    lines += [f"  {key:<{widths[0]}}  {app:<{widths[1]}}  {state}" for key, app, state in rows]
    lines += [f"serving on {url}" for url in urls]
    return "\n".join(lines)


class Server:
    """A WSGI application on bound sockets. `run` serves until `stop` is called, or a signal comes, and then drains."""

    def __init__(self, app: WSGIApplication, settings: ServerConfig, bound: Sequence[Bound]) -> None:
        self._drain_timeout = settings.drain_timeout
        self._bound = bound
        self._map: dict[int, Any] = {}
        self._stops = 0  # how often we were told to stop
        adjustments = Adjustments(
            **settings.adjustments,
            threads=settings.threads,
            # waitress counts its listeners and their triggers among the connections.
            connection_limit=settings.connection_limit + 2 * len(bound),
            sockets=[one.socket for one in bound],
            asyncore_use_poll=True,  # select() dies past 1,024 descriptors
            trusted_proxy=None,  # the proxy is ours to judge
            clear_untrusted_proxy_headers=False,
        )
        self._turn_timeout = adjustments.asyncore_loop_timeout
        self._dispatcher = ThreadedTaskDispatcher()
        self._dispatcher.set_thread_count(settings.threads)
        self._listeners = [self._listen(app, adjustments, one) for one in bound]

    def _listen(self, app: WSGIApplication, adjustments: Adjustments, one: Bound) -> Any:
        sock = one.socket
        listener: Any = protocol.TcpListener
        if sys.platform != "win32" and one.address.unix:
            listener = protocol.UnixListener
        try:
            return listener(
                app,
                self._map,
                _sock=sock,
                dispatcher=self._dispatcher,
                adj=adjustments,
                sockinfo=(sock.family, sock.type, sock.proto, sock.getsockname()),
                bind_socket=False,
            )
        except OSError as error:
            raise cannot_listen(one.address, error) from None

    def urls(self) -> list[str]:
        """Return where it listens: URLs, or ``unix:`` and a path."""
        urls = []
        for one in self._bound:
            if one.address.unix:
                urls.append(str(one.address))
            else:
                host, port = one.socket.getsockname()[:2]
                urls.append(f"http://{f'[{host}]' if ':' in host else host}:{port}/")
        return urls

    def stop(self) -> None:
        """Begin to drain; called again, end at once. May be called from a signal handler or from another thread."""
        self._stops += 1
        if self._listeners:
            self._listeners[0].pull_trigger()

    def run(self, ready: Callable[[], object] = lambda: None) -> int:
        """Call *ready*, serve until `stop`, then drain. Return 0, or 1 if something was cut off, which is logged."""
        with self._signals():
            ready()  # from here on a signal drains
            while not self._stops:
                self._turn(self._turn_timeout)
            return self._drain()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        names = ("SIGTERM", "SIGINT", "SIGBREAK")
        before = {
            number: signal.signal(number, lambda *_: self.stop())
            for number in (getattr(signal, name, None) for name in names)
            if number is not None
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _turn(self, seconds: float) -> None:
        """Let the loop wait for events, for at most *seconds*, and handle them."""
        wasyncore.loop(timeout=seconds, use_poll=True, map=self._map, count=1)

    # ------------------------------------------------------------------------------------------------------- draining

    def _drain(self) -> int:
        logger.info("draining: no new connections, up to %g s for what is in flight", self._drain_timeout)
        deadline = time.monotonic() + self._drain_timeout

        def is_over() -> bool:
            return self._stops > 1 or time.monotonic() >= deadline

        self._close_listeners()
        while self._channels() and not is_over():
            self._close_idle_channels()
            self._turn(0.1)
        unfinished = [channel for channel in self._channels() if not channel.is_idle()]
        # What is left runs for clients that have gone; it may still write to a database.
        while not unfinished and self._is_busy() and not is_over():
            time.sleep(0.02)
        if unfinished or self._is_busy():
            for channel in unfinished:
                logger.warning("cut off: %s", _describe(channel))
            running = self._dispatcher.active_count
            logger.warning("stopped; cut off: %d connections, %d running threads", len(unfinished), running)
            return 1
        wasyncore.close_all(self._map)
        logger.info("stopped, nothing was cut off")
        return 0

    def _is_busy(self) -> bool:
        return bool(self._dispatcher.queue or self._dispatcher.active_count)

    def _close_listeners(self) -> None:
        """Take the connections that wait to be accepted, so that they are answered, and listen no longer."""
        for one in self._bound:
            one.unlink()
        for listener in self._listeners:
            listener.draining = True
            taken = -1
            while taken != len(self._map):  # an accept that takes none leaves the map as it is
                taken = len(self._map)
                listener.handle_accept()
            # Not listener.close(), which closes the trigger too, and the loop could no longer be woken.
            wasyncore.dispatcher.close(listener)

    def _close_idle_channels(self) -> None:
        latest = time.time() - IDLE
        for channel in self._channels():
            if channel.is_idle() and channel.last_activity < latest:
                channel.will_close = True

    def _channels(self) -> list[Channel]:
        return [channel for channel in self._map.values() if isinstance(channel, Channel)]


def _describe(channel: Channel) -> str:
    for request in channel.requests[:1]:  # a thread may be taking it away
        mount = request.record.mount if request.record else None
        return f"{request.request_line!r} of {channel.addr[0]}, mount {mount or '-'}"
    what = "a request that was not read whole" if channel.request else "a response that was not taken whole"
    return f"{what}, of {channel.addr[0]}"
