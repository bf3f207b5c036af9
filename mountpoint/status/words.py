"""Numbers, durations, sizes and times as the page shows them."""

from __future__ import annotations

import time


def count(number: float) -> str:
    """Return *number* with a comma between thousands.

    >>> count(1234567)
    '1,234,567'
    """
    return f"{number:,.0f}"


def duration(seconds: float | None) -> str:
    """Return *seconds* in the unit that fits, or a dash for None.

    >>> [duration(number) for number in (None, 0, 0.0004, 0.0123, 1.26, 59.99, 75, 7300, 200_000)]
    ['\u2013', '0 ms', '0.4 ms', '12 ms', '1.3 s', '1 min 0 s', '1 min 15 s', '2 h 1 min', '2 d 7 h']
    """
    if seconds is None:
        return "\u2013"
    milliseconds = seconds * 1000
    if milliseconds < 9.95:
        return f"{milliseconds:.1f} ms" if milliseconds >= 0.05 else "0 ms"
    if milliseconds < 999.5:
        return f"{milliseconds:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    for size, unit, smaller, smaller_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            return f"{seconds // size:,.0f} {unit} {seconds % size // smaller:.0f} {smaller_unit}"
    return "1 min 0 s"


def size(number: float | None) -> str:
    """Return a *number* of bytes in the unit that fits, or a dash for None.

    >>> size(None), size(999), size(50_300_000), size(2.5e12)
    ('\u2013', '999 B', '50 MB', '2.5 TB')
    """
    if number is None:
        return "\u2013"
    for unit in ("B", "kB", "MB", "GB"):
        if number < 999.5:
            return f"{number:.0f} {unit}"
        number /= 1000
    return f"{number:,.1f} TB"


def moment(at: float) -> str:
    """Return a Unix time in UTC, to the second.

    >>> moment(0)
    '1970-01-01 00:00:00 UTC'
    """
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
