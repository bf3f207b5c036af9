"""The log of slow requests, with a stack while they run and the duration at their end, and the report for SIGUSR1.

The app waits for a file that the test creates, so a request is slow for as long as the test needs.
"""

import json
import re
import signal
import sys
import threading
import time

import pytest
from support.client import Client, app_file

if sys.platform == "win32":
    pytest.skip("Windows has no SIGUSR1", allow_module_level=True)

APP = app_file("slow_app")
TABLE = f"""
[defaults]
slow_after = 0.2

[mounts]
"/app" = "{APP}:app"

[mounts."/never"]
app = "{APP}:app"
slow_after = 0

[mounts."/later"]
app = "{APP}:app"
slow_after = 1000
"""
#: Log records, by mount, and by method and path.
RUNS = r"WARNING {}: {} has run for \d+\.\d s, and is at:\n"
ENDS = r"WARNING {}: {} ended after \d+\.\d s\n"


def reports(log, form, mount, title):
    return re.findall(form.format(re.escape(mount), re.escape(title)), log)


def of(form, mount, title):
    return re.compile(form.format(re.escape(mount), re.escape(title)))


# -------------------------------------------------------------------------------------------------------- slow requests


@pytest.mark.parametrize("what", ["hold", "within"])
def test_a_slow_request_is_logged_once_and_again_at_its_end(serve, connect, release, what):
    server = serve(TABLE)
    title = f"POST '/app/{what}/x'"
    client = connect(server, f"/app/{what}/x", "POST")
    server.wait_for(of(RUNS, "/app", title))
    other = connect(server, f"/app/{what}/y")  # once it is logged, the first was checked once more
    log = server.wait_for(of(RUNS, "/app", f"GET '/app/{what}/y'"))
    assert f'File "{APP}", line ' in log
    assert "in hold\n    time.sleep(0.01)  # the app is here\n" in log
    assert not reports(log, ENDS, "/app", title)
    release("go")
    assert client.answer().body == other.answer().body == b"ok"
    log = server.wait_for(of(ENDS, "/app", title))
    assert len(reports(log, RUNS, "/app", title)) == 1
    assert server.stop() == 0
    assert len(reports(server.log(), ENDS, "/app", title)) == 1


def test_the_stack_begins_in_the_app(serve, connect, release):
    server = serve(TABLE.replace(":app", ":respond"))  # without the validator, whose frame would be the first
    client = connect(server, "/app/hold/x")
    log = server.wait_for(of(RUNS, "/app", "GET '/app/hold/x'"))
    first = log.partition("and is at:\n")[2].partition("\n")[0]
    assert first.startswith(f'  File "{APP}", line ')
    assert first.endswith(", in respond")
    release("go")
    client.answer()


def test_a_path_cannot_forge_a_line(serve, connect, release):
    server = serve(TABLE)
    client = connect(server, "/app/hold/%0AWARNING%20forged%1B[2J%E2%80%A8x?secret=1")
    log = server.wait_for("and is at:")
    assert r"GET '/app/hold/\nWARNING forged\x1b[2J" in log
    assert "\x1b" not in log
    assert not re.search("^WARNING forged", log, re.MULTILINE)
    assert "secret" not in log
    server.send(signal.SIGUSR1)
    assert "\x1b" not in server.wait_for("1 requests in flight")
    release("go")
    client.answer()
    assert "\x1b" not in server.wait_for("ended after")


def test_fast_requests_and_mounts_without_slow_after_are_not_logged(serve, connect, release):
    server = serve(TABLE)
    clients = [connect(server, path) for path in ("/never/hold/x", "/later/hold/x", "/app/", "/nowhere")]
    clients.append(connect(server, "/app/hold/x"))
    log = server.wait_for("and is at:")
    release("go")
    for client in clients:
        client.answer()
    server.wait_for("ended after")
    assert server.stop() == 0
    assert server.log().count("and is at:") == server.log().count("ended after") == 1, log


def test_each_of_many_slow_requests_is_logged(serve, connect, release):
    server = serve(TABLE, "--threads", "24")
    clients = [connect(server, f"/app/hold/{number}") for number in range(12)]
    for number in range(12):
        server.wait_for(of(RUNS, "/app", f"GET '/app/hold/{number}'"))
    release("go")
    assert all(client.answer().status == 200 for client in clients)
    for number in range(12):
        server.wait_for(of(ENDS, "/app", f"GET '/app/hold/{number}'"))
    assert server.stop() == 0
    assert server.log().count("and is at:") == server.log().count("ended after") == 12


