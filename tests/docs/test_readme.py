"""README.md: its two commands, and its length. Its blocks are run by test_pages.py."""

from __future__ import annotations

import re
import shlex

import pytest
from support.pages import MANUAL, ROOT, Block, Page, Section, SectionRunner, Settings

README = Page.read(ROOT / "README.md")


@pytest.fixture
def two_commands() -> list[str]:
    blocks = [block for section in README.sections for block in section.blocks if block.language == "sh"]
    return [block.text.strip() for block in blocks]


def test_the_readme_has_at_most_900_words():
    assert len(README.text.split()) <= 900


def test_each_figure_is_one_of_the_page_about_performance():
    figures = re.findall(r"\d\.\d\d|\d+,\d+", README.text.partition("## Figures")[2].partition("##")[0])
    performance = (MANUAL / "performance.md").read_text(encoding="utf-8")
    assert len(figures) >= 4
    assert [figure for figure in figures if figure not in performance] == []


def test_the_first_command_serves_both_examples(two_commands, tmp_path):
    program, *arguments = shlex.split(two_commands[0].rpartition(" && ")[2])
    assert program == ".venv/bin/mountpoint"
    text = f"$ mountpoint {shlex.join(arguments)}\n...\nserving on http://127.0.0.1:8080/\n"
    for path in ("/tv_ws/", "/notes/"):
        assert f"<http://127.0.0.1:8080{path}>" in README.text
        text += f"$ curl -s -o {tmp_path}/page -w '%{{http_code}}' http://127.0.0.1:8080{path}; echo\n200\n"
    section = Section("README.md", "the first command", (Block("README.md", 1, "console", text),))
    SectionRunner(tmp_path, Settings.of("README.md")).run(section)


def test_the_second_command_is_the_one_that_ci_runs(two_commands):
    assert two_commands[1] in (ROOT / ".ci/run").read_text().splitlines()
    assert len(two_commands) == 2
