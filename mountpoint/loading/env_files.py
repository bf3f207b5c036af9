"""Read ``.env`` files, as far as their values can be compared with those of ``os.environ``."""

from __future__ import annotations

import re
from pathlib import Path

_LIMIT = 1_000_000  # bytes; a larger file is not read

_LINE = r"""
    ^[ \t]* (?:export[ \t]+)? (?P<name>[A-Za-z_][\w.]*) [ \t]*=[ \t]*
    (?: '(?P<single>[^']*)' | "(?P<double>(?:[^"\\]|\\.)*)" | (?P<plain>[^\r\n]*?) (?:[ \t]+\#[^\r\n]*)? ) [ \t]*
    (?:\#[^\r\n]*)? $
    """
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


def nearest_env_file(root: Path, module: str) -> Path | None:
    """Return the ``.env`` that python-dotenv finds for *module* in *root*: in its folder, or in the nearest one above.

    Return None if no folder has one.
    """
    folder = root.joinpath(*module.split(".")[:-1]).absolute()
    for place in (folder / module.rpartition(".")[2], folder, *folder.parents):
        if (file := place / ".env").is_file():
            return file
    return None


def read_env_file(file: Path) -> dict[str, str]:
    """Return the variables in *file*, with their names in one case, since some libraries ignore it.

    The result is empty if the file cannot be read.
    """
    try:
        if file.stat().st_size > _LIMIT:
            return {}
        text = file.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return {}
    return {match["name"].casefold(): _value(match) for match in re.finditer(_LINE, text, re.VERBOSE | re.MULTILINE)}


def _value(match: re.Match[str]) -> str:
    if match["single"] is not None:
        return match["single"]
    if match["double"] is not None:
        return re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[1]), match["double"], flags=re.DOTALL)
    return match["plain"].strip()
