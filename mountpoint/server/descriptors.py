"""The descriptors of a running server, which a child that an app has forked must not keep.

A child that keeps a connection hides the end of that connection from the client, for as long as the child runs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from waitress.trigger import trigger

from ..loading.forking import close_in_children


class ServerDescriptors:
    """Closes the connections, listeners and wake-up pipes of *owners*, a map of the loop, in each forked child."""

    def __init__(self, owners: Mapping[Any, Any]) -> None:
        self._owners = owners
        close_in_children(self)

    def close_in_child(self) -> None:
        """Close the descriptors. The loop's map and selector stay as they are: the selector is the parent's too."""
        for owner in list(self._owners.values()):
            with suppress(OSError):  # an app has closed it
                owner.socket.close()
            if isinstance(owner, trigger):
                _close_pipe(owner)


def _close_pipe(pipe: Any) -> None:
    """Close both ends of the pipe that wakes the loop. The loop watches a duplicate of one of them."""
    for descriptor in pipe._fds:
        with suppress(OSError):
            os.close(descriptor)
