"""The harness itself: a page that is wrong fails its test."""

from __future__ import annotations

import pytest
from support.pages import ROOT, Page, SectionRunner, Settings


def page(text: str) -> Page:
    return Page(ROOT / "page.md", text)


def run(folder, text: str, settings: Settings | None = None) -> None:
    runner = SectionRunner(folder, settings or Settings())
    for section in page(text).sections:
        runner.run(section)


@pytest.mark.parametrize(
    "text",
    [
        "```console\n$ echo a\nb\n```",
        "```console\n$ echo a\n```",
        "```console\n$ printf 'a\\nb\\n'\na\n```",
        "```console\n$ false\n$ echo $?\n0\n```",
        "```console\n$ mountpoint serve nowhere.toml\n...\n```",
        "```console\n$ mountpoint serv\n```",
        "```elixir\n1\n```",
        "```json\n{\n```",
        "```pycon\n>>> 1 + 1\n3\n```",
        "```python\nraise_this()\n```",
        "```toml\n[mounts]\n/a = 1\n```",
        '```toml\n[mounts]\n"/a" = "a"\n\n[server]\nthread = 1\n```',
    ],
)
def test_a_wrong_block_fails(text, tmp_path):
    with pytest.raises((AssertionError, ValueError, NameError, pytest.fail.Exception)):
        run(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        "```console\n$ echo a\na\n$ false\n$ echo $?\n1\n```",
        "```console\n$ printf 'a\\nb\\nc\\n'\n...\nc\n```",
        "```console\n$ echo a1b \\\n    c\na...b c\n```",
        "```python\na = 1\n```\n\n```python\nassert a == 1\n```",
        "```pycon\n>>> 1 + 1\n2\n```",
        '```toml\n[mounts."/a"]\napp = "there/a.py:app"\nroot = "folder"\n```',
        "```python\n# a/b.py\nx = 1\n```\n\n```console\n$ python -c 'import a.b; print(a.b.x)'\n1\n```",
        "```text\n<- ->\n```",
    ],
)
def test_a_right_block_passes(text, tmp_path):
    run(tmp_path, text)


def test_a_server_runs_until_its_section_ends(tmp_path):
    app = "```python\n# hello.py\ndef app(environ, start_response):\n"
    app += "    start_response('200 OK', [])\n    return [b'hello']\n```\n"
    table = '```toml\n# mounts.toml\n[mounts]\n"/hello" = "hello.py:app"\n```\n'
    console = "```console\n$ mountpoint serve\n...\nserving on http://127.0.0.1:8080/\n"
    console += "$ curl -s http://127.0.0.1:8080/hello/; echo\nhello\n```"
    run(tmp_path, app + table + console)


def test_sections_links_and_anchors_are_those_of_the_page():
    text = "# A `b` c!\n[x](y.md#z)\n## D\n```console\n$ [no](link)\n```\n![p](q.png) `[no](link)`\n"
    assert page(text).anchors == {"a-b-c", "d"}
    assert page(text).links == ["y.md#z", "q.png"]
    (section,) = page(text).sections
    assert (section.title, section.blocks[0].line) == ("D", 4)


def test_a_block_without_an_end_is_an_error():
    with pytest.raises(ValueError, match=r"page\.md:1: the block has no end"):
        page("```text\n").sections  # noqa: B018 - reading it raises
