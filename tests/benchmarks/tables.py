"""Tables of figures: as text for a terminal, as Markdown for the manual, and their replacement in its pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from measure import text_table


@dataclass(frozen=True)
class Table:
    """A table of figures. The first cell of *header* is its title, and names the table in a page."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def title(self) -> str:
        return self.header[0]

    def text(self) -> str:
        return text_table(self.header, self.rows)

    def markdown(self) -> str:
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines) + "\n"


def replace_tables(page: str, tables: Sequence[Table]) -> str:
    """Return *page*, a text in Markdown, with the table of the same title in place of each of *tables*.

    A title that is not exactly once in the page raises `ValueError`.
    """
    for table in tables:
        lines = page.splitlines(keepends=True)
        starts = [number for number, line in enumerate(lines) if line.startswith(f"| {table.title} |")]
        if len(starts) != 1:
            raise ValueError(f"the page has {len(starts)} tables with the title {table.title!r}, expected one")
        end = start = starts[0]
        while end < len(lines) and lines[end].startswith("|"):
            end += 1
        page = "".join([*lines[:start], table.markdown(), *lines[end:]])
    return page
