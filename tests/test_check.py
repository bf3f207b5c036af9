"""``mountpoint check``: its report, and the warnings about apps that load but will not work well."""

import json
import re

import pytest
from support.tables import APP, command, imports_undone, write

from mountpoint.check import check, warnings
from mountpoint.config.reader import load_config
from mountpoint.loading.loader import load_mounts


@pytest.fixture
def warned(tmp_path):
    """Return the warnings of a table, as pairs of key and message: ``warned(toml, files)``."""

    def warned(toml, files):
        write(tmp_path, {"mounts.toml": toml, **files})
        mounts = load_mounts(load_config(tmp_path / "mounts.toml"))
        assert [mount.error for mount in mounts] == [None] * len(mounts)
        return [(finding.key, finding.message) for finding in warnings(mounts)]

    with imports_undone(tmp_path):
        yield warned


# ------------------------------------------------------------------------------------------------------- the command


GOOD = {"mounts.toml": '[mounts]\n"/a" = "one:app"\n"/bee" = "two"\n', "one.py": APP, "two.py": APP}
BROKEN = {"mounts.toml": '[mounts]\n"/a" = "one:app"\n"/b" = "bad:app"\n', "one.py": APP, "bad.py": "1 / 0\n"}
CLASH = {
    "mounts.toml": '[mounts]\n"/a" = "a/web.py:app"\n"/b" = "b/web.py:app"\n',
    "a/web.py": APP,
    "b/web.py": APP,
}


def test_a_table_without_problems_is_printed_and_exits_0(tmp_path):
    done = command("check", cwd=write(tmp_path, GOOD))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "/a    one:app  ready",
        "/bee  two      ready",
        "2 mounts, 0 problems, 0 warnings",
    ]


def test_a_broken_app_exits_1_and_shows_its_traceback(tmp_path):
    done = command("check", cwd=write(tmp_path, BROKEN))
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[:4] == [
        "/a  one:app  ready",
        "/b  bad:app  broken",
        'mounts.toml: mounts."/b": "bad:app" could not be imported: ZeroDivisionError: division by zero',
        "    Traceback (most recent call last):",
    ]
    assert lines[-1] == "2 mounts, 1 problem, 0 warnings"
    assert "importing.py" not in done.stdout + done.stderr


def test_all_problems_of_a_table_are_printed_and_exit_1(tmp_path):
    table = '[mounts]\n"a" = "one:app"\n[server]\nthreads = 0\n'
    done = command("check", "t.toml", cwd=write(tmp_path, {"t.toml": table}))
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        't.toml: mounts.a: expected a path that starts with a slash, found "a"; write "/a"',
        "t.toml: server.threads: expected an integer from 1 to 10000, found 0",
        "0 mounts, 2 problems, 0 warnings",
    ]


