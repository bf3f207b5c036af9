"""Packages whose requirements the environment does not satisfy, as their metadata says."""

import json

import pytest
from support.tables import APP, command, write


def package(name, version, *requirements):
    """Return the files of an installed package."""
    lines = [
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}",
        *(f"Requires-Dist: {one}" for one in requirements),
    ]
    module = name.lower().replace("-", "_").replace(".", "_")
    folder = f"site/{module}-{version}.dist-info"
    return {
        f"site/{module}.py": "",
        f"{folder}/METADATA": "\n".join(lines) + "\n",
        f"{folder}/top_level.txt": f"{module}\n",
    }


TABLE = '[mounts]\n"/a" = "a/one.py:app"\n"/b" = "b/two.py:app"\n"/c" = "c/three.py:app"\n'


@pytest.fixture
def report(tmp_path):
    """Run a command on a table whose packages are in one folder: ``report("check", *packages)``."""

    def report(name, *packages, table=TABLE):
        files = {
            "mounts.toml": table,
            "a/one.py": f"import need_old\n{APP}",
            "b/two.py": f"import shared_lib\n{APP}",
            "c/three.py": APP,
        }
        for found in packages:
            files |= found
        done = command(name, "--json", cwd=write(tmp_path, files), env={"PYTHONPATH": str(tmp_path / "site")})
        return json.loads(done.stdout)

    return report


def test_a_version_that_two_apps_dispute_is_a_warning_with_both_mounts(report):
    packages = [package("Need.Old", "1.0", "Shared_Lib<3", "absent; extra == 'x'"), package("shared-lib", "3.1")]
    found = report("check", *packages)
    assert (found["problems"], [warning["key"] for warning in found["warnings"]]) == ([], ['mounts."/a"'])
    assert found["warnings"][0]["message"] == (
        "it uses need-old 1.0; that requires Shared_Lib<3, and 3.1 is installed, for /b as well; give one of the apps "
        'its own environment: name its python, and write process = "own"'
    )


def test_a_missing_requirement_of_a_package_below_is_a_warning(report):
    packages = [package("need-old", "1.0", "middle"), package("middle", "2", "gone>=1"), package("shared-lib", "1")]
    [warning] = report("check", *packages)["warnings"]
    assert warning["message"].startswith("it uses middle 2; that requires gone>=1, and it is not installed; install")


@pytest.mark.parametrize(
    "packages",
    [
        [package("need-old", "1.0", "shared-lib>=1"), package("shared-lib", "1.0rc1")],
        [package("need-old", "1.0", "gone; python_version < '3'"), package("shared-lib", "1")],
        [package("need-old", "1.0"), package("shared-lib", "1"), package("unused", "1", "gone")],
        [package("need-old", "1.0", "not a requirement ==="), package("shared-lib", "1")],
    ],
    ids=["a pre-release", "a marker", "no app uses it", "no requirement"],
)
def test_other_requirements_get_no_warning(report, packages):
    if packages[0]["site/need_old-1.0.dist-info/METADATA"].endswith("shared-lib>=1\n"):
        packages[1] = package("shared-lib", "1.1rc1")
    assert report("check", *packages)["warnings"] == []


def test_doctor_notes_apps_that_are_better_apart(report):
    found = report("doctor", package("need-old", "1.0", "shared-lib<3"), package("shared-lib", "3.1"))
    [finding] = [one for one in found["findings"] if one["symptom"] == "better-apart"]
    assert (finding["mount"], finding["certainty"]) == ("/a", "note")
    assert finding["evidence"][0].endswith('write process = "own"')
