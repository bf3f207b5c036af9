"""The page on status lists each metric, each key of the JSON document, and each word of trouble."""

from __future__ import annotations

import re

import pytest
from support.pages import MANUAL
from support.status_reference import filled, keys_of
from support.status_snapshot import troubled

from mountpoint.status.verdict import KINDS

TEXT = (MANUAL / "status.md").read_text(encoding="utf-8")
DOCUMENT = TEXT.partition("## The JSON document")[2].partition("\n## ")[0]


def test_the_table_of_metrics_is_the_one_that_the_code_makes():
    assert filled(TEXT) == TEXT, "run PYTHONPATH=tests python -m support.status_reference"
    without = re.sub(r"\| `mountpoint_requests_total`.*\n", "", TEXT)
    assert filled(without) != without


def test_the_table_of_the_document_has_each_key_and_no_other():
    documented = [
        key for line in re.findall(r"^\| (`.*?) \|", DOCUMENT, re.MULTILINE) for key in re.findall("`(.*?)`", line)
    ]
    assert len(documented) == len(set(documented))
    assert set(documented) == {*keys_of(troubled()), "server.last_reload"}


@pytest.mark.parametrize("kind", KINDS)
def test_each_word_of_trouble_is_explained(kind):
    assert f"\n| {kind} | " in TEXT
