"""The command as users run it: arguments, output, exit codes."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from support.tables import command, write

from mountpoint.cli import main

TABLE = '[mounts]\n"/tv" = "tv:app"\n"admin.example.com/" = "admin:app"\n"/日本" = "tokyo:app"\n'


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path, {"mounts.toml": TABLE, "other.toml": '[mounts]\n"/" = "site:app"\n'})


# -------------------------------------------------------------------------------------------------------------- usage


def test_the_version_goes_to_stdout(folder):
    done = command("--version", cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"mountpoint {version('mountpoint')}\n", "")


def test_the_command_is_installed_under_its_name(folder):
    script = Path(sys.executable).with_name("mountpoint")
    if not script.exists():
        pytest.skip("installed without its script")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"mountpoint {version('mountpoint')}\n"


def test_an_unknown_option_prints_the_usage_of_its_command(folder):
    done = command("serve", "--port", "8090", cwd=folder)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: mountpoint serve ")
    assert "--listen" in done.stderr
    assert done.stderr.endswith("mountpoint serve: error: unrecognized arguments: --port; write --listen\n")


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("mounts.toml", "add a URL after the file"),
        ("localhost:8090/x", 'write "http://localhost:8090/x"'),
        ("tv/x", 'write "/tv/x"'),
    ],
)
def test_an_argument_that_is_not_a_url_gets_advice(folder, url, advice):
    done = command("resolve", url, cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f'URL: expected a path or a URL, found "{url}"; {advice}\n'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "resolve /tv/x mounts.toml",
            'expected "resolve FILE URL", found the other order; write "mountpoint resolve mounts.toml /tv/x"',
        ),
        (
            "resolve http://localhost/x mounts.toml",
            'the other order; write "mountpoint resolve mounts.toml http://localhost/x"',
        ),
        ("resolve mount.toml /x", 'expected a mount table, found no such file; did you mean "mounts.toml"?'),
        (
            "proxy-config mounts.toml nginx",
            'PROXY FILE", found the other order; write "mountpoint proxy-config nginx mounts.toml"',
        ),
        (
            "proxy-config mounts.toml",
            'PROXY: expected the name of a proxy, found "mounts.toml"; write "nginx mounts.toml", for example',
        ),
        (
            "doctor http://localhost/",
            'FILE: expected the file of a table, found a URL; write "--url http://localhost/"',
        ),
        ("doctor mounts.toml http://x/", 'unrecognized arguments: http://x/; write "--url http://x/"'),
        ("serve mounts.toml --port 80", "unrecognized arguments: --port 80; write --listen"),
        ("serve --bind=*:80", "unrecognized arguments: --bind=*:80; write --listen"),
        ("serve -w 4", "unrecognized arguments: -w; write --threads"),
        ("check --config mounts.toml", "unrecognized arguments: --config; write the file without an option"),
        ("serve --listne a:1", 'unrecognized arguments: --listne; did you mean "--listen"?'),
        ("check --workers 2", "unrecognized arguments: --workers"),
        ("check mounts.toml x", "unrecognized arguments: x"),
        ("mounts.toml", '; write "mountpoint serve mounts.toml"'),
        ("chekc", '; did you mean "check"?'),
        ("check hello:app", 'name an app in a table: write a file with [mounts], and "/" = "hello:app"'),
    ],
)
def test_arguments_in_the_wrong_place_get_advice(folder, monkeypatch, capsys, line, message):
    monkeypatch.chdir(folder)
    try:
        code = main(line.split())
    except SystemExit as error:
        code = error.code
    assert code == 2
    assert any(said.endswith(message) for output in capsys.readouterr() for said in output.splitlines())


@pytest.mark.parametrize("arguments", [["--help"], ["serve", "--help"], ["check", "--help"], ["resolve", "--help"]])
def test_help_goes_to_stdout(folder, arguments):
    done = command(*arguments, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: mountpoint")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["start"],
        ["--wrong"],
        ["check", "a", "b"],
        ["check", "--strict"],
        ["resolve"],
        ["resolve", "a", "/b", "c"],
        ["resolve", "/x", "--host"],
        ["serve", "--threads", "many"],
        ["serve", "--threads", "0"],
        ["serve", "--log-level", "loud"],
        ["serve", "--listen", "8080"],
        ["serve", "--listen"],
    ],
)
def test_wrong_usage_exits_2_and_shows_the_usage(folder, arguments):
    done = command(*arguments, cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: mountpoint")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threads", "0"], "argument --threads: expected an integer from 1 to 10000, found 0"),
        (["--threads", "many"], 'argument --threads: expected an integer from 1 to 10000, found "many"'),
        (["--listen", "8080"], 'found "8080"; write "127.0.0.1:8080"'),
        (
            ["--listen", "127.0.0.1:99999"],
            'argument --listen: expected a port from 0 to 65535, found "127.0.0.1:99999"',
        ),
    ],
)
def test_an_option_is_checked_by_the_rule_of_its_key(folder, arguments, message):
    assert message in command("serve", *arguments, cwd=folder).stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no unix sockets for servers")
def test_options_that_contradict_each_other_are_named_as_options(folder):
    done = command("serve", "--listen", "127.0.0.1:0", "--listen", "unix:x.sock", cwd=folder)
    assert done.returncode in (1, 2)
    assert "--listen: expected all TCP or all unix sockets, found both" in done.stderr


# ------------------------------------------------------------------------------------------------------------ resolve


def test_resolve_prints_the_mount_and_exits_0_for_an_app(folder):
    done = command("resolve", "mounts.toml", "/tv/x?y=1", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "mount        /tv",
        "app          tv:app",
        "SCRIPT_NAME  /tv",
        "PATH_INFO    /x",
    ]


@pytest.mark.parametrize(
    ("url", "status"),
    [("/tv", "308"), ("/nowhere", "404"), ("/tv/../x", "400"), ("http://a,b/tv/", "400")],
)
def test_resolve_exits_1_for_a_redirect_or_a_status(folder, url, status):
    done = command("resolve", url, cwd=folder)
    assert (done.returncode, done.stderr) == (1, "")
    assert f"status       {status}\n" in done.stdout
    assert "\nreason       " in done.stdout


def test_the_default_file_is_mounts_toml(folder):
    assert command("resolve", "/tv/", cwd=folder).stdout == command("resolve", "mounts.toml", "/tv/", cwd=folder).stdout
    assert "site:app" in command("resolve", "other.toml", "/tv/", cwd=folder).stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["other.toml", "/x", "--json"],
        ["--json", "other.toml", "/x"],
        ["other.toml", "--json", "/x"],
        ["--method", "GET", "other.toml", "--json", "--host", "example.com", "/x"],
    ],
)
def test_options_may_stand_between_positional_arguments(folder, arguments):
    done = command("resolve", *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["mount"] == "/"


def test_resolve_applies_the_options_host_and_method(folder):
    assert "admin:app" in command("resolve", "/tv/", "--host", "admin.example.com", cwd=folder).stdout
    assert "PATH_INFO" in command("resolve", "/tv", "--method", "POST", cwd=folder).stdout


def test_resolve_imports_no_app_no_werkzeug_and_no_waitress(tmp_path):
    folder = write(
        tmp_path,
        {
            "mounts.toml": '[mounts]\n"/tv" = "tv:app"\n[server]\nthreads = 3\n',
            "tv.py": "raise SystemExit('imported')\n",
            "run.py": (
                "import sys\n"
                "from mountpoint.cli import main\n"
                "code = main(['resolve', 'mounts.toml', '/tv/x'])\n"
                "loaded = {name.partition('.')[0] for name in sys.modules}\n"
                "print(code, sorted(loaded & {'tv', 'werkzeug', 'waitress', 'flask', 'logging'}))\n"
            ),
        },
    )
    done = subprocess.run([sys.executable, "run.py"], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


# ------------------------------------------------------------------------------------------------------ wrong tables


@pytest.mark.parametrize("arguments", [["check"], ["resolve", "/x"], ["serve"]])
def test_a_missing_file_exits_2_with_one_line(tmp_path, arguments):
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    lines = (done.stdout + done.stderr).splitlines()
    assert lines[0] == "mounts.toml: expected a mount table, found no such file; name the file, or write one"


@pytest.mark.parametrize("arguments", [["check", "t.toml"], ["resolve", "t.toml", "/x"], ["serve", "t.toml"]])
@pytest.mark.parametrize(
    "table",
    [
        "",
        "x",
        '[mounts]\n"a" = 1\n',
        f'[mounts]\n"/" = {"[" * 5000}\n',
        f'[mounts."/"]\napp = "a:b"\nroot = "{"x" * 5000}"\n',
        f'[mounts]\n"/" = "a:b"\n[server]\ndrain_timeout = 1{"0" * 400}\n',
        '[mounts]\n"/" = "a:b"\nroot = "\\u0000"\n',
    ],
    ids=["empty", "not TOML", "wrong values", "too deep", "long root", "huge integer", "null character"],
)
def test_a_wrong_table_never_prints_a_traceback(tmp_path, arguments, table):
    done = command(*arguments, cwd=write(tmp_path, {"t.toml": table}))
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert "t.toml" in done.stdout + done.stderr


def test_serve_names_the_file_of_a_rejected_logging_section(tmp_path):
    table = '[server]\nlisten = "127.0.0.1:0"\n[mounts]\n"/" = "a:b"\n[logging]\nversion = 2\n'
    done = command("serve", cwd=write(tmp_path, {"mounts.toml": table}))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("mounts.toml: logging: expected a dictionary for logging.config")


def test_strict_does_not_start_and_names_the_broken_mounts(tmp_path):
    files = {"mounts.toml": '[mounts]\n"/tv" = "tv:app"\n"/bad" = "bad:app"\n', "bad.py": "1 / 0\n"}
    files["tv.py"] = "def app(environ, start_response): ...\n"
    done = command("serve", "--strict", "--listen", "127.0.0.1:0", cwd=write(tmp_path, files))
    assert (done.returncode, done.stdout) == (1, "")
    assert "ZeroDivisionError" in done.stderr
    assert "1 of 2 mounts failed to load: /bad" in done.stderr.splitlines()[-1]


def test_strict_does_not_start_with_one_module_name_in_two_roots(tmp_path):
    app = "def app(environ, start_response): ...\n"
    files = {
        "mounts.toml": '[mounts]\n"/a" = "a/web.py:app"\n"/b" = "b/web.py:app"\n',
        "a/web.py": app,
        "b/web.py": app,
    }
    done = command("serve", "--strict", "--listen", "127.0.0.1:0", cwd=write(tmp_path, files))
    assert done.returncode == 1
    assert str(tmp_path / "a" / "web.py") in done.stderr
    assert str(tmp_path / "b" / "web.py") in done.stderr


# ------------------------------------------------------------------------------------------------------------- stdout


def test_a_path_that_the_terminal_cannot_show_is_escaped(folder):
    done = command("resolve", "/日本/東京", cwd=folder, env={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, "")
    done = command("resolve", "/日本/東京", "--json", cwd=folder, env={"PYTHONIOENCODING": "ascii"})
    assert json.loads(done.stdout)["mount"] == "/日本"


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("arguments", [["resolve", "/tv/"], ["check"], ["--version"], ["--help"]])
def test_a_closed_pipe_prints_no_traceback(folder, arguments, unbuffered):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "mountpoint", *arguments],
            cwd=folder,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writer)
    assert done.stderr == ""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
@pytest.mark.parametrize("arguments", ["resolve /tv/", "check", "--version"])
def test_a_closed_stdout_prints_no_traceback(folder, arguments):
    line = f"{sys.executable} -P -m mountpoint {arguments} >&-"
    done = subprocess.run(["/bin/sh", "-c", line], cwd=folder, stderr=subprocess.PIPE, text=True, check=False)
    assert done.stderr == ""


def test_an_argument_that_is_not_utf_8_prints_no_traceback(folder):
    if sys.platform == "win32":
        pytest.skip("arguments are text on Windows")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "mountpoint", "resolve", b"/tv/\xff"], cwd=folder, capture_output=True, check=False
    )
    assert done.returncode in (1, 2)
    assert b"Traceback" not in done.stderr
    assert b"codec" not in done.stdout + done.stderr
