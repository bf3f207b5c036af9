"""The app of the fuzzer: it answers with the request that it got, in a header, since a response to HEAD has no body."""

import zlib
from urllib.parse import quote

from app_lint import linted


def respond(environ, start_response):
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    target = quote(environ["REQUEST_URI"], encoding="latin-1")
    got = f"{environ['REQUEST_METHOD']} {target} {len(body)} {zlib.crc32(body)}"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2"), ("X-Got", got)])
    return [b"ok"]


app = linted(respond)
