"""`mountpoint doctor` as a command: what it prints, and its exit codes."""

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
def nobody():
    """An address at which nobody answers, while the test runs."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/a/"


def test_a_site_that_does_not_answer_cannot_be_looked_at(nobody):
    done = doctor("--url", nobody)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{nobody}: no answer: connection refused\n")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--url", "example.com/a"], 'found "example.com/a"; write "https://example.com/a"'),
        (["--url", "http://example.com/", "--requests", "0"], "expected a number from 1 to 999999"),
    ],
)
def test_wrong_usage_exits_2(args, said):
    done = doctor(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


@nginx_only
def test_a_certificate_that_is_refused_is_said(nginx, certificate):
    tls = f"ssl_certificate {certificate}; ssl_certificate_key {certificate};"
    front = nginx(f"server {{ listen 80 ssl; server_name localhost; {tls} }}")
    url = f"https://localhost:{front.port}/a/"
    done = doctor("--url", url)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{url}: its certificate is refused: self")


@nginx_only
def test_the_report_says_what_fails_what_works_and_what_to_write(nginx, stacks):
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
    assert "  /tv_ws: 1 links to other hosts" in lines
    assert "requests of at most 200 (nginx/" in lines[-1]


@nginx_only
def test_the_bound_of_requests_holds_and_is_said(nginx, stacks):
    app = f"127.0.0.1:{stacks['mounted']}"
    front = nginx(f"server {{ listen 80; server_name localhost; location / {{ proxy_pass http://{app}; }} }}")
    done = doctor("--url", f"http://localhost:{front.port}/flask/", "--requests", "5")
    front.stop()
    assert "  what would have taken more than 5 requests" in done.stdout.splitlines()
    assert done.stdout.splitlines()[-1].startswith("5 requests of at most 5")
    assert len(front.requests) == 5


@nginx_only
@pytest.mark.skipif(sys.platform == "win32", reason="has no terminals of this kind")
def test_progress_is_shown_on_a_terminal_only(nginx, stacks):
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
