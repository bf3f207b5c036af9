"""The tables of the manual's page on status: the metrics, and the keys of the JSON document.

``PYTHONPATH=tests python -m support.status_reference`` writes the table of metrics into the page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mountpoint.status.metrics import render_metrics
from support.status_snapshot import troubled

PAGE = Path(__file__).parents[2] / "mountpoint" / "docs" / "status.md"

_METRICS = re.compile(r"(<!-- metrics -->\n).*?(<!-- end of metrics -->)", re.DOTALL)
_HEAD = re.compile(r"# HELP (\S+) (.+)\n# TYPE \S+ (\w+)\n(?:(\S+?)(?:\{(.*)\})? \S+\n)?")


def filled(page: str) -> str:
    """Return the text of *page* with the table of metrics as the code has it."""
    lines = ["| Metric | Type | Labels | Meaning |", "|---|---|---|---|"]
    for name, text, kind, _, labels in _HEAD.findall(render_metrics(troubled())):
        names = [f"`{label}`" for label in re.findall(r'(\w+)="', labels)]
        lines.append(f"| `{name}` | {kind} | {', '.join(names)} | {text} |")
    return _METRICS.sub(lambda match: match[1] + "\n".join([*lines, ""]) + match[2], page)


def keys_of(value: Any, path: str = "") -> Iterator[str]:
    """Yield each key of a document as the page writes it, such as ``server.listen[]``. An empty array has none."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from keys_of(inner, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list):
        for inner in value:
            yield from keys_of(inner if isinstance(inner, dict) else None, f"{path}[]")
    else:
        yield path


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
