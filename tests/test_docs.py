"""The README is run as written: its tables load, its commands answer what it shows, and nothing is left out of it."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import mountpoint
from mountpoint import cli, load_config
from mountpoint.config.schema import DOCTOR_KEYS, MOUNT_KEYS, PROXY_KEYS, SERVER_KEYS, WAITRESS_KEYS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert found, f"no block of {language}"
    return found


@pytest.mark.parametrize("text", blocks("toml"))
def test_each_table_of_the_readme_loads(text, tmp_path):
    for folder in ("apps/notes", "apps/tv_ws", "shop", "blog"):
        (tmp_path / folder).mkdir(parents=True)
    if "[mounts]" not in text:
        text += '[mounts]\n"/" = "app"\n'
    (tmp_path / "mounts.toml").write_text(text)
    assert load_config(tmp_path / "mounts.toml").mounts


@pytest.mark.parametrize("text", blocks("console"))
def test_each_command_of_the_readme_answers_what_is_shown(text):
    command, _, shown = text.removeprefix("$ ").partition("\n")
    name, *arguments = shlex.split(command)
    assert name == "mountpoint"
    answer = subprocess.run(
        [sys.executable, "-m", name, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert (answer.stdout, answer.stderr) == (shown, "")


@pytest.mark.parametrize("text", blocks("python"))
def test_each_piece_of_code_in_the_readme_runs(text):
    names = ("tv_ws", "notes", "home", "shop", "admin")
    exec(text, {name: lambda environ, start_response: [] for name in names})


def test_the_test_command_is_the_one_that_ci_runs():
    command = next(line for text in blocks("sh") for line in text.splitlines() if line.endswith("/tox"))
    assert command in (ROOT / ".ci/run").read_text().splitlines()


def test_the_serve_command_serves_the_examples():
    command = next(line for text in blocks("sh") for line in text.splitlines() if "mountpoint serve" in line)
    file = shlex.split(command)[-1]
    assert [mount.key for mount in load_config(ROOT / file).mounts] == ["/notes", "/tv_ws"]


@pytest.mark.parametrize("key", [*DOCTOR_KEYS, *MOUNT_KEYS, *PROXY_KEYS, *SERVER_KEYS, *WAITRESS_KEYS])
def test_each_key_of_the_file_is_in_the_reference(key):
    assert f"`{key}`" in README


def test_each_option_of_the_command_line_is_in_the_reference():
    _, commands = cli._parsers()
    for parser in commands.values():
        for option in (name for action in parser._actions for name in action.option_strings if len(name) > 2):
            assert f"`{option}" in README, option


def test_each_link_into_the_tree_leads_somewhere():
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / link).exists(), link


def test_each_public_name_that_a_user_imports_is_in_the_readme():
    for name in ("Dispatcher", "Mount", "MountTable", "ConfigError", "load"):
        assert hasattr(mountpoint, name)
        assert name in README
