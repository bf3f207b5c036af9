"""Each page of the manual is run as written, and every link in it leads somewhere.

How a block is run is said in `support.pages.SectionRunner`. The settings of a page stand in ``tests/docs/settings/``.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from support.pages import ROOT, SETTINGS, Page, Section, SectionRunner, Settings, commands, manual

PAGES = manual()
SECTIONS = [section for page in PAGES for section in page.sections]


@pytest.mark.parametrize("section", SECTIONS, ids=str)
def test_the_section_runs_as_written(section: Section, tmp_path):
    SectionRunner(tmp_path, Settings.of(section.page)).run(section)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_block_that_is_not_run_is_still_on_the_page(page: Page):
    blocks = [block for section in page.sections for block in section.blocks]
    lines = {block.first_line for block in blocks}
    lines |= {f"$ {command}" for block in blocks if block.language == "console" for _, command, _ in commands(block)}
    settings = Settings.of(page.name)
    assert set(settings.not_run) <= lines
    assert all(settings.not_run.values()), "a block that is not run needs a reason"


def test_each_file_of_settings_has_its_page():
    names = {page.path.stem.replace("-", "_").lower() for page in PAGES}
    assert {file.stem for file in SETTINGS.glob("*.py")} <= names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_link_leads_somewhere(page: Page):
    for link in page.links:
        if urlsplit(link).scheme in ("http", "https", "mailto"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.path.parent / path).resolve() if path else page.path
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in Page.read(target).anchors, link
