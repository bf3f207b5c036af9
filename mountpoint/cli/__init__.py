"""The command line: parse the arguments, call the command, print its output, return the exit code.

The output of a command goes to stdout, everything else to stderr. Exit codes:

- 0: done.
- 1: the command ran, and found a problem: errors in the table, a URL that no app gets, an address in use, requests that
  were cut off.
- 2: wrong usage, or a file that cannot be read.
- 3: no server runs that ``status`` and ``top`` could ask.

Read in this order:

    parser    the commands and their options
    commands  the commands that serve or examine a table
    control   the commands that ask a running server
    usage     advice for arguments in the wrong place
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

from ..errors import MountpointError, UnreadableError, UsageError
from .parser import parse


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that *argv* (by default that of the process) asks for, and return its exit code."""
    if sys.stdout is None:  # the parent process has closed it
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - open until the process ends
    if isinstance(sys.stdout, io.TextIOWrapper):  # a path may have characters that the terminal cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    stdout = sys.stdout  # an app may replace it
    try:
        try:
            options = parse(sys.argv[1:] if argv is None else argv)
            code: int = options.command(options)
            return code
        finally:
            if not stdout.closed:  # an app may close it
                stdout.flush()  # here, because a BrokenPipeError at exit could not be handled
    except MountpointError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, UnreadableError | UsageError) else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of the output has closed the pipe, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush when Python exits
        return 1
