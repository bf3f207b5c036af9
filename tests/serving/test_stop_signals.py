"""Stop signals: they work from the first moment, and no app can block them."""

import signal
import sys

import pytest
from support.client import Client
from support.sources import LINTED

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signal masks")

RESPOND = (
    """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]
"""
    + LINTED
)
BLOCKS = "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_app_that_blocks_all_signals_does_not_prevent_the_stop(serve, tmp_path, number):
    (tmp_path / "blocks.py").write_text(BLOCKS + RESPOND)
    server = serve('[mounts]\n"/blocks" = "blocks:app"\n')
    with Client(server.url) as client:
        assert client.get("/blocks/").body == b"ok"
    server.send(signal.SIGHUP)
    server.wait_for("reload ended")
    assert server.stop(number) == 0
