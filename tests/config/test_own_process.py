"""The settings of a mount with processes of its own."""

import shutil
import sys
from pathlib import Path

import pytest
from support.tables import APP, config_of, problems_of, write

from mountpoint.config.own_process import OwnProcess, size

APPS = '[mounts."/a"]\napp = "a:app"\n'


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path, {"a.py": APP, "venv/bin/python": "#!/bin/sh\n", "work/keep": ""})


def own(folder, toml):
    return config_of(folder, toml).mounts[0].own


def test_a_mount_is_in_the_servers_process_by_default(folder):
    assert own(folder, APPS) is None


def test_a_mount_with_a_process_has_the_defaults(folder):
    assert own(folder, f'{APPS}process = "own"') == OwnProcess()


def test_every_key_reaches_its_field(folder):
    python = folder / "venv/bin/python"
    python.chmod(0o755)
    text = """
        process = "own"
        python = "venv/bin/python"
        cwd = "work"
        argv = ["--quiet", ""]
        workers = 2
        threads = 3
        timeout = 0.5
        max_requests = 10_000
        max_memory = "500M"
        start_timeout = 7
        grace = 2
        user = "www-data"
        group = "staff"
    """
    assert own(folder, APPS + text) == OwnProcess(
        python=str(python),
        cwd=folder / "work",
        argv=("--quiet", ""),
        workers=2,
        threads=3,
        timeout=0.5,
        max_requests=10_000,
        max_memory=500 * 2**20,
        start_timeout=7,
        grace=2,
        user="www-data",
        group="staff",
    )


def test_naming_an_interpreter_implies_a_process(folder):
    assert own(folder, f'{APPS}python = "python3"').python == shutil.which("python3")


def test_an_interpreter_keeps_its_link(folder):
    (folder / "venv/bin/python").unlink()
    (folder / "venv/bin/python").symlink_to(Path(sys.executable).resolve())
    assert own(folder, f'{APPS}python = "venv/bin/python"').python == str(folder / "venv/bin/python")


@pytest.mark.parametrize(
    ("defaults", "mount", "expected"),
    [
        ('process = "own"', "", True),
        ('python = "python3"', "", True),
        ('python = "python3"', 'process = "shared"', False),
        ('process = "own"', 'process = "shared"', False),
        ('process = "shared"', 'process = "own"', True),
        ('process = "shared"', 'python = "python3"', True),
        ('process = "shared"\npython = "python3"', "", False),
        ("workers = 3", "", False),
        ("workers = 3", 'process = "own"', True),
    ],
)
def test_a_mount_overrides_the_kind_in_defaults(folder, defaults, mount, expected):
    found = own(folder, f"[defaults]\n{defaults}\n{APPS}{mount}")
    assert (found is not None) is expected
    if found is not None:
        assert found.workers == (3 if "workers" in defaults else 1)


@pytest.mark.parametrize(
    ("keys", "limit"), [("", 4), ("workers = 3\nthreads = 2", 6), ("limit = 2", 2), ("limit = 100", 4)]
)
def test_the_limit_is_at_most_workers_times_threads(folder, keys, limit):
    config = config_of(folder, f'{APPS}process = "own"\n{keys}')
    assert config.mounts[0].limit == limit


@pytest.mark.parametrize(
    ("key", "prefix"),
    [("/", ""), ("/cms", "/cms"), ("/cms/", "/cms"), ("example.com/a/b", "/a/b"), ("/cäms", "/cäms"), ("*.x.org/", "")],
)
def test_env_has_the_prefix_of_its_mount(folder, key, prefix):
    text = (
        f'[mounts."{key}"]\napp = "a:app"\nenv = {{ A = "{{prefix}}/s/", B = "{{}} {{other}} {{prefix}}{{prefix}}" }}'
    )
    assert config_of(folder, text).mounts[0].env == {"A": f"{prefix}/s/", "B": f"{{}} {{other}} {prefix}{prefix}"}
    text += '\n[proxy]\nstrips = "/äpps"\n'
    assert config_of(folder, text).mounts[0].env["A"] == f"/äpps{prefix}/s/"


@pytest.mark.parametrize(
    ("proxy", "public"),
    [
        ("", "/cms"),
        ('strips = "/apps"', "/apps/cms"),
        ('trusted = ["unix"]\nx_prefix = 1', None),
        ('trusted = ["unix"]\nx_prefix = 1\nrestore_prefix = true', "/cms"),
    ],
)
def test_the_path_of_a_mount_in_the_browser(folder, proxy, public):
    mount = config_of(folder, f'[mounts]\n"example.com/cms" = "a:app"\n[proxy]\n{proxy}\n').mounts[0]
    assert (mount.path, mount.public) == ("/cms", public)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("500M", 500 * 2**20),
        ("2G", 2**31),
        ("64K", 65_536),
        ("1GB", 2**30),
        ("1 GiB", 2**30),
        ("12", 12),
        (0, 0),
        (7, 7),
    ],
)
def test_a_size_has_a_unit_of_1024(value, expected):
    assert size(value) == expected


@pytest.mark.parametrize("value", ["", "M", "1.5G", "-1", "1T", "\u0661M", -1, 2**63, 1.5, True, [], "9" * 40])
def test_a_size_that_is_none_is_rejected(value):
    with pytest.raises(ValueError, match='expected a size such as "500M"'):
        size(value)


def test_an_interpreter_that_is_not_executable_is_rejected(folder):
    [problem] = problems_of(folder, f'{APPS}python = "venv/bin/python"')
    assert problem.endswith(f'expected an interpreter, found another file at "{folder}/venv/bin/python"')


@pytest.mark.parametrize("text", [".venv/bin/python", "env/bin/python3"])
def test_an_interpreter_that_is_missing_may_be_in_an_environment_of_another_name(folder, text):
    [problem] = problems_of(folder, f'{APPS}python = "{text}"')
    assert problem.endswith(f'found nothing at "{folder}/{text}"; did you mean "venv/bin/python"?')


def test_the_message_about_a_venv_names_its_interpreter(folder):
    [problem] = problems_of(folder, f'{APPS}python = "venv"')
    assert problem.endswith(f'found a folder at "{folder}/venv"; write "venv/bin/python"')


def test_a_problem_of_defaults_is_reported_there_once(folder):
    text = f'[defaults]\nprocess = "own"\npython = "missing/python"\n{APPS}[mounts."/b"]\napp = "a:app"\n'
    [problem] = problems_of(folder, text)
    assert problem.startswith("defaults.python: expected an interpreter, found nothing")
