"""The picture of the load benchmark for the README, as SVG that is readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from chart import STYLE, label
from measure import duration

WIDTH = 860
_NAMES, _LEFT, _RIGHT, _BAR = 256, 266, 570, 170  # x of the names' ends and of both panels, and width of a full bar
_STEP = 25
# The bars of mountpoint have an outline and a bold name, so that the colour alone says nothing.
_BARS = """
  .title { font-size: 18px }
  .group { font-weight: 600 }
  text { font-size: 15px }
  .small { font-size: 14px }
  .ours { font-weight: 700 }
  .bar { fill: #a3adb8 }
  .bar.ours { fill: #0060a8; stroke: #1f2328; stroke-width: 1.5 }
  .gap { stroke: #ffffff; stroke-width: 3; fill: none }
  @media (prefers-color-scheme: dark) {
    .gap { stroke: #0d1117 }
    .bar { fill: #5a6570 }
    .bar.ours { fill: #58a6ff; stroke: #f0f6fc }
  }
"""


@dataclass(frozen=True)
class Entry:
    """A server under one load. *cpu* is in seconds; both figures are None if the server did not take part.

    The bar of a *bound* may be cut, so that it does not make the others too short to compare.
    """

    server: str
    cpu: float | None
    rate: float | None
    is_ours: bool = False
    is_bound: bool = False


def draw_load(groups: Sequence[tuple[str, Sequence[Entry]]], note: str) -> str:
    """Return the picture. Each group is the name of a load, and the figures of all servers under it."""
    entries = [entry for _, group in groups for entry in group if not entry.is_bound]
    most_cpu = max(entry.cpu or 0 for entry in entries)
    most_rate = max(entry.rate or 0 for entry in entries)
    parts = [
        label(_LEFT, 34, "CPU time of a request", "title"),
        label(_LEFT, 56, "less is better", "small"),
        label(_RIGHT, 34, "Requests a second", "title"),
        label(_RIGHT, 56, "more is better", "small"),
    ]
    y = 70.0
    for name, group in groups:
        parts.append(label(20, y + 22, name, "group"))
        parts.append(f'<line class="grid" x1="20" y1="{y:.1f}" x2="{WIDTH - 20}" y2="{y:.1f}"/>')
        y += 34
        for entry in group:
            ours = "ours" if entry.is_ours else ""
            parts.append(label(_NAMES, y + 15, entry.server, ours, anchor="end"))
            parts += _bar(_LEFT, y, entry.cpu, most_cpu, duration(entry.cpu) if entry.cpu else "", ours)
            parts += _bar(_RIGHT, y, entry.rate, most_rate, f"{entry.rate:,.0f}" if entry.rate else "", ours)
            y += _STEP
        y += 8
    height = round(y + 40)
    if any(entry.is_bound for _, group in groups for entry in group):
        note += " A bar with a gap is longer than it is drawn."
    parts.append(label(20, height - 18, note, "small"))
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"',
            f'  width="{WIDTH}" height="{height}" aria-label="{escape(_description(groups))}">',
            f"<style>{STYLE}{_BARS}</style>",
            f'<rect class="page" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
            *parts,
            "</svg>\n",
        ]
    )


def _bar(x: float, y: float, value: float | None, most: float, text: str, ours: str) -> list[str]:
    if not value:
        return [label(x, y + 15, "not measured", "small")]
    width = min(value / most, 1) * _BAR
    gap = []
    if value > most:
        middle = x + 0.8 * width
        gap = [f'<path class="gap" d="M {middle:.1f} {y + 21:.1f} l 8 -22 m 6 0 l -8 22"/>']
    return [
        f'<rect class="bar {ours}" x="{x}" y="{y + 1:.1f}" width="{width:.1f}" height="18" rx="2"/>',
        *gap,
        label(x + width + 8, y + 15, text, ours),
    ]


def _description(groups: Sequence[tuple[str, Sequence[Entry]]]) -> str:
    servers = ", ".join(entry.server for entry in groups[0][1])
    loads = "; ".join(name for name, _ in groups)
    return f"CPU time of a request and requests a second of {servers}, under these loads: {loads}"
