"""Report loads that take long: a log line with the place in the code, and a time-out for commands."""

from __future__ import annotations

import logging

from ..config.reader import MountConfig
from ..errors import LoadError
from .places import place_in

SLOW_SECONDS = 5.0  # after which a load is logged
REPEAT_SECONDS = 10.0  # after which it is logged again

logger = logging.getLogger("mountpoint")


class SlowLoad:
    """Logs the load of *mount* once it is slow, and then repeatedly."""

    def __init__(self, mount: MountConfig) -> None:
        self._mount = mount
        self._next = SLOW_SECONDS

    def report(self, seconds: float, thread: int | None) -> None:
        """Log the load if a report is due. It has run for *seconds* in *thread*, an identifier."""
        if seconds >= self._next:
            self._next = seconds + REPEAT_SECONDS
            place = place_in(self._mount.root, thread)
            logger.warning("%s has been loading for %.1f s, and is at %s", self._mount.key, seconds, place)


def timed_out(mount: MountConfig, seconds: float, thread: int | None) -> LoadError:
    """Return the error for *mount*, whose load in *thread* was given up after *seconds*."""
    place = place_in(mount.root, thread)
    return LoadError(
        f'"{mount.app.text}" did not finish loading within {seconds:g} s, and is at {place}; an import must end: move '
        "servers, loops and waits out of it, or give a slow app more time with --timeout",
        files=[place.partition(":")[0]],
    )
