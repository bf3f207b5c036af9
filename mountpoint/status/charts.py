"""Charts as SVG, drawn by the server: a small one for each mount, and large ones for the whole server.

Each chart has a title and a description in words, so its content does not depend on sight or colours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from .markup import Html, element
from .words import count

_STEP, _HEIGHT = 2, 24  # of a small chart: the width of a minute, and the height of the highest one
_LEFT, _TOP, _WIDTH, _TALL = 64, 8, 480, 72  # of a large chart: its margins, and its plot


def sparkline(requests: Sequence[float], errors: Sequence[float]) -> Html:
    """Return a small chart of *requests*, with *errors* in front of them, a value for each minute, oldest first."""
    peak = max(requests, default=0)
    if not peak:
        return Html('<span class="none">no requests</span>')
    text = f"{count(sum(requests))} requests, {count(sum(errors))} errors; at most {count(peak)} requests a minute"
    paths = f'<path class="requests" d="{_steps(requests, peak, _STEP, _HEIGHT)}"/>'
    if any(errors):
        paths += f'<path class="errors" d="{_steps(errors, peak, _STEP, _HEIGHT)}"/>'
    width = _STEP * len(requests)
    return Html(
        f'<svg class="small" viewBox="0 0 {width} {_HEIGHT}" width="{width}" height="{_HEIGHT}" role="img">'
        f"<title>{text}</title>{paths}</svg>"
    )


def large_chart(
    title: str, description: str, series: Sequence[tuple[str, Sequence[float]]], label: Callable[[float], str]
) -> Html:
    """Return a chart of *series*, pairs of a CSS class and values, with axes. *label* formats a value of the y axis."""
    top = _round_up(max((max(values, default=0) for _, values in series), default=0))
    length = max((len(values) for _, values in series), default=1)
    step = _WIDTH // max(length, 1)
    parts = []
    for share in (0.0, 0.5, 1.0):
        y = _TOP + _TALL * (1 - share)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:g}h{_WIDTH}"/>')
        parts.append(f'<text class="y" x="{_LEFT - 6}" y="{y + 4:g}">{label(top * share)}</text>')
    for name, values in series:
        if any(values):
            path = _steps(values, top, step, _TALL)
            parts.append(f'<path class="{name}" transform="translate({_LEFT} {_TOP})" d="{path}"/>')
    for minutes, name in ((length, f"{length} min ago"), (length / 2, f"{length / 2:g} min"), (0, "now")):
        x = _LEFT + _WIDTH - minutes * step
        anchor = "start" if minutes == length else "end" if not minutes else "middle"
        parts.append(f'<text x="{x:g}" y="{_TOP + _TALL + 18}" text-anchor="{anchor}">{name}</text>')
    return Html(
        f'<svg class="large" viewBox="0 0 {_LEFT + _WIDTH + 8} {_TOP + _TALL + 26}" role="img">'
        f"{element('title', title)}{element('desc', description)}{''.join(parts)}</svg>"
    )


def _steps(values: Sequence[float], top: float, step: int, height: int) -> str:
    """Return the path of an area with one step for each value. A value above 0 is at least one unit high."""
    scale, columns, rows = height / top, _moves("H", len(values) + 1, step), _moves("V", height + 1, 1)
    heights = {value: height - (int(value * scale + 0.5) or 1) if value else height for value in {*values}}
    path, last = [f"M0 {height}"], height
    for column, value in zip(columns, values, strict=False):
        if (y := heights[value]) != last:
            path += column, rows[y]
            last = y
    path += columns[-1], rows[height], "Z"
    return "".join(path)


@cache
def _moves(letter: str, length: int, step: int) -> Sequence[str]:
    """Return the commands of a path to each of *length* places. A page has thousands of them."""
    return [f"{letter}{step * place}" for place in range(length)]


def _round_up(value: float) -> float:
    """Return the next number at or above *value* that is 1, 2 or 5 times a power of ten.

    >>> [_round_up(value) for value in (0, 0.3, 7, 120)]
    [1, 0.5, 10, 200]
    """
    if value <= 0:
        return 1
    power = 10.0
    while power > value:
        power /= 10
    while power * 10 <= value:
        power *= 10
    found = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= value * (1 - 1e-9))
    return int(found) if found >= 1 else round(found, 12)
