"""README.md is read in the root of a checkout."""

COPIES = {"examples": "examples"}

environment = "python3 -m venv .venv && .venv/bin/pip install -q"
NOT_RUN = {
    f"{environment} '.[examples]' && .venv/bin/mountpoint serve examples/mounts.toml": (
        "it installs packages; test_readme.py runs its last part"
    ),
    f"{environment} tox && .venv/bin/tox": "it runs this test; test_readme.py compares it with that of CI",
}