def test_a_file_that_cannot_be_read_exits_2(tmp_path):
    done = command("check", "nowhere.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert "nowhere.toml: expected a mount table, found no such file" in done.stdout + done.stderr


def test_two_roots_with_one_module_name_exit_1(tmp_path):
    done = command("check", cwd=write(tmp_path, CLASH))
    assert done.returncode == 1
    assert str(tmp_path / "a" / "web.py") in done.stdout
    assert str(tmp_path / "b" / "web.py") in done.stdout


def test_warnings_alone_exit_0(tmp_path):
    flask = "from flask import Flask\napp = Flask('x')\napp.secret_key = 'x'\n"
    files = {"mounts.toml": '[mounts]\n"/a" = "one:app"\n"/b" = "two:app"\n', "one.py": flask, "two.py": flask}
    done = command("check", cwd=write(tmp_path, files))
    assert done.returncode == 0
    assert 'mounts.toml: warning: mounts."/b": its session cookie "session"' in done.stdout
    assert done.stdout.endswith("2 mounts, 0 problems, 1 warning\n")


def test_a_rejected_logging_section_is_a_problem_at_its_key(tmp_path):
    done = command(
        "check", cwd=write(tmp_path, GOOD | {"mounts.toml": GOOD["mounts.toml"] + "[logging]\nversion = 2\n"})
    )
    assert done.returncode == 1
    assert done.stdout.startswith(
        "mounts.toml: logging: expected a dictionary for logging.config, but logging rejected it: "
    )


@pytest.mark.parametrize(
    "logging",
    [
        "formatters = 5",
        "handlers = 'x'",
        "root = 5",
        "[logging.handlers.x]\nclass = 'no.such.Handler'",
        "[logging.handlers.x]\nlevel = 'INFO'",
        "[logging.root]\nlevel = 'LOUD'",
        "[logging.root]\nhandlers = ['nowhere']",
        "[logging.loggers]\nx = 3",
        "[logging.filters]\nx = 3",
        "[logging.formatters.x]\n'()' = 'no.such.thing'",
        "[logging.handlers.x]\nclass = 'logging.FileHandler'\nfilename = '/nowhere/at/all/x.log'",
    ],
)
def test_every_kind_of_wrong_logging_section_is_a_problem(tmp_path, logging):
    table = f"{GOOD['mounts.toml']}[logging]\n{logging}\n"
    done = command("check", cwd=write(tmp_path, GOOD | {"mounts.toml": table}))
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("mounts.toml: logging: expected ")


# -------------------------------------------------------------------------------------------------------------- JSON


def test_json_has_mounts_problems_and_warnings(tmp_path):
    done = command("check", "--json", cwd=write(tmp_path, BROKEN))
    assert done.returncode == 1
    output = json.loads(done.stdout)
    assert list(output) == ["mounts", "problems", "warnings", "notes"]
    assert output["mounts"] == [
        {"mount": "/a", "app": "one:app", "root": str(tmp_path), "state": "ready"},
        {"mount": "/b", "app": "bad:app", "root": str(tmp_path), "state": "broken"},
    ]
    [problem] = output["problems"]
    assert problem["key"] == 'mounts."/b"'
    assert problem["message"] == '"bad:app" could not be imported: ZeroDivisionError: division by zero'
    assert problem["details"].startswith("Traceback (most recent call last):\n")
    assert output["warnings"] == []


@pytest.mark.parametrize("table", ["x =", '[mounts]\n"a" = 1\n', ""], ids=["not TOML", "wrong values", "empty"])
def test_json_is_json_for_a_wrong_table_too(tmp_path, table):
    done = command("check", "--json", cwd=write(tmp_path, {"mounts.toml": table}))
    assert (done.returncode, done.stderr) == (1, "")
    output = json.loads(done.stdout)
    assert output["mounts"] == []
    assert output["problems"]


def test_json_of_a_mistake_in_the_toml_says_where_it_is(tmp_path):
    done = command("check", "--json", cwd=write(tmp_path, {"mounts.toml": "[mounts]\nx =\n"}))
    [problem] = json.loads(done.stdout)["problems"]
    assert re.search(r"\b2\D{1,10}4\b", " ".join(problem.values()))


def test_json_is_json_for_a_file_that_cannot_be_read(tmp_path):
    done = command("check", "--json", "nowhere.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert len(json.loads(done.stdout)["problems"]) == 1


@pytest.mark.parametrize(
    "line",
    [
        "print('hello')",
        "import sys; sys.stdout.write('hello')",
        "import sys; print('hello', file=sys.__stdout__)",
        "import os; os.write(1, b'hello')",
        "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1)'])",
        "import logging, sys; logging.basicConfig(stream=sys.stdout, level='INFO'); logging.info('hello')",
        "import atexit; atexit.register(print, 'hello')",
    ],
    ids=["print", "stdout", "the real stdout", "descriptor", "child", "logging", "at exit"],
)
def test_the_prints_of_an_app_are_not_in_the_output(tmp_path, line):
    done = command("check", "--json", cwd=write(tmp_path, GOOD | {"one.py": f"{line}\n{APP}"}))
    assert done.returncode == 0
    assert json.loads(done.stdout)["problems"] == []


def test_the_check_does_not_wait_for_threads_of_an_app(tmp_path):
    code = f"import threading\nthreading.Thread(target=threading.Event().wait).start()\n{APP}"
    done = command("check", "--json", cwd=write(tmp_path, GOOD | {"one.py": code}))
    assert done.returncode == 0
    assert json.loads(done.stdout)["problems"] == []


def test_logs_that_the_table_sends_to_stdout_are_not_in_the_output(tmp_path):
    table = (
        GOOD["mounts.toml"]
        + """
        [logging.handlers.out]
        class = "logging.StreamHandler"
        stream = "ext://sys.stdout"
        [logging.root]
        level = "INFO"
        handlers = ["out"]
        """
    )
    app = f"import logging\nlogging.getLogger('one').warning('hello')\n{APP}"
    done = command("check", "--json", cwd=write(tmp_path, GOOD | {"mounts.toml": table, "one.py": app}))
    assert json.loads(done.stdout)["problems"] == []


# --------------------------------------------------------------------------------------------------- two Flask apps


FLASK = "from flask import Flask\napp = Flask(__name__)\napp.secret_key = 'x'\n"


def two_flasks(one="/a", other="/b", more_of_one="", more_of_other=""):
    toml = f'[mounts]\n"{one}" = "one:app"\n"{other}" = "two:app"\n'
    return toml, {"one.py": FLASK + more_of_one, "two.py": FLASK + more_of_other}


def test_two_flask_apps_with_one_session_cookie_get_a_warning(warned):
    [(key, message)] = warned(*two_flasks())
    assert key == 'mounts."/b"'
    assert message == (
        'its session cookie "session" with Path=/ has the same name and path as that of /a, so a login to one app is a '
        'logout from the other; write cookies = "scoped", or give each app a SESSION_COOKIE_NAME of its own'
    )


@pytest.mark.parametrize("where", ["[defaults]", '[mounts."/b"]\napp = "two:app"'])
def test_scoped_cookies_do_not_clash(warned, where):
    files = {"one.py": FLASK, "two.py": FLASK}
    mounts = '[mounts]\n"/a" = "one:app"\n' + ('"/b" = "two:app"\n' if where == "[defaults]" else "")
    assert warned(f'{mounts}{where}\ncookies = "scoped"\n', files) == []


@pytest.mark.parametrize(
    "difference",
    [
        "app.config['SESSION_COOKIE_NAME'] = 'two'\n",
        "app.config['SESSION_COOKIE_PATH'] = '/b'\n",
        "app.config['APPLICATION_ROOT'] = '/b'\n",
        "app.config['SESSION_COOKIE_DOMAIN'] = 'b.example.com'\n",
        "app.secret_key = None\n",
    ],
)
def test_flask_apps_with_different_cookies_do_not_clash(warned, difference):
    assert warned(*two_flasks(more_of_other=difference)) == []


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("a.example.com/", "b.example.com/", False),
        ("a.example.com/", "a.example.com/b", True),
        ("/", "b.example.com/", True),
        ("*.example.com/", "b.example.com/b", True),
        ("b.example.com/b", "*.example.com/", True),
        ("*.example.com/", "example.com/", False),
        ("*.example.com/", "*.a.example.com/x", True),
        ("*.a.example.com/x", "*.example.com/", True),
        ("*.example.com/", "*.example.org/", False),
        ("*.example.com/", "bexample.com/", False),
    ],
)
def test_cookies_clash_only_at_a_common_host(warned, one, other, meet):
    assert len(warned(*two_flasks(one, other))) == meet


