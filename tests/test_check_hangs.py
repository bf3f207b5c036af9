"""``check`` and ``doctor`` end although an app hangs, starts a server or a thread, or asks for input at import."""

import json
import sys
import time

import pytest
from support.loading import IN_C, MAIN_ONLY, RESPOND, STUBBORN, UNTRACED
from support.tables import command, write
from support.waiting import TIMEOUT

HANGS = {
    "waits": "import threading\nthreading.Event().wait()\n",
    "sleeps": "import time\ntime.sleep(1000)\n",
    "reads": "import socket\none, other = socket.socketpair()\none.recv(1)\n",
    "loops": "while True:\n    pass\n",
    "catches all": STUBBORN,
    "in C": IN_C,
}
ENDLESS = "import threading\nthreading.Thread(target=threading.Event().wait).start()\n"
POOL = """
import atexit
from concurrent.futures import ThreadPoolExecutor
pool = ThreadPoolExecutor()
pool.submit(int)
atexit.register(print, "the exit handler runs")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot interrupt a thread")
@pytest.mark.parametrize("hang", HANGS.values(), ids=HANGS)
def test_check_gives_up_on_a_hang_names_its_line_and_checks_the_rest(tmp_path, hang):
    table = '[mounts]\n"/hang" = "hang:app"\n"/web" = "web:app"\n'
    write(tmp_path, {"mounts.toml": table, "hang.py": hang, "web.py": RESPOND})
    env = UNTRACED if hang is IN_C else None
    done = command("check", "--json", "--timeout", "0.3", cwd=tmp_path, env=env)
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert [mount["state"] for mount in report["mounts"]] == ["broken", "ready"]
    [problem] = report["problems"]
    line = hang.rstrip().count("\n") + 1
    assert problem["message"].startswith('"hang:app" did not finish loading within 0.3 s, and is at ')
    places = [f"{tmp_path / 'hang.py'}:{number}: " for number in range(1, line + 1)]
    assert any(place in problem["message"] for place in places)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot interrupt a thread")
def test_doctor_gives_up_on_a_hang_after_its_timeout(tmp_path):
    files = {"mounts.toml": '[mounts]\n"/hang" = "hang:app"\n"/web" = "web:app"\n', "hang.py": HANGS["sleeps"]}
    done = command("doctor", "--timeout", "0.3", cwd=write(tmp_path, {**files, "web.py": RESPOND}))
    assert '"hang:app" did not finish loading within 0.3 s' in done.stdout


@pytest.mark.parametrize("name", ["check", "doctor"])
def test_an_exit_handler_that_hangs_does_not_keep_a_command_from_ending(tmp_path, name):
    code = "import atexit, threading\natexit.register(threading.Event().wait)\n" + RESPOND
    done = command(name, cwd=write(tmp_path, {"mounts.toml": '[mounts]\n"/web" = "web:app"\n', "web.py": code}))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("seconds", ["0", "-1", "soon", "nan", "inf", "1000000"])
def test_a_timeout_that_is_not_a_number_of_seconds_is_wrong_usage(tmp_path, seconds):
    done = command("check", "--timeout", seconds, cwd=tmp_path)
    assert done.returncode == 2
    assert f'expected seconds, a number above 0 and below 1000000, found "{seconds}"' in done.stderr


@pytest.mark.parametrize("name", ["check", "doctor"])
@pytest.mark.parametrize("code", [ENDLESS, POOL, ENDLESS + POOL], ids=["thread", "pool", "both"])
def test_a_command_ends_although_threads_of_apps_run(tmp_path, name, code):
    started_at = time.monotonic()
    done = command(
        name, cwd=write(tmp_path, {"mounts.toml": '[mounts]\n"/web" = "web:app"\n', "web.py": code + RESPOND})
    )
    assert time.monotonic() - started_at < TIMEOUT
    assert done.returncode == 0
    assert ("the exit handler runs" in done.stderr + done.stdout) == ("atexit" in code)


@pytest.mark.skipif(sys.platform == "win32", reason="the app uses signals of Unix")
@pytest.mark.parametrize("name", ["check", "doctor"])
def test_an_app_that_needs_the_main_thread_loads(tmp_path, name):
    files = {"mounts.toml": '[mounts]\n"/one" = "one:app"\n"/two" = "two:app"\n', "one.py": MAIN_ONLY}
    done = command(name, cwd=write(tmp_path, {**files, "two.py": MAIN_ONLY}))
    assert done.returncode == 0, done.stdout + done.stderr
