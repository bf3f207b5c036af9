"""Advice for arguments that stand in the wrong place."""

from __future__ import annotations

from ..errors import Problem


def swapped(usage: str, first: str, second: str) -> Problem:
    """Return the problem of two arguments in the wrong order; *first* and *second* are in the right one."""
    command, *_ = usage.split()
    message = f'expected "{usage}", found the other order; write "mountpoint {command} {first} {second}"'
    return Problem("", message)