def test_one_flask_app_mounted_twice_does_not_clash_with_itself(warned):
    assert warned('[mounts]\n"/a" = "one:app"\n"/b" = "one:app"\n', {"one.py": FLASK}) == []


def test_ten_flask_apps_with_one_session_cookie_get_one_warning(warned):
    keys = [f"/{number}" for number in range(10)]
    toml = "[mounts]\n" + "".join(f'"{key}" = "m{key[1:]}:app"\n' for key in keys)
    [(key, message)] = warned(toml, {f"m{key[1:]}.py": FLASK for key in keys})
    assert key == 'mounts."/1"'
    assert (
        "as that of /0 and of /2, /3, /4, /5, /6, /7, /8, /9, so a login to one app is a logout from the others"
        in message
    )


def test_groups_of_apps_with_different_cookies_get_a_warning_each(warned):
    other = FLASK + "app.config['SESSION_COOKIE_NAME'] = 'other'\n"
    toml = "[mounts]\n" + "".join(f'"/{name}" = "{name}:app"\n' for name in ("a1", "b1", "a2", "b2"))
    found = warned(toml, {"a1.py": FLASK, "a2.py": FLASK, "b1.py": other, "b2.py": other})
    assert [key for key, _ in found] == ['mounts."/a2"', 'mounts."/b2"']


def test_apps_at_different_hosts_form_groups_of_their_own(warned):
    hosts = ["a.example.com/", "b.example.com/", "a.example.com/x", "b.example.com/x"]
    toml = "[mounts]\n" + "".join(f'"{host}" = "m{number}:app"\n' for number, host in enumerate(hosts))
    found = warned(toml, {f"m{number}.py": FLASK for number in range(4)})
    assert [key for key, _ in found] == ['mounts."a.example.com/x"', 'mounts."b.example.com/x"']


