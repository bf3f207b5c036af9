"""`mountpoint reload`: the effect of SIGHUP, with its outcome."""

import sys

import pytest
from support.changing import WHO, WHO_ROW
from support.commands import mountpoint, running
from support.waiting import TIMEOUT, wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no unix sockets")

TABLE = f"[mounts]\n{WHO_ROW}"
MORE = f'{TABLE}"/more" = "more:make()"\n'

#: Lines of an app that hold its load until the file "go" exists.
HELD = "import os, time\nopen('held', 'w').close()\nwhile not os.path.exists('go'): time.sleep(0.01)\n"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "mounts.toml"


def test_the_command_prints_the_outcome_of_the_log(serve_who, file, tmp_path):
    server = serve_who(TABLE)
    (tmp_path / "more.py").write_text(WHO.format(version="more"))
    file.write_text(MORE)
    done = mountpoint("reload", file)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{file}: reloading\n/more: new, ready\nreload ended: 2 mounts, 0 broken\n"
    assert server.request("/more/").status == 200
    log = server.log()
    assert all(f" INFO {line}" in log for line in done.stdout.splitlines())


def test_an_error_in_the_file_is_printed_and_the_old_table_stays(serve_who, file):
    server = serve_who(TABLE)
    file.write_text(TABLE + "[server]\nthread = 3\n")
    done = mountpoint("reload", file)
    assert done.returncode == 1
    assert 'server.thread: unknown key; did you mean "threads"?' in done.stdout
    assert done.stderr == "reload ended: not reloaded: errors in the file\n"
    assert server.request("/who/").status == 200


def test_a_new_app_that_is_broken_makes_the_exit_code_1(serve_who, file, tmp_path):
    server = serve_who(TABLE)
    (tmp_path / "more.py").write_text("1/0\n")
    file.write_text(MORE)
    done = mountpoint("reload", file)
    assert done.returncode == 1
    assert "/more is broken: " in done.stdout
    assert "ZeroDivisionError: division by zero\n" in done.stdout
    assert done.stderr == "reload ended: 2 mounts, 1 broken\n"
    assert server.request("/more/").status == 503


def test_a_reload_during_the_first_load_waits_for_it_and_says_so(serve_who, file, tmp_path):
    (tmp_path / "more.py").write_text(HELD + WHO.format(version="more"))
    serve_who(MORE, wait=False)
    wait_until((tmp_path / "held").exists)
    with running("reload", file) as reload:
        assert reload.stdout.readline().startswith("the first load runs already, for ")
        (tmp_path / "go").touch()
        assert reload.wait(TIMEOUT) == 0


def test_a_reload_that_another_one_follows_has_its_own_outcome(serve_who, file, tmp_path):
    serve_who(TABLE)
    (tmp_path / "more.py").write_text(HELD + WHO.format(version="more"))
    file.write_text(MORE)
    with running("reload", file) as first:
        wait_until((tmp_path / "held").exists)
        file.write_text("[mounts")
        with running("reload", file) as second:
            assert second.stdout.readline().startswith("a reload runs already, for ")
            (tmp_path / "go").touch()
            assert (first.wait(TIMEOUT), second.wait(TIMEOUT)) == (0, 1)
            assert first.stdout.read().endswith("reload ended: 2 mounts, 0 broken\n")
            assert second.stderr.read() == "reload ended: not reloaded: errors in the file\n"


def test_without_a_server_the_command_says_how_to_start_one(file):
    file.write_text(TABLE)
    done = mountpoint("reload", file)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{file}: no server runs for this table, since nothing listens on /")
    assert f'start one with "mountpoint serve {file}"' in done.stderr
