"""A failed load names the files that would repair it, so that ``--reload`` notices when they appear."""

import pytest
from support.tables import APP, imports_undone, write

from mountpoint.config.reader import load_config
from mountpoint.loading.loader import load_mounts

PACKAGE = {"shop/__init__.py": ""}


@pytest.mark.parametrize(
    ("files", "missing"),
    [
        ({"shop/web.py": "import shop.models"}, "shop/models"),
        ({"shop/web.py": "from . import models"}, "shop/models"),
        ({"shop/web.py": "from .models import Thing"}, "shop/models"),
        ({"shop/web.py": "from .parts import models", "shop/parts/__init__.py": ""}, "shop/parts/models"),
        ({"shop/web.py": "import helper"}, "helper"),
        ({"shop/web.py": "import helper.deep.thing", "helper/readme.txt": ""}, "helper/deep"),
        ({"shop/web.py": "import other", "other.py": "import helper"}, "helper"),
        ({"shop/web.py": "try:\n    import helper\nexcept ImportError as e:\n    raise RuntimeError from e"}, "helper"),
        (
            {"shop/web.py": "try:\n    import helper\nexcept ImportError:\n    raise RuntimeError('no') from None"},
            "helper",
        ),
        ({"shop/web.py": "from importlib import import_module\nimport_module('shop.models')"}, "shop/models"),
        ({}, "shop/web"),
    ],
)
def test_the_files_of_a_missing_module_are_among_those_of_the_error(tmp_path, files, missing):
    write(tmp_path, {"mounts.toml": '[mounts]\n"/a" = "shop.web:app"\n', **PACKAGE, **files})
    with imports_undone(tmp_path):
        [mount] = load_mounts(load_config(tmp_path / "mounts.toml"))
    assert {str(tmp_path / f"{missing}.py"), str(tmp_path / missing / "__init__.py")} <= set(mount.error.files)


def test_an_error_that_is_not_about_an_import_names_only_its_own_files(tmp_path):
    write(tmp_path, {"mounts.toml": '[mounts]\n"/a" = "web:app"\n', "web.py": f"1 / 0\n{APP}"})
    with imports_undone(tmp_path):
        [mount] = load_mounts(load_config(tmp_path / "mounts.toml"))
    assert mount.error.files == (str(tmp_path / "web.py"),)