# ---------------------------------------------------------------------------------------------------- other warnings


DJANGO = """
from django.conf import settings
if not settings.configured:
    settings.configure(SECRET_KEY="x", ROOT_URLCONF=__name__)
from django.core.wsgi import WSGIHandler
import django
django.setup(set_prefix=False)
urlpatterns = []
app = WSGIHandler()
"""


def test_one_django_project_mounted_twice_gets_a_warning(tmp_path):
    files = {"mounts.toml": '[mounts]\n"/a" = "one:app"\n"/b" = "one:app"\n', "one.py": DJANGO}
    output = json.loads(command("check", "--json", cwd=write(tmp_path, files)).stdout)
    assert output["problems"] == []
    [warning] = output["warnings"]
    assert warning["key"] == 'mounts."/b"'
    assert (
        "this Django project is also mounted at /a, and Django uses the prefix of its first request"
        in warning["message"]
    )


@pytest.mark.parametrize(
    ("keys", "warned_of"),
    [
        (("a.example.com/x", "b.example.com/x"), []),
        (("a.example.com/", "b.example.com/", "c.example.com/"), []),
        (("a.example.com/x", "b.example.com/y"), ['mounts."b.example.com/y"']),
        (("/a", "/b", "/c"), ['mounts."/b"', 'mounts."/c"']),
    ],
)
def test_one_django_project_may_have_one_prefix_at_many_hosts(tmp_path, keys, warned_of):
    toml = "[mounts]\n" + "".join(f'"{key}" = "one:app"\n' for key in keys)
    output = json.loads(command("check", "--json", cwd=write(tmp_path, {"mounts.toml": toml, "one.py": DJANGO})).stdout)
    assert output["problems"] == []
    assert [warning["key"] for warning in output["warnings"]] == warned_of


def test_the_later_of_two_django_projects_is_broken(tmp_path):
    files = {"mounts.toml": '[mounts]\n"/a" = "one:app"\n"/b" = "two:app"\n', "one.py": DJANGO, "two.py": DJANGO}
    output = json.loads(command("check", "--json", cwd=write(tmp_path, files)).stdout)
    [problem] = output["problems"]
    assert problem["key"] == 'mounts."/b"'
    assert "another Django project is at /a, and one process can hold the settings of only one" in problem["message"]


def test_bottle_under_a_prefix_that_is_not_ascii_gets_a_warning(warned):
    bottle = "import bottle\napp = bottle.Bottle()\n"
    toml = '[mounts]\n"/café" = "one:app"\n"/cafe" = "one:app"\n"/thé" = "two:app"\n'
    [(key, message)] = warned(toml, {"one.py": bottle, "two.py": APP})
    assert key == 'mounts."/café"'
    assert message == "Bottle garbles links under a prefix that is not ASCII; write an ASCII prefix"


@pytest.mark.parametrize(
    "wrapping",
    [
        "app = ProxyFix(app)",
        "app.wsgi_app = ProxyFix(app.wsgi_app)",
        "app.wsgi_app = Other(ProxyFix(app.wsgi_app))",
        "app = Other(Other(ProxyFix(app)))",
    ],
)
def test_an_app_wrapped_in_proxy_fix_gets_a_warning(warned, wrapping):
    code = f"""
from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix
class Other:
    def __init__(self, app): self.app = app
    def __call__(self, environ, start_response): return self.app(environ, start_response)
app = Flask("one")
{wrapping}
"""
    [(key, message)] = warned('[mounts]\n"/a" = "one:app"\n', {"one.py": code})
    assert key == 'mounts."/a"'
    assert message.startswith("the app is wrapped in ProxyFix, ")


PROXY_FIXED = """
from werkzeug.middleware.proxy_fix import ProxyFix
def make():
    return ProxyFix(lambda environ, start_response: [])
"""


