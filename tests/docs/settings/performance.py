"""Benchmarks are not run by tests; `test_performance` checks that each script is there."""

NOT_RUN = {
    "$ python3 -m venv .venv && .venv/bin/pip install -q -e '.[test]'": "the tests run in such an environment",
    "$ .venv/bin/python tests/benchmarks/dispatch.py --quick": "it takes 20 seconds, and its figures vary",
}
