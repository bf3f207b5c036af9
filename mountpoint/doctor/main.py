"""The entry point: examine a site by its URL, the apps of a table in this process, or a table through its proxy."""

from __future__ import annotations

from pathlib import Path

from ..loading.load_thread import LoadThread
from .by_table import examine_table
from .by_url import examine_url
from .fetch import REQUESTS, Progress
from .findings import Report


def doctor(  # noqa: PLR0913 - the options of the command
    file: str | Path | None,
    url: str | None,
    limit: int = REQUESTS,
    progress: Progress | None = None,
    thread: LoadThread | None = None,
    *,
    timeout: float | None = None,
) -> Report:
    """Examine a mount table, a site, or both, and return the report.

    With *file* only, the apps of that table are examined in this process. With *url* only, it is the mount of any site.
    With both, the table is also examined through the proxy at *url*. With neither, the table is ``mounts.toml``.
    With *thread* the apps are imported there, and a load that takes more than *timeout* seconds fails. Raises
    `MountpointError` if nothing could be examined.
    """
    if file is None and url is not None:
        return examine_url(url, limit, progress)
    return examine_table(file, url, limit, progress, thread, timeout=timeout)
