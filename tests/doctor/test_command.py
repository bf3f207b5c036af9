"""`mountpoint doctor` as a command: its output and its exit codes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

nginx_only = pytest.mark.nginx


def doctor(*args, cwd=None):
    command = [sys.executable, "-m", "mountpoint", "doctor", *args]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def silent_url():
    """Yield a URL whose port refuses connections: it is bound, but does not listen."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/a/"


def test_a_site_that_does_not_respond_exits_2(silent_url):
    done = doctor("--url", silent_url)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{silent_url}: no response: connection refused\n")


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--url", "example.com/a"], 'found "example.com/a"; write "https://example.com/a"'),
        (["--url", "http://example.com/", "--requests", "0"], "expected a number from 1 to 999999"),
    ],
)
def test_wrong_usage_exits_2(args, expected):
    done = doctor(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert expected in done.stderr


@nginx_only
def test_an_invalid_certificate_is_named_in_the_error(nginx, certificate):
    tls = f"ssl_certificate {certificate}; ssl_certificate_key {certificate};"
    front = nginx(f"server {{ listen 80 ssl; server_name localhost; {tls} }}")
    url = f"https://localhost:{front.port}/a/"
    done = doctor("--url", url)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{url}: the certificate is not valid: self")


@nginx_only
def test_the_report_names_the_bad_url_the_good_url_and_the_fix(nginx, stacks):
    app = f"127.0.0.1:{stacks['bare-flask']}"
    front = nginx(f"server {{ listen 80; server_name localhost; location /tv_ws/ {{ proxy_pass http://{app}/; }} }}")
    url = f"http://localhost:{front.port}/tv_ws/"
    done = doctor("--url", url)
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    assert lines[0] == f"{url}: the prefix is /tv_ws"
    assert lines[2].startswith("sure: /tv_ws: the app's links lack /tv_ws")
    assert lines[3] == f"  {url}, line 3: file /static/ws.js: 404 text/html; /tv_ws/static/ws.js: 200 text/javascript"
    assert any(line.startswith("  fix: location /tv_ws/ { proxy_pass http://APP; }") for line in lines)
    assert "  /tv_ws: links to other hosts (1)" in lines
    assert "requests of at most 200 (nginx/" in lines[-1]


@nginx_only
def test_no_more_requests_are_made_than_the_option_allows(nginx, stacks):
    app = f"127.0.0.1:{stacks['mounted']}"
    front = nginx(f"server {{ listen 80; server_name localhost; location / {{ proxy_pass http://{app}; }} }}")
    done = doctor("--url", f"http://localhost:{front.port}/flask/", "--requests", "5")
    front.stop()
    assert "  everything that needs more than 5 requests" in done.stdout.splitlines()
    assert done.stdout.splitlines()[-1].startswith("5 requests of at most 5")
    assert len(front.requests) == 5


@nginx_only
@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not have pseudo-terminals")
def test_progress_is_shown_only_on_a_terminal(nginx, stacks):
    import pty

    app = f"127.0.0.1:{stacks['mounted']}"
    front = nginx(f"server {{ listen 80; server_name localhost; location / {{ proxy_pass http://{app}; }} }}")
    url = f"http://localhost:{front.port}/flask/"
    assert doctor("--url", url).stderr == ""
    master, terminal = pty.openpty()
    try:
        command = [sys.executable, "-m", "mountpoint", "doctor", "--url", url]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=terminal, text=True, timeout=60, check=False)
        shown = os.read(master, 65536).decode()
    finally:
        os.close(master)
        os.close(terminal)
    assert done.returncode == 0
    assert f"1/200 {url}" in shown
    assert shown.endswith("\r\x1b[K")
