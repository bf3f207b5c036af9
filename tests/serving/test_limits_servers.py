"""ConcurrencyLimit under other WSGI servers: every permit is returned, and responses stay whole.

tests/benchmarks/limits.py does the same with many more requests.
"""

from __future__ import annotations

import json
import sys

import pytest
from support import limited


@pytest.fixture(params=limited.SERVERS)
def server(request, start, lacking, tmp_path):
    """A server of `limited.app`."""
    name = request.param
    if not limited.is_installed(name):
        if name == "uwsgi":
            pytest.skip("uWSGI for this version of Python is missing: pip install uwsgi")
        if sys.platform == "win32":
            pytest.skip("gunicorn is for POSIX")
        lacking(f"pip install {name.partition('-')[0]}")
    (tmp_path / limited.FILE).write_bytes(b"x" * limited.LARGE)
    server = start(limited.command(name), cwd=tmp_path)
    server.name = name
    server.url = limited.url_in(server.wait_for(limited.ADDRESS))
    return server


def test_every_permit_is_returned_after_requests_of_all_kinds(server):
    ended = limited.use(server.url, 300, seed=1)
    assert limited.permits_out(server.url) == 0
    assert ended["served"]
    assert ended["left"] > 20  # only this count is fixed by the seed


def test_the_limit_changes_neither_headers_nor_reads(server):
    for kind in ("one", "write", "sized", "streamed", "file"):
        assert limited.get(server.url, f"/{kind}") == limited.get(server.url, f"/bare/{kind}")
    reads = json.loads(limited.get(server.url, "/running/")[2])["reads"]
    assert reads.get("/file", 0) == reads.get("/bare/file", 0)
    # Only cheroot has no wsgi.file_wrapper. The others choose their own block size, or use sendfile.
    assert (reads.get("/file", 0) == limited.BLOCK) == (server.name == "cheroot")
