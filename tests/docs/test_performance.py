"""Each benchmark is on the page, and each script that the page names is there."""

from __future__ import annotations

import re

from support.pages import MANUAL, ROOT

PAGE = (MANUAL / "performance.md").read_text(encoding="utf-8")
BENCHMARKS = ROOT / "tests" / "benchmarks"


def test_each_benchmark_is_on_the_page_and_no_other():
    scripts = {file.name for file in BENCHMARKS.glob("*.py") if '__name__ == "__main__"' in file.read_text()}
    assert set(re.findall(r"tests/benchmarks/(\w+\.py)", PAGE)) == scripts
