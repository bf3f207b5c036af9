"""The chart of the dispatcher's benchmark, as SVG that is readable on light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 860, 640

STYLE = """
  text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
  .page { fill: #ffffff; stroke: #d1d9e0 }
  .title { font-weight: 600; font-size: 15px }
  .small { font-size: 11px; fill: #59636e }
  .grid { stroke: #d1d9e0; stroke-width: 1 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .page { fill: #0d1117; stroke: #3d444d }
    .small { fill: #9198a1 }
    .grid { stroke: #3d444d }
  }
"""
# Colours that colour-blind readers can distinguish (Okabe and Ito), lighter on dark. Marks and dashes differ too.
_LINES = """
  .line { fill: none; stroke-width: 2.5; stroke-linejoin: round }
  .s0 { stroke: #0060a8 } .f0 { fill: #0060a8 }
  .s1 { stroke: #c2500a; stroke-dasharray: 7 4 } .f1 { fill: #c2500a }
  .s2 { stroke: #00805e; stroke-dasharray: 2 4 } .f2 { fill: #00805e }
  .s3 { stroke: #a8487f; stroke-dasharray: 10 4 2 4 } .f3 { fill: #a8487f }
  @media (prefers-color-scheme: dark) {
    .s0 { stroke: #58a6ff } .f0 { fill: #58a6ff }
    .s1 { stroke: #f0883e } .f1 { fill: #f0883e }
    .s2 { stroke: #3fb98f } .f2 { fill: #3fb98f }
    .s3 { stroke: #e085ba } .f3 { fill: #e085ba }
  }
"""


class Bar(NamedTuple):
    name: str
    nanoseconds: float


class Line(NamedTuple):
    name: str
    points: Sequence[tuple[float, float]]  # (mounts or bytes, seconds)


def draw(*, bars: Sequence[Bar], mounts: Sequence[Line], lengths: Sequence[Line], note: str) -> str:
    """Return the chart: a typical request above, growing tables and growing paths below."""
    kinds = {line.name: number for number, line in enumerate(mounts)}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"',
        f'  width="{WIDTH}" height="{HEIGHT}" aria-label="Time to dispatch one request: mountpoint and its peers">',
        f"<style>{STYLE}{_LINES}</style>",
        f'<rect class="page" x="0.5" y="0.5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="8"/>',
        *_bars(bars, kinds),
        *_panel(mounts, kinds, left=80, title="More mounts", axis="mounts in the table"),
        *_panel(lengths, kinds, left=515, title="Longer paths, all slashes", axis="bytes in the path"),
        *_legend(kinds),
        label(20, HEIGHT - 14, note, "small"),
        label(
            WIDTH - 20, HEIGHT - 14, "Lines: the time of one call; both axes are logarithmic.", "small", anchor="end"
        ),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def label(x: float, y: float, text: str, kind: str = "", *, anchor: str = "start") -> str:
    """Return a text element. *kind* is a class of `STYLE`, and *anchor* the side of the text that is at *x*."""
    attributes = f' class="{kind}"' if kind else ""
    if anchor != "start":
        attributes += f' text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y:.1f}"{attributes}>{escape(text)}</text>'


def _bars(bars: Sequence[Bar], kinds: dict[str, int]) -> list[str]:
    left, top, step = 185, 52, 25
    scale = (WIDTH - left - 110) / max(bar.nanoseconds for bar in bars)
    parts = [label(20, 32, "One realistic request: nanoseconds, geometric mean over 1 to 100 mounts", "title")]
    for row, bar in enumerate(bars):
        y = top + row * step
        kind = next((kind for name, kind in kinds.items() if _family(name) == _family(bar.name)), 0)
        parts += [
            label(left - 10, y + 13, bar.name, anchor="end"),
            f'<rect class="f{kind}" x="{left}" y="{y}" width="{bar.nanoseconds * scale:.1f}" height="17" rx="2"/>',
            label(left + bar.nanoseconds * scale + 8, y + 13, f"{bar.nanoseconds:,.0f} ns"),
        ]
    return parts


def _family(name: str) -> str:
    return name.partition(",")[0]


def _panel(lines: Sequence[Line], kinds: dict[str, int], *, left: int, title: str, axis: str) -> list[str]:
    """Return a panel of lines with two logarithmic axes."""
    top, width, height = 258, 320, 270
    points = [point for line in lines for point in line.points]
    x_low, x_high = min(x for x, _ in points), max(x for x, _ in points)
    y_low = 10.0 ** math.floor(math.log10(min(y for _, y in points)))
    y_high = 10.0 ** math.ceil(math.log10(max(y for _, y in points)))

    def place(x: float, y: float) -> tuple[float, float]:
        across = math.log(x / x_low) / math.log(x_high / x_low)
        up = math.log(y / y_low) / math.log(y_high / y_low)
        return left + across * width, top + (1 - up) * height

    parts = [label(left - 60, top - 20, title, "title")]
    for power in range(round(math.log10(y_low)), round(math.log10(y_high)) + 1):
        _, y = place(x_low, 10.0**power)
        parts.append(f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{left + width}" y2="{y:.1f}"/>')
        parts.append(label(left - 8, y + 4, _seconds(power), "small", anchor="end"))
    for power in range(math.ceil(math.log10(x_low)), math.floor(math.log10(x_high)) + 1):
        x, _ = place(10.0**power, y_low)
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{top + height}"/>')
        parts.append(label(x, top + height + 18, f"{10**power:,}", "small", anchor="middle"))
    parts.append(label(left + width / 2, top + height + 38, axis, anchor="middle"))
    for line in reversed(lines):  # ours on top
        kind = kinds[line.name]
        spots = [place(x, y) for x, y in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        parts.append(f'<polyline class="line s{kind}" points="{path}"/>')
        parts += [_mark(kind, x, y) for x, y in spots]
    return parts


def _seconds(power: int) -> str:
    size, unit = next((size, unit) for size, unit in ((0, "s"), (-3, "ms"), (-6, "µs"), (-9, "ns")) if power >= size)
    return f"{10 ** (power - size)} {unit}"


def _mark(kind: int, x: float, y: float) -> str:
    corners = (
        [],
        [(-4, -4), (4, -4), (4, 4), (-4, 4)],  # a square
        [(0, -5), (5, 4), (-5, 4)],  # a triangle
        [(0, -6), (5, 0), (0, 6), (-5, 0)],  # a diamond
    )[kind]
    if not corners:
        return f'<circle class="f{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
    return f'<polygon class="f{kind}" points="{" ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)}"/>'


def _legend(kinds: dict[str, int]) -> list[str]:
    parts = []
    x, y = 20, HEIGHT - 42
    for name, kind in kinds.items():
        parts += [
            f'<line class="line s{kind}" x1="{x}" y1="{y}" x2="{x + 36}" y2="{y}"/>',
            _mark(kind, x + 18, y),
            label(x + 44, y + 4, name),
        ]
        x += 44 + 8 * len(name) + 24
    return parts
