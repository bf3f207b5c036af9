"""Variables of ``env`` that an app reads in a request are found in its source."""

import os

import pytest
from support.tables import config_of, imports_undone, write

from mountpoint.loading.loader import load_mounts

REQUEST = "def app(environ, start_response):\n    {}\n    return []\n"


@pytest.fixture
def mounts(tmp_path):
    """Load a table whose apps have the variable SITE: ``mounts({"late_app.py": "..."})``."""

    def mounts(files, app="late_app:app", more=""):
        table = f'[mounts."/a"]\napp = "{app}"\nenv = {{ SITE = "x" }}\n{more}'
        loaded = load_mounts(config_of(write(tmp_path, files), table))
        assert [mount.error for mount in loaded] == [None] * len(loaded)
        return loaded

    assert "SITE" not in os.environ
    with imports_undone(tmp_path):
        yield mounts


@pytest.mark.parametrize(
    "read",
    [
        "import os; os.environ['SITE']",
        "import os as o; o.environ.get('SITE')",
        "import os; os.getenv('SITE', 'default')",
        "from os import environ as e; e.get('SITE')",
        "from os import getenv; getenv('SITE')",
        "import os; (lambda: os.environ['SITE'])()",
        "import os; os.environ.setdefault('SITE', 'y')",
    ],
)
def test_a_read_in_a_request_is_a_warning_with_its_line(mounts, tmp_path, read):
    [mount] = mounts({"late_app.py": REQUEST.format(read)})
    [warning] = mount.warnings
    assert warning.startswith(f"{tmp_path / 'late_app.py'}, line 2, reads SITE of env from os.environ, ")
    assert warning.endswith('write process = "own"')
    assert mount.unread == []  # the name is right, so it is not called unread too


def test_a_module_that_a_request_imports_is_read_too(mounts, tmp_path):
    helper = "import os\ndef site():\n    return os.environ[\n        'SITE'\n    ]\n"
    [mount] = mounts({"late_app.py": REQUEST.format("import late_helper"), "late_helper.py": helper})
    assert mount.warnings[0].startswith(f"{tmp_path / 'late_helper.py'}, line 3, reads SITE ")


@pytest.mark.parametrize(
    ("source", "app"),
    [
        ("import os\nSITE = os.environ['SITE']\n" + REQUEST.format("SITE"), "late_app:app"),
        (REQUEST.format("environ['SITE']"), "late_app:app"),
        (REQUEST.format("environ.get('SITE')"), "late_app:app"),
        (REQUEST.format("import os; os.environ['OTHER']"), "late_app:app"),
        (REQUEST.format("import os; os.environ['SITE'] = 'y'"), "late_app:app"),
        ("import os\ndef make():\n    os.environ[\n 'SITE']\n    return app\n" + REQUEST.format(""), "late_app:make()"),
        ("import os\ndef make():\n    os.getenv('SITE')\n    return app\n" + REQUEST.format(""), "late_app:make()"),
    ],
    ids=["at import", "environ", "environ.get", "another name", "a write", "in a factory", "getenv in a factory"],
)  # fmt: skip
def test_other_reads_get_no_warning(mounts, source, app):
    [mount] = mounts({"late_app.py": source}, app)
    assert mount.warnings == []


def test_a_function_that_ran_in_the_first_of_two_loads_gets_no_warning(mounts):
    source = "import os\ndef site():\n    return os.environ['SITE']\nSITE = site()\n" + REQUEST.format("")
    more = '[mounts."/b"]\napp = "late_app:app"\nenv = { SITE = "x" }\n'
    assert [mount.warnings for mount in mounts({"late_app.py": source}, more=more)] == [[], []]
