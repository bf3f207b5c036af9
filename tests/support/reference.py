"""The tables of the manual's page about mounts.toml, made of the keys in `mountpoint.config.schema`.

``PYTHONPATH=tests python -m support.reference`` writes them into the page, between its markers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from mountpoint.config import schema
from mountpoint.config.schema import Key
from mountpoint.config.status import STATUS_KEYS

PAGE = Path(__file__).parents[2] / "mountpoint" / "docs" / "file.md"

#: The tables of keys, by the name in their marker.
TABLES: Mapping[str, Mapping[str, Key]] = {
    "mounts": schema.MOUNT_KEYS,
    "server": schema.SERVER_KEYS,
    "waitress": schema.WAITRESS_KEYS,
    "proxy": schema.PROXY_KEYS,
    "doctor": schema.DOCTOR_KEYS,
    "status": STATUS_KEYS,
}

_MARKED = re.compile(r"^<!-- keys: (\w+) -->\n(.*?)^<!-- end of keys -->\n", re.MULTILINE | re.DOTALL)


def filled(page: str) -> str:
    """Return the text of *page* with every table as the code has it. Raises ValueError if a marker is missing."""
    names = [match[1] for match in _MARKED.finditer(page)]
    if sorted(names) != sorted([*TABLES, "rejected"]):
        raise ValueError(f"expected the markers {[*TABLES, 'rejected']}, found {names}")
    return _MARKED.sub(lambda match: f"<!-- keys: {match[1]} -->\n{_table(match[1])}<!-- end of keys -->\n", page)


def row(name: str, key: Key) -> str:
    return f"| `{name}` | {key.description} | {key.default} |\n"


def rejected_row(name: str, advice: str) -> str:
    return f"| `{name}` | {advice[0].upper()}{advice[1:]} |\n"


def _table(name: str) -> str:
    if name == "rejected":
        return "| Key | Instead |\n|---|---|\n" + "".join(rejected_row(*item) for item in schema.REPLACED.items())
    return "| Key | Meaning | Default |\n|---|---|---|\n" + "".join(row(*item) for item in TABLES[name].items())


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
