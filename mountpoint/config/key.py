"""One key of ``mounts.toml``: its validator, its description and its default."""

from __future__ import annotations

from typing import NamedTuple

from .validators import Validator


class Key(NamedTuple):
    """One key of the file. ``description`` and ``default`` are Markdown: a default in backquotes is TOML."""

    validator: Validator
    description: str
    default: str
