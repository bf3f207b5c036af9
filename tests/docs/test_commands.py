"""commands.md names every command, and shows its --help, which test_pages.py compares with the command's output."""

from __future__ import annotations

from support.pages import MANUAL, Page, commands

from mountpoint.cli.parser import parsers

PAGE = Page.read(MANUAL / "commands.md")
PARSERS = parsers()[1]


def test_each_command_has_a_row_with_its_description():
    rows = [f"| [`{name}`](#{name}) | {parser.description} |\n" for name, parser in PARSERS.items()]
    assert f"| Command | |\n|---|---|\n{''.join(rows)}\n" in PAGE.text


def test_each_command_has_a_section_that_opens_with_its_help():
    first = {section.title: next(commands(section.blocks[0]))[1] for section in PAGE.sections}
    assert first == {name: f"mountpoint {name} --help" for name in PARSERS}


def test_each_option_is_shown():
    for name, parser in PARSERS.items():
        section = next(section for section in PAGE.sections if section.title == name)
        for action in parser._actions:
            assert max(action.option_strings, default=action.metavar, key=len) in section.blocks[0].text
