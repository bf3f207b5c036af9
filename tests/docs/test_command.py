"""``mountpoint docs``: the manual on the command line."""

from __future__ import annotations

import pytest
from support.pages import MANUAL

from mountpoint.cli import main
from mountpoint.docs import PAGES


def test_the_list_names_every_page_once_in_the_order_of_reading(capsys):
    assert main(["docs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(PAGES)
    assert set(PAGES) == {file.stem for file in MANUAL.glob("*.md")}
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_printed_as_its_file_has_it(name, capsys):
    assert main(["docs", name]) == 0
    assert capsys.readouterr().out == (MANUAL / f"{name}.md").read_text(encoding="utf-8")


def test_a_page_that_does_not_exist_is_an_error_with_the_nearest_name(capsys):
    assert main(["docs", "getting-start"]) == 2
    expected = 'expected a page of the manual, found "getting-start"; did you mean "getting-started"?\n'
    assert capsys.readouterr() == ("", expected)


def test_a_page_that_is_like_no_other_is_an_error_that_names_the_list(capsys):
    assert main(["docs", "xyzzy"]) == 2
    assert capsys.readouterr().err.endswith('found "xyzzy"; "mountpoint docs" lists them\n')


def test_each_page_opens_with_a_title_and_one_line():
    for name in PAGES:
        title, blank, line = (MANUAL / f"{name}.md").read_text(encoding="utf-8").splitlines()[:3]
        assert title.startswith("# "), name
        assert not blank, name
        assert line, name
