"""The children that tests start have default signals, even in a script's background or under nohup."""

import json
import sys
from pathlib import Path

import pytest
from support.signals import NAMES
from support.waiting import TIMEOUT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows passes on neither actions nor masks")

TESTS = Path(__file__).parents[1]
REPORT = f"""
import json, signal
ignored = [name for name in {NAMES} if signal.getsignal(getattr(signal, name)) is signal.SIG_IGN]
blocked = [number.name for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])]
print(json.dumps({{"ignored": ignored, "blocked": blocked}}))
"""
RUN = f"""
import os, signal, sys
numbers = [getattr(signal, name) for name in {NAMES}]
if sys.argv[1] == "ignored":
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)
else:
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
os.execv(sys.executable, [sys.executable, "-m", "pytest", *sys.argv[2:]])
"""


def test_a_child_starts_with_default_signals(start):
    child = start([sys.executable, "-c", REPORT])
    assert child.wait() == 0
    assert json.loads(child.out()) == {"ignored": [], "blocked": []}


@pytest.mark.parametrize("state", ["ignored", "blocked"])
def test_a_child_of_a_run_that_inherited_signals_has_default_ones(start, state, tmp_path):
    test = f"{__file__}::{test_a_child_starts_with_default_signals.__name__}"
    options = ["-q", "--rootdir", TESTS.parent, "-c", TESTS.parent / "pyproject.toml", "-p", "no:cacheprovider"]
    run = start([sys.executable, "-c", RUN, state, *options, f"--basetemp={tmp_path / 'run'}", test], cwd=TESTS.parent)
    assert run.wait(2 * TIMEOUT) == 0, run.out()
    assert "1 passed" in run.out()
