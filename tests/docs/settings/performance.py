"""Benchmarks are not run by tests; `test_performance` checks that each script is there."""

NOT_RUN = {
    "$ python3 -m venv .venv && .venv/bin/pip install -q -e '.[test,benchmark]'": "the tests have one",
    "$ .venv/bin/python tests/benchmarks/all.py --write": "it takes ten minutes, and changes the pages",
}
