"""The three ways to ask: a site by its address, a table in process, and a table through its proxy."""

from __future__ import annotations

from pathlib import Path

from .by_table import examine_table
from .by_url import REQUESTS, Progress, examine_url
from .findings import Report


def doctor(file: str | Path | None, url: str | None, limit: int = REQUESTS, progress: Progress | None = None) -> Report:
    """Look at what *file*, a mount table, and *url*, where it is served, say; one of the two may be missing.

    Raises `MountpointError` if there is nothing to look at.
    """
    if file is None and url is not None:
        return examine_url(url, limit, progress)
    return examine_table(file, url, limit, progress)
