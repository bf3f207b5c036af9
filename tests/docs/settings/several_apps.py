"""The recipes of the page are the entries of examples/several, which tests/serving/test_several_apps.py serves."""

import tomllib

from support import pages

COPIES = {"several": "examples/several"}

installs = "it installs packages; tests/serving/test_several_apps.py does"
uses = "it needs the index; tests/serving/test_several_apps.py does the same"
NOT_RUN = {
    "$ cd examples/several": installs,
    "$ python3 install.py": installs,
    "$ mountpoint serve": installs,
    "$ pip install --index-url https://www.example.com/pypi/simple/ some-package": uses,
    "$ twine upload --repository-url https://www.example.com/pypi/ dist/*": uses,
}


def is_in_the_example(block, folder):
    """Fail unless each key of the block is in the table of the example."""
    if block.file:
        return
    table = tomllib.loads((pages.ROOT / "examples" / "several" / "mounts.toml").read_text(encoding="utf-8"))
    shown = tomllib.loads(block.text)
    assert shown
    for section, values in shown.items():
        assert values.items() <= table[section].items(), block.place


CHECKS = {"toml": is_in_the_example}
