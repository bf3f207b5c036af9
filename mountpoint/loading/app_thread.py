"""A thread that runs the code of apps, and that the process does not wait for at its end."""

from __future__ import annotations

import threading


class AppThread(threading.Thread):
    """A daemon thread whose children are not daemons unless the app says so.

    A thread inherits ``daemon`` from the thread that creates it. The threads of apps must not be daemons by accident:
    Python ends daemons in the middle of their work when the process ends, and waits for all others. A server thread
    has to be a daemon, because it may hang in an app. Python reads ``daemon`` when the thread starts, so a later
    change applies to its children only.
    """

    _has_started = False

    @property
    def daemon(self) -> bool:
        """True until the thread runs; from then on the value that its children inherit."""
        return not self._has_started

    @daemon.setter
    def daemon(self, value: bool) -> None:
        raise AttributeError("an AppThread is always a daemon")

    def run(self) -> None:
        self._has_started = True
        super().run()


def running_app_threads() -> list[threading.Thread]:
    """Return the threads that Python waits for at its exit, without the current and the main thread."""
    own = (threading.current_thread(), threading.main_thread())
    return [
        thread
        for thread in threading.enumerate()
        if not thread.daemon and not isinstance(thread, AppThread) and thread not in own
    ]
