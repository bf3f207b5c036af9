"""README.md is read in the root of a checkout."""

COPIES = {"examples": "examples"}
NOT_RUN = {
    "python3 -m venv .venv && .venv/bin/pip install -q '.[examples]' && .venv/bin/mountpoint serve examples/mounts.toml": (
        "it installs packages; test_readme.py runs its last part"
    ),
    "python3 -m venv .venv && .venv/bin/pip install -q tox && .venv/bin/tox": (
        "it runs this test; test_readme.py compares it with the command that CI runs"
    ),
}
