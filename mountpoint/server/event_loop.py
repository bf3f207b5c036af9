"""Waits for events and calls the owners of the sockets: listeners, connections, and the pipe that wakes the loop.

The loop asks an owner for its interest only when that may have changed: after an event of its own, and when a worker
thread has put it on the list of changes with `EventLoop.update_soon`. A worker that changes nothing wakes nothing. So
the cost of an iteration depends on the number of events, and not on the number of idle connections.

Once a second `EventLoop.check` compares the interest of every owner with that of the selector. Only the search for
descriptors that an app has closed depends on that.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from ..loading.forking import close_in_children
from .selector import END, HANGUP, READ, WRITE, Selector, new_selector

_REST_SECONDS = 0.01  # after the selector has failed: it might fail again at once

logger = logging.getLogger("mountpoint")


class Owner(Protocol):
    """The owner of a descriptor: a ``dispatcher`` of waitress."""

    accepting: bool

    def readable(self) -> bool: ...
    def writable(self) -> bool: ...
    def handle_read_event(self) -> object: ...
    def handle_write(self) -> object: ...
    def handle_close(self) -> object: ...
    def handle_error(self) -> object: ...


class EventLoop:
    """A map from descriptors to their owners, and the selector that watches them.

    `update_soon`, `update` and `wake` may be called from any thread; all else belongs to the thread that runs the loop.
    *wake* makes the selector return.
    """

    def __init__(self, wake: Callable[[], object], selector: Selector | None = None) -> None:
        self._changed: deque[Any] = deque()
        self.owners = OwnerMap(self._changed.append, self._forget)
        self._wake = wake
        self._selector = selector or new_selector()
        self._given_selector = selector
        self._watched: dict[int, int] = {}  # events by descriptor, as the selector knows them
        self._lock = threading.Lock()  # for changes of `_watched` and of the selector
        self._is_woken = False  # since the latest iteration
        self.woken_at = 0.0  # from `time.monotonic`, in seconds: the end of the latest wait
        close_in_children(self)
        self._abandoned: list[Selector] = []  # their descriptors may belong to other files, so they are never closed

    def close_in_child(self) -> None:
        """Close the selector's descriptor in a child that an app has forked. The parent's stays open."""
        self._selector.close()

    # ---------------------------------------------------------------------------------------------------- in any thread

    @property
    def can_pause(self) -> bool:
        """Whether a worker thread may let the loop ignore a connection for a while, and watch it again."""
        return self._selector.any_thread

    def update_soon(self, owner: Owner) -> None:
        """Have the loop ask *owner* for its interest, and write its output."""
        self._changed.append(owner)
        self.wake()

    def wake(self) -> None:
        """Make `run_once` return, or not wait at all."""
        if not self._is_woken:
            self._is_woken = True
            self._wake()

    def update(self, owner: Any) -> None:
        """Give the selector the present interest of *owner*. Outside the loop's thread this needs `can_pause`."""
        descriptor = owner._fileno
        if self._is_owner(owner, descriptor):
            self._update(descriptor, owner)

    # ------------------------------------------------------------------------------------------- in the loop's thread

    def run_once(self, timeout: float) -> None:
        """Wait up to *timeout* seconds for events, and handle them."""
        try:
            events = self._selector.wait(0 if self._changed else timeout)
        except (OSError, ValueError):  # an app has closed a descriptor
            self._replace_selector()
            time.sleep(_REST_SECONDS)
            events = []
        self.woken_at = time.monotonic()
        accepting = []  # the last, because a new connection may get the descriptor of one that is closed here
        for descriptor, flags in events:
            owner: Any = self.owners.get(descriptor)
            if owner is None:
                continue
            if owner.accepting:
                accepting.append((descriptor, owner, flags))
                continue
            self._handle(owner, flags)
            self._update(descriptor, owner)
        for descriptor, listener, flags in accepting:
            self._handle(listener, flags)
            self._update(descriptor, listener)
        # Not earlier: an event above may have emptied the pipe, and with it the wake-up of a worker that has set this.
        # Not later: a worker that adds to the list after the last look at it has to wake the next iteration.
        self._is_woken = False
        while self._changed:
            changed = self._changed.popleft()
            if changed.writable():
                self._call(changed, changed.handle_write)
            self.update(changed)

    def check(self) -> None:
        """Compare the interest of every owner with that of the selector. Close owners without a descriptor."""
        for descriptor, owner in tuple(self.owners.items()):
            self._update(descriptor, owner)
            if self._is_owner(owner, descriptor) and not self._is_open(descriptor):
                self._forget(descriptor)
                self._call(owner, owner.handle_close)

    # ---------------------------------------------------------------------------------------------------------- private

    def _is_owner(self, owner: object, descriptor: int) -> bool:
        return self.owners.get(descriptor) is owner

    def _handle(self, owner: Owner, flags: int) -> None:
        try:
            if flags & (READ | END):
                owner.handle_read_event()
            if flags & WRITE and not owner.accepting:
                owner.handle_write()
            if flags & HANGUP:
                owner.handle_close()
        except Exception:
            owner.handle_error()

    def _call(self, owner: Owner, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception:
            owner.handle_error()

    def _update(self, descriptor: int, owner: Owner) -> None:
        with self._lock:
            events = _interest(owner)
            before = self._watched.get(descriptor)
            if events == before or not self._is_owner(owner, descriptor):
                return
            try:
                if before is None:
                    self._selector.register(descriptor, events)
                else:
                    self._selector.modify(descriptor, events)
                self._watched[descriptor] = events
            except (OSError, ValueError):  # an app has closed it: see `check`
                self._watched[descriptor] = events

    def _forget(self, descriptor: int) -> None:
        """Stop watching *descriptor*, which is about to be closed."""
        with self._lock:
            if self._watched.pop(descriptor, None) is not None:
                with suppress(OSError, ValueError):  # closed already
                    self._selector.unregister(descriptor)

    def _is_open(self, descriptor: int) -> bool:
        """Whether the kernel still watches *descriptor*. Another file may have its number."""
        with self._lock:
            try:
                self._selector.modify(descriptor, self._watched[descriptor])
                if sys.platform != "win32":
                    os.fstat(descriptor)  # kqueue forgets a closed descriptor, and other selectors do not look
            except (OSError, ValueError, KeyError):
                return False
            return True

    def _replace_selector(self) -> None:
        self._abandoned.append(self._selector)
        self._selector = new_selector()
        self._watched.clear()
        self.check()


def _interest(owner: Any) -> int:
    if owner.accepting:
        return READ if owner.readable() else 0
    events = READ if owner.readable() else 0
    if not events and (awaits_end := getattr(owner, "awaits_end", None)) and awaits_end():
        events = END
    return events | (WRITE if owner.writable() else 0)


class OwnerMap(dict[int, Any]):
    """The map that waitress's objects put themselves into, and leave before they close their descriptor.

    *added* is called with each new owner, which is not fully initialized yet. *forget* is called with the descriptor of
    each owner that leaves.
    """

    def __init__(self, added: Callable[[Any], object], forget: Callable[[int], object]) -> None:
        super().__init__()
        self._added = added
        self._forget = forget

    def __setitem__(self, descriptor: int, owner: Any) -> None:
        super().__setitem__(descriptor, owner)
        self._added(owner)

    def __delitem__(self, descriptor: int) -> None:
        super().__delitem__(descriptor)
        self._forget(descriptor)
