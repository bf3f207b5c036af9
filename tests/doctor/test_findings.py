"""Symptoms and fixes as data, and the report of them."""

from __future__ import annotations

import pytest

from mountpoint.doctor.findings import Report
from mountpoint.doctor.fixes import FIXES, fix, language_of
from mountpoint.doctor.symptoms import CORRECTIONS, SYMPTOMS


def test_each_symptom_has_a_fix_in_words_and_no_fix_lacks_a_symptom():
    assert FIXES.keys() == SYMPTOMS.keys()
    assert all(languages["words"] for languages in FIXES.values())
    assert {correction.symptom for correction in CORRECTIONS} <= SYMPTOMS.keys()


@pytest.mark.parametrize(
    ("server", "language"),
    [
        ("nginx/1.22.1", "nginx"),
        ("nginx", "nginx"),
        ("Apache/2.4.65 (Debian)", "apache"),
        ("Caddy", "caddy"),
        ("waitress", "words"),
        ("", "words"),
    ],
)
def test_a_fix_is_in_the_language_of_the_server_header(server, language):
    assert language_of(server) == language
    assert fix("no-location", server, {"prefix": "/a"}) == FIXES["no-location"][language].replace("<prefix>", "/a")


def test_each_line_of_a_fix_is_a_line_of_the_report():
    report = Report("http://example.com/a/", server="Caddy")
    report.add("slash-404", "sure", "/a", ["/a: 404"])
    lines = report.as_text().splitlines()
    start = lines.index("  fix: handle /a {  # mountpoint redirects it, with its query")
    assert lines[start + 1 : start + 3] == ["           reverse_proxy APP", "       }"]


def test_evidence_for_the_same_finding_is_collected_in_it():
    report = Report("http://example.com/a/")
    report.add("dead-link", "note", "/a", ["one"])
    report.add("dead-link", "note", "/a", ["one", "two"])
    report.add("dead-link", "note", "/b", ["three"])
    assert [(finding.mount, finding.evidence) for finding in report.findings] == [
        ("/a", ["one", "two"]),
        ("/b", ["three"]),
    ]


def test_control_characters_of_a_server_do_not_reach_the_terminal():
    report = Report("http://example.com/", server="nginx\x1b[2J")
    report.add("dead-link", "note", "", ["/: 404 to \x9b\r"])
    text = report.as_text()
    assert "\\x1b[2J" in text
    assert "\\x9b\\r" in text
    assert all(char.isprintable() for char in text.replace("\n", ""))