def test_a_request_that_ends_as_it_becomes_slow_is_logged_correctly(serve):
    # Requests of both mounts alternate in the same threads, and end at about the time when they become slow.
    table = TABLE.replace("slow_after = 0.2", "slow_after = 0.02")
    server = serve(table, "--threads", "2", "--no-access-log")

    def send():
        with Client(server.url) as client:
            for _ in range(25):
                client.pipeline("/app/short/0.02", "/never/short/0.001", "/app/short/0.019", "/never/short/0.001")
                for _ in range(4):
                    client.answer()

    clients = [threading.Thread(target=send) for _ in range(4)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert server.stop() == 0
    log = server.log()
    assert "Traceback" not in log
    runs = re.findall(r"WARNING (\S+): GET '(\S+)' has run for .*\n((?:  .*\n)+)", log)
    assert runs
    for mount, path, stack in runs:
        assert mount == "/app"
        assert path in ("/app/short/0.02", "/app/short/0.019")
        assert "in serve_forever" not in stack
    assert len(re.findall("ended after", log)) == len(runs)


def test_the_logging_section_directs_slow_requests(serve, connect, release, tmp_path):
    logging = {
        "formatters": {"plain": {"format": "%(name)s|%(levelname)s|%(message)s"}},
        "handlers": {
            "slow": {
                "class": "logging.FileHandler",
                "filename": (tmp_path / "slow.log").as_posix(),
                "formatter": "plain",
            },
            "err": {"class": "logging.StreamHandler"},
        },
        "loggers": {
            "mountpoint": {"handlers": ["err"], "level": "INFO"},
            "mountpoint.slow": {"handlers": ["slow"], "propagate": False},
        },
    }

    def toml(value):
        if isinstance(value, dict):
            return "{" + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + "}"
        return json.dumps(value)

    lines = "\n".join(f"{key} = {toml(value)}" for key, value in logging.items())
    server = serve(f"{TABLE}\n[logging]\n{lines}\n")
    client = connect(server, "/app/hold/x")
    while "and is at:" not in (tmp_path / "slow.log").read_text():
        assert server.process.poll() is None
        time.sleep(0.01)
    release("go")
    client.answer()
    assert server.stop() == 0
    text = (tmp_path / "slow.log").read_text()
    assert text.startswith("mountpoint.slow|WARNING|/app: GET '/app/hold/x' has run for ")
    assert "ended after" in text
    assert "and is at" not in server.log()


# -------------------------------------------------------------------------------------------------------------- SIGUSR1


def test_sigusr1_logs_running_requests_and_queue_lengths(serve, connect, release):
    server = serve(TABLE + f'[mounts."/one"]\napp = "{APP}:app"\nlimit = 1\n')
    clients = [connect(server, path) for path in ("/never/hold/x", "/one/within/y")]
    server.wait_for("holding", count=2)
    clients += [connect(server, f"/one/{number}") for number in range(3)]
    log = server.log()
    while "/one: 3 waiting\n" not in log:  # until the server has read all three
        server.send(signal.SIGUSR1)
        log = server.wait_for("requests in flight", count=log.count("requests in flight") + 1)
    report = log[log.rindex("2 requests in flight") :]
    assert re.search(r"^/never: GET '/never/hold/x', for \d+\.\d s, is at:\n", report, re.MULTILINE)
    assert re.search(r"^/one: GET '/one/within/y', for \d+\.\d s, is at:\n", report, re.MULTILINE)
    assert report.count("# the app is here") == 2
    release("go")
    assert all(client.answer().body == b"ok" for client in clients)
    while " INFO 0 requests in flight" not in log:  # the client reads a response before its thread has finished
        server.send(signal.SIGUSR1)
        log = server.wait_for("requests in flight", count=log.count("requests in flight") + 1)


def test_a_request_with_a_slow_reader_is_logged_in_its_write(serve, connect):
    server = serve(TABLE)
    connect(server, "/app/large", buffer=4096)
    log = server.wait_for(of(RUNS, "/app", "GET '/app/large'"))
    assert "in write_soon\n" in log.partition("and is at:")[2]
    server.send(signal.SIGUSR1)
    assert "in write_soon\n" in server.wait_for("1 requests in flight").partition("1 requests in flight")[2]


def test_sigusr1_during_loading_logs_the_stack(serve, release, tmp_path):
    code = (
        "import time\nfrom pathlib import Path\n"
        "print('importing', flush=True)\n"
        "while not Path('go').exists():\n"
        "    time.sleep(0.01)  # the import is here\n"
        "from wsgiref.simple_server import demo_app as app\n"
    )
    (tmp_path / "slow_import.py").write_text(code)
    server = serve('[mounts]\n"/app" = "slow_import.py:app"\n', wait=False)
    while "importing" not in server.out():
        assert server.process.poll() is None
        time.sleep(0.01)
    server.send(signal.SIGUSR1)
    assert "time.sleep(0.01)  # the import is here" in server.wait_for(re.compile(r"loading .*, at:\n(  .*\n)+"))
    release("go")
    server.wait_for("serving on")
    assert server.request("/app/").status == 200
