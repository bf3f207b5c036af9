"""Figures for a narrow column, and text that fits."""

from __future__ import annotations

import unicodedata

_UNITS = ("B", "K", "M", "G", "T")
_THOUSANDS = ("k", "M", "G", "T")


def duration(seconds: float | None) -> str:
    """Return *seconds* in at most five characters, ``-`` for None.

    >>> [duration(one) for one in (None, 0.00034, 0.012, 1.24, 75, 7200, 200_000)]
    ['-', '0.3ms', '12ms', '1.2s', '75s', '120m', '56h']
    """
    if seconds is None:
        return "-"
    if seconds < 0.00995:
        return f"{seconds * 1000:.1f}ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    if seconds < 100:
        return f"{seconds:.0f}s"
    for limit, unit_seconds, unit in ((180 * 60, 60, "m"), (100 * 3600, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit_seconds:.0f}{unit}"
    return f"{seconds / 86400:.0f}d"


def long_duration(seconds: float) -> str:
    """Return *seconds* for a sentence, in the two largest units.

    >>> [long_duration(one) for one in (4.2, 75, 7261, 200_000)]
    ['4 s', '1 min 15 s', '2 h 1 min', '2 d 7 h']
    """
    whole = int(max(seconds, 0))
    units = [("d", whole // 86400), ("h", whole // 3600 % 24), ("min", whole // 60 % 60), ("s", whole % 60)]
    first = next((index for index, (_, number) in enumerate(units) if number), 3)
    return " ".join(f"{number} {unit}" for unit, number in units[first : first + 2] if number or unit == "s")


def count(number: float) -> str:
    """Return *number* in at most four characters.

    >>> [count(one) for one in (0, 9999, 12_345, 4_560_000)]
    ['0', '9999', '12k', '4.6M']
    """
    if number < 10_000:
        return f"{number:.0f}"
    power = 1
    while number >= 999.5 * 1000**power and power < len(_THOUSANDS):
        power += 1
    scaled = number / 1000**power
    return f"{scaled:.{1 if scaled < 9.95 else 0}f}{_THOUSANDS[power - 1]}"


def size(number: float | None) -> str:
    """Return *number* of bytes in at most five characters, ``-`` for None.

    >>> [size(one) for one in (None, 0, 1023, 50_000_000, 3 * 2**30)]
    ['-', '0B', '1023B', '48M', '3.0G']
    """
    if number is None:
        return "-"
    power = 0
    while number >= 1023.5 and power < len(_UNITS) - 1:
        number /= 1024
        power += 1
    return f"{number:.{1 if power and number < 9.95 else 0}f}{_UNITS[power]}"


def cells(text: str) -> int:
    """Return the columns that *text* takes in a terminal. Characters of East Asia take two, combining marks none."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def fit(text: str, width: int) -> str:
    """Return *text*, cut off with dots if it takes more than *width* columns.

    >>> fit("/a_long_key", 8), fit("/a", 8), fit("/abc", 2)
    ('/a_lo...', '/a', '/a')
    """
    if cells(text) <= width:
        return text
    dots = "..." if width > 6 else ""
    room, end = width - len(dots), 0
    while (columns := cells(text[end])) <= room:
        room -= columns
        end += 1
    return text[:end] + dots


def pad(text: str, width: int, *, right: bool = False) -> str:
    """Return *text* with spaces up to *width* columns, in front of it with *right*."""
    spaces = " " * (width - cells(text))
    return spaces + text if right else text + spaces
