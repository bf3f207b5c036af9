"""The newest entry of the changes is about the version of the package."""

from __future__ import annotations

import re
from importlib.metadata import version

from support.pages import MANUAL

PAGE = (MANUAL / "changes.md").read_text(encoding="utf-8")


def test_the_newest_release_is_the_version_of_the_package():
    newest = re.search(r"^## (\S+)", PAGE, re.MULTILINE)
    assert newest
    assert newest[1] == version("mountpoint")
