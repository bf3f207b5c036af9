"""Apps that misuse their process, each in a process of its own: the app serves, or only its own mount fails."""

import sys

import pytest
from support.client import app_file
from support.running import serving
from support.waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no workers")

APP = app_file("hostile_worker")
SERVED = ["gevent", "eventlet", "asyncio", "state"]
BROKEN = {
    "close": "its worker ended before it was ready, exit code 1",
    "rubbish": "its worker ended before it was ready, SIGKILL",
    "daemon": "its worker ended before it was ready, exit code 0",
    "two-reports": "its worker ended before it was ready, SIGKILL",
}
TABLE = f"""
[server]
access_log = false
[defaults]
app = "{APP}:app"
process = "own"
threads = 2
[mounts."/shared"]
app = "{app_file("own_app")}:app"
process = "shared"
""" + "".join(f'[mounts."/{deed}"]\nargv = ["{deed}"]\n' for deed in [*SERVED, *BROKEN, "plain"])


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(TABLE, tmp_path_factory.mktemp("hostile")) as server:
        yield server


@pytest.fixture
def page(server):
    """Return ``page(path)``, which returns the body of a page, once its mount serves."""

    def page(path):
        wait_until(lambda: server.request(path).status != 503)
        response = server.request(path)
        assert response.status == 200
        return response.body

    return page


@pytest.mark.parametrize("deed", SERVED)
def test_an_app_that_changes_its_process_is_served(page, connect, server, deed):
    assert page(f"/{deed}/") == b"hello"
    wait_until(lambda: int(page(f"/{deed}/ticks")) > 0)  # the task that it has started at import
    assert page(f"/{deed}/coroutine") == b"from a coroutine"
    assert page(f"/{deed}/talk") == b"cba"
    for name, size in (("big", 1 << 20), ("big_pieces", 1_400_000), ("file", 499_993)):
        assert len(page(f"/{deed}/{name}")) == size
    client = connect(server)
    client.request(f"/{deed}/read_pieces", method="POST", body=b"x" * 300_000)
    assert client.answer().body == b"300000 36000000"


@pytest.mark.parametrize("deed", BROKEN)
def test_an_app_that_breaks_its_process_breaks_its_own_mount_alone(page, server, deed):
    server.wait_for(f"/{deed} is broken: {BROKEN[deed]}")
    assert server.request(f"/{deed}/").status == 503
    assert page("/shared/") == b"hello"
    assert "\nforged" not in server.log()


@pytest.mark.parametrize(
    ("path", "reason"),
    [("frames", "it has sent a frame b'K' of 2 bytes"), ("stacks", "it has sent a message that is not one")],
)
def test_an_app_that_writes_to_the_sockets_of_the_server_is_ended(page, server, path, reason):
    assert page("/plain/") == b"hello"
    assert server.request(f"/plain/{path}").status in (200, 502)
    server.wait_for(reason)
    assert page("/shared/") == b"hello"
    assert page("/plain/") == b"hello"


def test_a_write_after_the_end_of_a_response_harms_no_other_one(page, server):
    assert page("/plain/late-write") == b"in time"
    server.wait_for("write was called after the end of the response")
    assert page("/plain/") == b"hello"


def test_no_misuse_raises_in_the_servers_process(server):
    assert server.request("/shared/").body == b"hello"
    assert "unhandled exception" not in server.log()
