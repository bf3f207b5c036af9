"""The exceptions of mountpoint, and the form of every message about a user's input.

A message names the key, the expectation, the finding and the text to write instead. All messages about one table or
file are collected and raised together, so that a user fixes them in one go.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True)  # without slots: this runs in workers too, on Python 3.8 and later
class Problem:
    """One mistake, at one *key*.

    ``key`` is the mount's key, or the path of a key in a file, ``mounts."/tv_ws".slash``. It is empty if the mistake
    belongs to no single key.
    """

    key: str
    message: str

    def __str__(self) -> str:
        text = f"{self.key}: {self.message}" if self.key else self.message
        # One problem is one line, even if the user's key has line breaks.
        return _CONTROL.sub(lambda match: repr(match[0])[1:-1], text)


class MountpointError(Exception):
    """The base of every exception that mountpoint raises for a mistake of its user."""


class ConfigError(MountpointError, ValueError):
    """A mount table, a file or a setting is wrong.

    ``problems`` holds all mistakes, and ``file`` the name of the file, if there is one. ``str()`` gives one line for
    each problem.
    """

    def __init__(self, problems: Iterable[Problem], *, file: str | None = None) -> None:
        self.problems: Sequence[Problem] = tuple(problems)
        self.file = file
        super().__init__("\n".join(f"{file}: {problem}" if file else str(problem) for problem in self.problems))


class UnreadableError(ConfigError):
    """The configuration file cannot be read: it is missing, a folder, or not permitted."""


class UsageError(ConfigError):
    """The command line asks for something impossible."""


class LoadError(MountpointError):
    """An app could not be loaded.

    ``details`` is the traceback of the app's own code, empty if its code did not run. ``files`` are the source files
    that may contain the cause: ``--reload`` watches them.
    """

    def __init__(self, message: str, *, details: str = "", files: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.details = details
        self.files = tuple(files)


class NoSuchModule(LoadError):
    """The app spec names a module that is neither in the mount's root nor installed."""


class NoSuchAttribute(LoadError):
    """The app spec names an attribute that the module does not have."""


class AppRaised(LoadError):
    """The app's own code raised while its module was imported or its factory was called."""


class NotAnApp(LoadError):
    """The app spec names an object that is not a WSGI application."""


class ServeError(MountpointError):
    """The server cannot start: an address is taken, forbidden or unusable."""


class ControlError(MountpointError):
    """A command cannot reach a running server, or the server rejects it. Text of the server is made printable."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message, "\n"))


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield *error*, and the exceptions from which it was raised, the nearest first. A ring of causes ends."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def printable(text: str, kept: str = "") -> str:
    r"""Return *text* without characters that could control a terminal, except for those in *kept*.

    >>> printable("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    return "".join(char if char.isprintable() or char in kept else repr(char)[1:-1] for char in text)


def did_you_mean(found: str, known: Iterable[str]) -> str:
    """Return ``; did you mean "x"?`` for the name in *known* that is nearest to *found*, or an empty string.

    >>> did_you_mean("thread", ["listen", "threads"])
    '; did you mean "threads"?'
    """
    import difflib  # imported here because a correct file never needs it

    nearest = difflib.get_close_matches(found, list(known), n=1)
    return f'; did you mean "{nearest[0]}"?' if nearest else ""


def counted(number: int, noun: str) -> str:
    """Return *number* and *noun*, with the plural "s" where it belongs.

    >>> counted(1, "mount"), counted(2, "mount")
    ('1 mount', '2 mounts')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