@pytest.mark.parametrize(
    ("proxy", "warns"),
    [
        ("", False),
        ("[proxy]\ntrusted = ['127.0.0.1']\nx_for = 1\n", False),
        ("[proxy]\ntrusted = ['127.0.0.1']\npass = ['X-Forwarded-Prefix']\n", True),
        ("[proxy]\ntrusted = ['127.0.0.1']\npass = ['X-Request-Id']\n", False),
    ],
)
def test_proxy_fix_of_an_installed_app_matters_only_if_headers_reach_it(tmp_path, proxy, warns):
    files = {"site-packages/installed.py": PROXY_FIXED, "one.py": "from installed import make\napp = make()\n"}
    write(tmp_path, {"mounts.toml": f'[mounts]\n"/a" = "one:app"\n{proxy}', **files})
    done = command("check", "--json", cwd=tmp_path, env={"PYTHONPATH": str(tmp_path / "site-packages")})
    output = json.loads(done.stdout)
    assert output["problems"] == []
    assert any("ProxyFix" in warning["message"] for warning in output["warnings"]) == warns


def test_a_variable_of_env_that_no_load_has_read_gets_a_warning(warned):
    toml = """
        [defaults]
        env = { SITE = "x", TYPO = "y", HTTP_PROXY = "z" }
        [mounts]
        "/a" = "one:app"
        "/b" = { app = "two:app", env = { SITE = "other" } }
        """
    found = warned(toml, {"one.py": f"import os\nos.environ['SITE']\n{APP}", "two.py": APP})
    assert [key for key, _ in found] == [
        'mounts."/a".env.TYPO',
        'mounts."/a".env.HTTP_PROXY',
        'mounts."/b".env.SITE',
    ]
    assert found[0][1] == (
        "the load has not read it, nor that of /b; os.environ has it only during the load, and a request finds it in "
        "environ only; check the name, or let the app read it at import; if a request reads it, write process = "
        '"own"'
    )
    assert "finds it nowhere: its name is one of CGI or of a header" in found[1][1]


def test_variables_that_one_app_takes_over_from_another_get_a_warning(tmp_path):
    code = f"import os\nos.environ.setdefault('SECRET_KEY', __name__)\n{APP}"
    files = {"mounts.toml": '[mounts]\n"/a" = "one:app"\n"/b" = "two:app"\n', "one.py": code, "two.py": code}
    done = command("check", cwd=write(tmp_path, files))
    assert (done.returncode, done.stderr) == (0, "")
    assert 'mounts.toml: warning: mounts."/b": its load has read SECRET_KEY, ' in done.stdout


def test_middleware_that_wraps_itself_does_not_hang_the_check(warned):
    code = "class Ring:\n    def __call__(self, environ, start_response): ...\napp = Ring()\napp.app = app\n"
    assert warned('[mounts]\n"/a" = "one:app"\n', {"one.py": code}) == []


def test_a_broken_mount_does_not_hide_the_warnings_of_the_others(tmp_path):
    toml, files = two_flasks()
    write(tmp_path, {"mounts.toml": f'{toml}"/c" = "bad:app"\n', "bad.py": "1 / 0\n", **files})
    with imports_undone(tmp_path):
        report = check(tmp_path / "mounts.toml")
    assert (len(report.problems), len(report.warnings), report.exit_code) == (1, 1, 1)


def test_a_trusted_proxy_without_counted_headers_gets_a_warning(tmp_path):
    files = {"mounts.toml": '[proxy]\ntrusted = ["127.0.0.1"]\n[mounts]\n"/a" = "one:app"\n', "one.py": APP}
    output = json.loads(command("check", "--json", cwd=write(tmp_path, files)).stdout)
    assert [(warning["key"], warning["message"]) for warning in output["warnings"]] == [
        ("proxy.trusted", "is set, but no header is counted; add x_for = 1 and x_proto = 1")
    ]


PROTECTIONS = [("header_timeout", 0, 30), ("body_timeout", 0, 30), ("max_buffered_bodies", 0, 1)]


@pytest.mark.parametrize(("key", "off", "on"), [*PROTECTIONS, ("expose_tracebacks", "true", "false")])
def test_a_protection_that_is_switched_off_gets_a_warning(tmp_path, key, off, on):
    def warnings_of(value):
        toml = f'[server]\n{key} = {value}\n[mounts]\n"/a" = "one:app"\n'
        with imports_undone(tmp_path):
            report = check(write(tmp_path, {"mounts.toml": toml, "one.py": APP}) / "mounts.toml")
        return [(warning.key, warning.message.partition(" ")[0]) for warning in report.warnings]

    assert warnings_of(off) == [(f"server.{key}", str(off))]
    assert warnings_of(on) == []
