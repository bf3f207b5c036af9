"""Apps that patch the standard library are refused, and the process stays as it was."""

import importlib.util
import queue
import select
import selectors
import socket
import subprocess
import sys
import threading
import time

import pytest
from support.tables import APP, command, imports_undone, write

from mountpoint.config.reader import load_config
from mountpoint.errors import LoadError
from mountpoint.loading.loader import load_mounts
from mountpoint.loading.patching import refuse_patching

#: Each with the call that the message names.
PATCHING = {
    "import gevent.monkey\ngevent.monkey.patch_all()": "gevent's patch_all()",
    "from gevent import monkey\nmonkey.patch_all(thread=False)": "gevent's patch_all()",
    "from gevent.monkey import patch_socket\npatch_socket()": "gevent's patch_socket()",
    "def make():\n    from gevent.monkey import patch_all as p\n    p()\n": "gevent's patch_all()",
    "import eventlet\neventlet.monkey_patch()": "eventlet's monkey_patch()",
    "from eventlet.patcher import monkey_patch\nmonkey_patch(socket=True)": "eventlet's monkey_patch()",
    "import helper": "gevent's patch_all()",
}


def needs(module):
    """Skip the test if *module* is missing. An import would change this process."""
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"pip install {module}")


def check(tmp_path, files):
    """Check a table with the mounts /a and /b in a process of its own; return its output."""
    toml = '[mounts]\n"/a" = "one:app"\n"/b" = "two:app"\n'
    if "def make" in files["one.py"]:
        toml = toml.replace("one:app", "one:make()")
    return command("check", cwd=write(tmp_path, {"mounts.toml": toml, **files})).stdout


SIBLING = f"""
import select, socket, sys, threading, time
for function in (time.sleep, threading.Lock, socket.socket, select.select, select.epoll):
    assert not {{"gevent", "eventlet"}} & {{str(function.__module__).partition(".")[0]}}, function
{APP}
"""


@pytest.mark.parametrize("code", PATCHING)
def test_an_app_that_patches_with_gevent_or_eventlet_is_refused(tmp_path, code):
    needs("eventlet" if "eventlet" in code else "gevent")
    helper = "from gevent import monkey\nmonkey.patch_all()\n"
    output = check(tmp_path, {"one.py": f"{code}\n{APP}", "two.py": SIBLING, "helper.py": helper})
    assert "/b  two:app" in output, output
    assert "broken" in output
    assert output.count("ready") == 1, output
    assert f"calls {PATCHING[code]}, which would replace the sockets, locks and threads of all apps" in output
    assert ("helper.py" if "helper" in code else "one.py") in output.partition(" calls ")[0]
    assert "Traceback" not in output


@pytest.mark.parametrize("code", ["import gevent.monkey, gevent.pool", "import eventlet", "import gevent, eventlet"])
def test_an_app_may_import_gevent_and_eventlet_without_patching(tmp_path, code):
    needs("eventlet")
    needs("gevent")
    output = check(tmp_path, {"one.py": f"{code}\n{APP}", "two.py": SIBLING})
    assert output.count("ready") == 2, output


def test_an_app_that_survives_the_refusal_is_served_unpatched(tmp_path):
    needs("gevent")
    code = "try:\n    from gevent import monkey\n    monkey.patch_all()\nexcept Exception:\n    pass\n"
    output = check(tmp_path, {"one.py": code + SIBLING, "two.py": SIBLING})
    assert output.count("ready") == 2, output


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_a_process_that_is_patched_already_refuses_nothing(tmp_path, library):
    needs(library)
    patch = {"gevent": "from gevent.monkey import patch_all as p", "eventlet": "from eventlet import monkey_patch as p"}
    script = f"""
        {patch[library]}
        p()
        import mountpoint
        mountpoint.load("mounts.toml", strict=True)
        """
    files = {"mounts.toml": '[mounts]\n"/a" = "one:app"\n', "one.py": f"{patch[library]}\np()\n{APP}", "run.py": script}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "run.py"],
        cwd=write(tmp_path, files),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (socket, "socket"),
        (select, "select"),
        (selectors, "DefaultSelector"),
        (time, "sleep"),
        (threading, "Lock"),
        (threading, "Thread"),
        (queue, "Queue"),
    ],
)
def test_another_replacement_of_a_blocking_function_is_undone(tmp_path, module, name):
    before = getattr(module, name)
    toml = '[mounts]\n"/a" = "one:app"\n"/b" = "two:app"\n'
    # Other threads may use the class while the test runs. From 3.13 on, no class inherits from a lock.
    base = f"m.{name}" if isinstance(before, type) and before is not threading.Lock else "object"
    code = f"import {module.__name__} as m\nclass Other({base}): pass\n"
    write(tmp_path, {"mounts.toml": toml, "one.py": f"{code}m.{name} = Other\n{APP}", "two.py": APP})
    with imports_undone(tmp_path):
        a, b = load_mounts(load_config(tmp_path / "mounts.toml"))
    assert getattr(module, name) is before
    assert f"the app replaces {module.__name__}.{name} for the whole process" in str(a.error)
    assert b.error is None


def test_an_app_may_wrap_methods_and_other_functions(tmp_path):
    code = "import threading\noriginal = threading.Thread.start\nthreading.Thread.start = lambda self: original(self)\n"
    before = threading.Thread.start
    write(tmp_path, {"mounts.toml": '[mounts]\n"/a" = "one:app"\n', "one.py": code + APP})
    try:
        with imports_undone(tmp_path):
            [a] = load_mounts(load_config(tmp_path / "mounts.toml"))
    finally:
        threading.Thread.start = before
    assert a.error is None


def test_a_function_that_is_removed_or_added_is_put_back(monkeypatch):
    monkeypatch.delattr(select, "poll")
    epoll = select.epoll

    def patch():
        with refuse_patching():
            select.poll = object()
            del select.epoll

    with pytest.raises(LoadError, match=r"select\.poll, select\.epoll"):
        patch()
    assert select.epoll is epoll
    assert not hasattr(select, "poll")


def test_a_process_may_be_patched_after_its_loads(tmp_path):
    needs("gevent")
    script = """
        import mountpoint
        mountpoint.load("mounts.toml", strict=True)
        from gevent import monkey
        monkey.patch_all()
        import socket
        assert "gevent" in socket.socket.__module__
        """
    code = f"from gevent import monkey\n{APP}"
    write(tmp_path, {"mounts.toml": '[mounts]\n"/a" = "one:app"\n', "one.py": code, "run.py": script})
    command = [sys.executable, "-W", "ignore", "run.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
