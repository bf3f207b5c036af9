"""The commands that examine a table load a mount where it will run, and ``load`` says why it does not."""

import json
import logging
from dataclasses import replace

import pytest
from support.client import app_file
from support.tables import APP, command, config_of, write

from mountpoint.loading.app_facts import AppFacts
from mountpoint.loading.loader import load, load_mounts
from mountpoint.loading.own_prefix import PrefixFault

OWN = app_file("own_app")
WRONG = AppFacts().as_fields() | {"prefix_faults": [["static-url"]]}


def test_check_reports_the_faults_of_each_process_under_its_mount(tmp_path):
    reads = "import os, sys\nassert sys.argv[1:] == ['--quiet'] and os.environ['A'] == '/reads/'\n"
    write(tmp_path, {"raises.py": "print('printed'); 1/0", "exits.py": "import os; os._exit(4)", "work/keep": ""})
    write(tmp_path, {"reads.py": reads + APP})
    table = """
        [defaults]
        process = "own"
        [mounts]
        "/raises" = "raises:app"
        "/exits" = "exits:app"
        [mounts."/reads"]
        app = "reads:app"
        argv = ["--quiet"]
        cwd = "work"
        env = { A = "{prefix}/" }
    """
    write(tmp_path, {"mounts.toml": table})
    result = command("check", "--json", cwd=tmp_path)
    report = json.loads(result.stdout)
    assert result.returncode == 1
    assert [mount["state"] for mount in report["mounts"]] == ["broken", "broken", "ready"]
    raised, ended = report["problems"]
    assert raised["key"] == 'mounts."/raises"'
    assert "ZeroDivisionError" in raised["message"]
    assert 'raises.py", line 1' in raised["details"]
    assert ended["message"] == "its worker ended before it was ready, exit code 4"
    assert "/raises: printed" in result.stderr


FLASK = "from flask import Flask\napp = Flask('x')\napp.secret_key = 'x'\n"
PROXY_FIX = f"{FLASK}from werkzeug.middleware.proxy_fix import ProxyFix\napp.wsgi_app = ProxyFix(app.wsgi_app)\n"


def test_check_warns_of_apps_in_processes_of_their_own(tmp_path):
    write(tmp_path, {"one/flask_one.py": FLASK, "two/flask_two.py": PROXY_FIX})
    write(tmp_path, {"three/bottle_app.py": "import bottle\napp = bottle.Bottle()\n"})
    table = """
        [defaults]
        root = "one"
        [mounts]
        "/shared" = "flask_one:app"
        "/own" = { app = "flask_one:app", process = "own" }
        "/same" = { app = "flask_one:app", process = "own" }
        "/scoped" = { app = "flask_one:app", process = "own", cookies = "scoped" }
        "/fixed" = { app = "flask_two:app", process = "own", root = "two", cookies = "scoped" }
        "/é" = { app = "bottle_app:app", process = "own", root = "three" }
    """
    report = json.loads(command("check", "--json", cwd=write(tmp_path, {"mounts.toml": table})).stdout)
    assert report["problems"] == []
    found = {warning["key"]: warning["message"] for warning in report["warnings"]}
    assert set(found) == {'mounts."/own"', 'mounts."/fixed"', 'mounts."/é"'}
    assert (
        'its session cookie "session" with Path=/ has the same name and path as that of /shared'
        in found['mounts."/own"']
    )
    assert found['mounts."/fixed"'].startswith("the app is wrapped in ProxyFix")
    assert found['mounts."/é"'].startswith("Bottle garbles links")


@pytest.mark.parametrize(
    "fields",
    [None, {}, {"session_cookie": 5}, {"session_cookie": ["a"], "is_bottle": 1, "has_proxy_fix": 1}, WRONG],
)
def test_a_value_that_does_not_hold_facts_is_an_error(fields):
    with pytest.raises((TypeError, ValueError, KeyError)):
        AppFacts.from_fields(fields)


def test_facts_are_the_same_after_their_way_through_json():
    facts = AppFacts(("session", "/", None), is_bottle=True, has_proxy_fix=True, names_proxy_fix=False)
    facts = replace(facts, prefix_faults=(PrefixFault("static-url", "STATIC_URL is wrong"),))
    assert AppFacts.from_fields(json.loads(json.dumps(facts.as_fields()))) == facts


def test_a_flask_app_whose_settings_are_not_strings_is_served(start, tmp_path):
    settings = "from pathlib import PurePosixPath\napp.config['APPLICATION_ROOT'] = PurePosixPath('/own')\n"
    write(tmp_path, {"path.py": FLASK + settings})
    assert start(app="path:app").pool.facts.session_cookie == ("session", "/own", None)


def test_doctor_examines_a_mount_in_its_process(tmp_path):
    write(tmp_path, {"mounts.toml": f'[mounts."/own"]\napp = "{OWN}:app"\nprocess = "own"\n'})
    result = command("doctor", cwd=tmp_path)
    assert result.stdout.startswith("mounts.toml: /own\n")
    assert result.returncode == 0


def test_resolve_and_proxy_config_start_no_process(tmp_path):
    write(tmp_path, {"mounts.toml": f'[mounts."/own"]\napp = "{OWN}:app"\nprocess = "own"\nuser = "no-such-user"\n'})
    assert json.loads(command("resolve", "--json", "mounts.toml", "/own/x", cwd=tmp_path).stdout)["mount"] == "/own"
    assert "/own/" in command("proxy-config", "nginx", cwd=tmp_path).stdout


def test_another_server_gets_503_and_the_log_says_why(tmp_path, call, caplog):
    config_of(tmp_path, f'[mounts."/own"]\napp = "{OWN}:app"\nprocess = "own"\n')
    with caplog.at_level(logging.ERROR, "mountpoint"):
        app = load(tmp_path / "mounts.toml")
    assert call(app, "/own/").status == 503
    assert 'process = "own" works under "mountpoint serve" only' in caplog.text


@pytest.mark.parametrize("kind", ["own", "shared"])
def test_modules_of_one_name_are_refused_in_one_process_only(tmp_path, kind):
    write(tmp_path, {f"a/same_{kind}.py": APP, f"b/same_{kind}.py": APP})
    table = f'''
        [mounts]
        "/a" = "a/same_{kind}.py:app"
        [mounts."/b"]
        app = "b/same_{kind}.py:app"
        process = "{kind}"
    '''
    mounts = load_mounts(config_of(tmp_path, table))
    assert mounts[0].error is None
    assert (f"same_{kind}.py" in str(mounts[1].error)) is (kind == "shared")
