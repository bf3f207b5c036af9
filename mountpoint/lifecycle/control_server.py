"""Answer commands on the control socket, in a thread of its own.

So the server answers while every request thread is busy, while apps load, and while it drains. The thread waits for no
client: it polls all of their sockets. A command that takes long calls `Reply.end` in another thread.
"""

from __future__ import annotations

import sys

assert sys.platform != "win32"  # `control` imports this module elsewhere only

import errno
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import did_you_mean
from ..loading.forking import close_in_children
from .control_messages import MAX_REQUEST, Handler, decode, encode
from .control_socket import ControlSocket, Holder, peer

MAX_CLIENTS = 32
REQUEST_SECONDS = 5.0  # for which a client may take to send its request, or to read some of the response
MAX_PENDING = 64 * 2**20  # bytes of a response that wait for the client
_MAX_NAME = 50  # characters
_RETRY_SECONDS = 0.1
_CLAIM_SECONDS = 1.0  # between two looks at the file of the socket
_END_SECONDS = 1.0  # for which the end of the server waits for clients to read

logger = logging.getLogger("mountpoint")


class SocketReply:
    """A `Reply` that the thread of the server sends to its client."""

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._pending = bytearray()
        self.has_ended = False

    def line(self, text: str) -> None:
        self._add({"line": text})

    def end(self, message: str = "", *, ok: bool = True, **fields: Any) -> None:
        self._add({"ok": ok, **({"message": message} if message else {}), **fields}, is_last=True)

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message that is not the outcome."""
        self._add(message)

    def _add(self, message: Mapping[str, Any], *, is_last: bool = False) -> None:
        data = encode(message)
        with self._lock:
            if self.has_ended:
                return
            self.has_ended = is_last
            if len(self._pending) + len(data) <= MAX_PENDING:
                self._pending += data
        self._wake()

    def send_to(self, sock: socket.socket) -> bool:
        """Send what the client takes now; return whether it took some. Called in the thread of the server."""
        with self._lock:
            sent = sock.send(self._pending) if self._pending else 0
            del self._pending[:sent]
            return sent > 0

    @property
    def is_pending(self) -> bool:
        return bool(self._pending)

    @property
    def is_over(self) -> bool:
        return self.has_ended and not self._pending


class ControlServer:
    """Answers commands at *path*. *handlers* are called with the request and the `Reply`, in the thread of the server.

    A handler must return at once. *greeting* returns the fields of the first message to a client. While another server
    holds the path, or *may_claim* returns False, this one tries again every second. *may_replace* gets the id of the
    process that holds the path, and says whether this server replaces it.
    """

    def __init__(
        self,
        path: Path,
        handlers: Mapping[str, Handler],
        greeting: Callable[[], Mapping[str, Any]],
        *,
        may_claim: Callable[[], bool],
        may_replace: Callable[[int], bool],
    ) -> None:
        self._control = ControlSocket(path)
        self._handlers = handlers
        self._greeting = greeting
        self._may_claim = may_claim
        self._may_replace = may_replace
        self._user = os.geteuid()
        self._clients: dict[int, _Client] = {}  # by descriptor
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._lock = threading.Lock()  # for claims
        self._claim_at = 0.0  # a `time.monotonic`, in seconds
        self._has_reported = False
        self._ending = ""  # the message to clients whose command has not ended
        self._asks_again = False
        self._ends_at = 0.0
        self._thread = threading.Thread(target=self._run, name="mountpoint-control", daemon=True)
        close_in_children(self)

    def start(self) -> None:
        """Begin. Raises RuntimeError if no thread can be started."""
        self.claim()
        self._thread.start()

    def claim(self) -> None:
        """Listen at the path if that is allowed and possible, and report a failure once."""
        if self._ending or not self._may_claim():
            return
        path = self._control.path
        try:
            with self._lock:
                holder = self._control.claim(self._may_replace)
        except OSError as error:
            self._report(
                f'no control socket at {path}: {error.strerror or error}; commands such as "mountpoint reload" need one'
            )
            return
        if holder is not None:
            self._report(_held(path, holder))
        elif self._has_reported:
            self._has_reported = False
            logger.info("commands reach this process now, at %s", path)
        self._wake()

    def give_way(self) -> None:
        """Let another server take the path."""
        with self._lock:
            self._control.give_way()

    def end_commands(self, message: str, again: bool = False) -> None:
        """Respond with *message* to each command that has not ended; *again* tells the command to ask again."""
        for client in [*self._clients.values()]:
            if not client.is_reading:
                client.reply.end(message, ok=False, again=again)

    def close(self, message: str, again: bool = False) -> None:
        """End in order: respond to each command that has not ended as `end_commands` does."""
        self._asks_again, self._ends_at = again, time.monotonic() + _END_SECONDS
        self._ending = message
        with self._lock:
            self._control.unlink()
        self._wake()
        if self._thread.ident is not None:
            self._thread.join(2 * _END_SECONDS)
        self._control.close()

    def close_in_child(self) -> None:
        """Close the descriptors in a forked child."""
        for client in self._clients.values():
            client.socket.close()
        self._control.close()
        self._reader.close()
        self._writer.close()

    def _report(self, text: str) -> None:
        if not self._has_reported:
            self._has_reported = True
            logger.warning("%s", text)

    def _wake(self) -> None:
        with suppress(OSError):  # full, which wakes the thread as well; closed, at the end
            self._writer.send(b"x")

    # ------------------------------------------------------------------------------------------- in the server's thread

    def _run(self) -> None:
        try:
            while not self._has_ended():
                try:
                    self._run_once()
                except Exception:
                    logger.exception("unhandled exception in the control socket; continuing")
                    time.sleep(_CLAIM_SECONDS)
        finally:
            for client in [*self._clients.values()]:
                self._drop(client)
            self._reader.close()
            self._writer.close()

    def _has_ended(self) -> bool:
        if not self._ending:
            return False
        if (listener := self._control.socket) is not None:
            while self._accept(listener):  # a client that has connected before the end gets a response too
                pass
        for client in self._clients.values():
            client.reply.end(self._ending, ok=False, again=self._asks_again)
        return not self._clients or time.monotonic() > self._ends_at

    def _run_once(self) -> None:
        poller = select.poll()
        poller.register(self._reader, select.POLLIN)
        listener = self._control.socket
        if listener is not None and not self._ending:
            poller.register(listener, select.POLLIN)
        for client in self._clients.values():
            poller.register(client.socket, client.interest)
        for descriptor, event in poller.poll(_CLAIM_SECONDS * 1000):
            if descriptor == self._reader.fileno():
                with suppress(BlockingIOError):
                    self._reader.recv(4096)
            elif descriptor in self._clients:
                self._handle(self._clients[descriptor], event)
            elif listener is not None:
                self._accept(listener)
        now = time.monotonic()
        for client in [*self._clients.values()]:
            if client.reply.is_over or (client.deadline and now > client.deadline):
                self._drop(client)
        if now >= self._claim_at:
            self._claim_at = now + _CLAIM_SECONDS
            if not self._control.is_held:
                self.claim()

    def _accept(self, listener: socket.socket) -> bool:
        """Accept a client; return whether there was one."""
        try:
            sock, _ = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                time.sleep(_RETRY_SECONDS)  # the listener stays readable, and the loop would not wait
            return False
        sock.setblocking(False)
        client = _Client(sock, SocketReply(self._wake))
        self._clients[sock.fileno()] = client
        user = peer(sock)[1]
        if user not in (None, 0, self._user):
            client.reply.end(f"expected a command of user {self._user} or of root, found user {user}", ok=False)
            return True
        client.reply.send(self._greeting())
        if len(self._clients) > MAX_CLIENTS:
            idle = next((one for one in self._clients.values() if one.is_reading), client)
            if idle is client:
                client.reply.end(f"busy: {MAX_CLIENTS} other commands have not ended", ok=False)
            else:
                self._drop(idle)
        return True

    def _handle(self, client: _Client, event: int) -> None:
        try:
            if event & select.POLLOUT and client.reply.send_to(client.socket) and not client.is_reading:
                client.deadline = time.monotonic() + REQUEST_SECONDS if client.reply.is_pending else 0.0
            if event & select.POLLIN and client.is_reading:
                request = client.read()
                if request is not None:
                    self._dispatch(request, client.reply)
            elif event & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
                self._drop(client)
        except BlockingIOError:
            pass
        except OSError:  # the client has left
            self._drop(client)

    def _dispatch(self, line: bytes, reply: SocketReply) -> None:
        try:
            request = decode(line)
            name = request["command"]
            if not isinstance(name, str) or len(name) > _MAX_NAME:
                raise ValueError("not a name")
        except (ValueError, KeyError):
            reply.end('expected a line such as {"command": "identify"}', ok=False)
            return
        handler = self._handlers.get(name)
        if handler is None:
            hint = did_you_mean(name, self._handlers) or f"; expected one of {', '.join(self._handlers)}"
            reply.end(f'this server does not know the command "{name}"{hint}', ok=False)
            return
        try:
            handler(request, reply)
        except Exception as error:
            logger.exception("unhandled exception in the command %r; continuing", name)
            reply.end(f"the command failed: {error!r}; the log of the server has the details", ok=False)

    def _drop(self, client: _Client) -> None:
        client.reply.has_ended = True
        del self._clients[client.socket.fileno()]
        client.socket.close()


class _Client:
    """A connection. ``deadline`` is a `time.monotonic` in seconds, 0 while nothing is expected of the client."""

    def __init__(self, sock: socket.socket, reply: SocketReply) -> None:
        self.socket = sock
        self.reply = reply
        self.is_reading = True
        self.deadline = time.monotonic() + REQUEST_SECONDS
        self._data = bytearray()

    @property
    def interest(self) -> int:
        if self.reply.is_pending and not self.is_reading and not self.deadline:
            self.deadline = time.monotonic() + REQUEST_SECONDS
        return (select.POLLIN if self.is_reading else 0) | (select.POLLOUT if self.reply.is_pending else 0)

    def read(self) -> bytes | None:
        """Return the request once it is whole. Raises OSError if the client has left."""
        data = self.socket.recv(MAX_REQUEST)
        self._data += data
        line, newline, _ = self._data.partition(b"\n")
        if newline and len(line) <= MAX_REQUEST:
            self.is_reading, self.deadline = False, 0.0
            return bytes(line)
        if len(self._data) > MAX_REQUEST:
            self.is_reading, self.deadline = False, 0.0
            self.reply.end(f"expected a request of at most {MAX_REQUEST} bytes", ok=False)
        elif not data:
            raise ConnectionAbortedError
        return None


def _held(path: Path, holder: Holder) -> str:
    process = f"process {holder.pid}" if holder.pid else "another process"
    return (
        f"{process} holds the control socket {path} already, so commands reach that one and not this one; to give this "
        "one a socket of its own, start it with --control PATH"
    )
