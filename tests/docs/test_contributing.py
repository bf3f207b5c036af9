"""The files for contributors: their links lead somewhere, and GitHub can read the forms."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from support.pages import ROOT, Page

GITHUB = ROOT / ".github"
FORMS = sorted(GITHUB.rglob("*.yml"))


@pytest.mark.parametrize("page", [Page.read(path) for path in sorted(GITHUB.glob("*.md"))], ids=lambda page: page.name)
def test_each_link_of_a_contributors_file_leads_somewhere(page: Page):
    for link in page.links:
        if not urlsplit(link).scheme:
            assert (page.path.parent / link.partition("#")[0]).resolve().exists(), link


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_each_form_is_yaml(path):
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)


def test_the_workflow_runs_the_script_with_ci_set():
    workflow = (GITHUB / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert "CI=true .ci/run" in workflow
    assert (ROOT / ".ci" / "run").exists()
