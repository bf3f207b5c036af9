"""A script that became a web page. It parses its arguments at import."""

import argparse

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--title", required=True)
parser.add_argument("--rows", type=int, default=3)
options = parser.parse_args()


def application(environ, start_response):
    lines = [options.title, *(f"row {number}" for number in range(1, options.rows + 1))]
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return ["\n".join(lines).encode()]
