"""Signals as a terminal gives them to a program, for the children that tests start.

A shell ignores SIGINT for a command in the background of a script, and nohup ignores SIGHUP. A child inherits an
ignored or blocked signal over exec (POSIX, execve), and Python then installs no handler for SIGINT.
"""

from __future__ import annotations

import signal

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
SIGNALS = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]  # Windows has two of them


def let_children_have_default_signals() -> None:
    """Give children the default action of each of `SIGNALS`, while this process goes on to ignore what it ignored.

    To be called in the main thread. A handler does what is needed, since exec resets a handled signal to its default,
    and leaves an ignored one ignored.
    """
    for number in SIGNALS:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, _do_nothing)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _do_nothing(number: int, frame: object) -> None: ...
