"""Troubleshooting names every symptom of the doctor, and no other."""

from __future__ import annotations

import re

from support.pages import MANUAL

from mountpoint.doctor.symptoms import SYMPTOMS

PAGE = (MANUAL / "troubleshooting.md").read_text(encoding="utf-8")


def test_each_symptom_of_the_doctor_is_on_the_page_and_no_other():
    listed = re.findall(r"^- \*\*Doctor:\*\* (.*)$", PAGE, re.MULTILINE)
    assert {name for line in listed for name in re.findall(r"`([a-z0-9-]+)`", line)} == SYMPTOMS.keys()
