"""The kernel's selector: which descriptors the loop watches, and for which events. It lives as long as the loop.

Linux has `EpollSelector`, whose interest any thread may change while the loop waits. `PortableSelector` wraps a class
of the module `selectors` for all other systems: kqueue on macOS and select on Windows.
"""

from __future__ import annotations

import select
import selectors
import sys
from collections.abc import Sequence
from typing import Protocol

READ = 1  # the values of epoll
WRITE = 4
END = 0x2000  # the other side has closed its sending half; only `EpollSelector` reports it without READ
HANGUP = 24  # an error, or both directions are closed; reported in any case


class Selector(Protocol):
    """Watches descriptors. A descriptor without events stays known, and may report `HANGUP`."""

    any_thread: bool  # whether `modify` takes effect while another thread waits

    def register(self, descriptor: int, events: int) -> None: ...
    def modify(self, descriptor: int, events: int) -> None:
        """Raises OSError if the kernel no longer knows the descriptor."""

    def unregister(self, descriptor: int) -> None: ...
    def close(self) -> None: ...
    def wait(self, timeout: float) -> Sequence[tuple[int, int]]:
        """Return descriptors with their events. Raises OSError if one of them, or that of the selector, is closed."""


class PortableSelector:
    """A selector of the module `selectors`."""

    any_thread = False

    def __init__(self, selector: selectors.BaseSelector | None = None) -> None:
        self._selector = selector or selectors.DefaultSelector()

    def register(self, descriptor: int, events: int) -> None:
        if events:
            self._selector.register(descriptor, _to_portable(events))

    def modify(self, descriptor: int, events: int) -> None:
        if descriptor not in self._selector.get_map():
            self.register(descriptor, events)
        elif events:
            self._selector.modify(descriptor, _to_portable(events))
        else:
            self._selector.unregister(descriptor)

    def unregister(self, descriptor: int) -> None:
        if descriptor in self._selector.get_map():
            self._selector.unregister(descriptor)

    def close(self) -> None:
        self._selector.close()

    def wait(self, timeout: float) -> Sequence[tuple[int, int]]:
        return [(key.fd, _from_portable(events)) for key, events in self._selector.select(timeout)]


def _to_portable(events: int) -> int:
    return (selectors.EVENT_READ if events & READ else 0) | (selectors.EVENT_WRITE if events & WRITE else 0)


def _from_portable(events: int) -> int:
    return (READ if events & selectors.EVENT_READ else 0) | (WRITE if events & selectors.EVENT_WRITE else 0)


if sys.platform == "linux":

    class EpollSelector:
        """A selector of the Linux kernel."""

        any_thread = True

        def __init__(self) -> None:
            self._epoll = select.epoll()
            self.register = self._epoll.register
            self.modify = self._epoll.modify
            self.wait = self._epoll.poll
            self.close = self._epoll.close

        def unregister(self, descriptor: int) -> None:
            self._epoll.unregister(descriptor)


def new_selector() -> Selector:
    """Return the best selector of this system."""
    if sys.platform == "linux":
        return EpollSelector()
    return PortableSelector()


def wait_for_data(descriptor: int | None, seconds: float) -> bool:
    """Wait until *descriptor* has data or an end, and return whether it has. None has neither."""
    if sys.platform == "win32":  # a worker thread waits only where `any_thread` is true
        raise NotImplementedError
    if descriptor is None:
        return False
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(seconds * 1000))
