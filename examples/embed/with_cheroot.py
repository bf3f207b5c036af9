"""Serve the table with cheroot, the server of CherryPy. Run: python examples/embed/with_cheroot.py"""

import logging
import os
from pathlib import Path

from cheroot.wsgi import Server

import mountpoint

logging.basicConfig(level=logging.INFO)  # shows which app could not be loaded, and why
app = mountpoint.load(Path(__file__).parents[1] / "mounts.toml")

server = Server(("127.0.0.1", int(os.environ.get("PORT", "8080"))), app)
server.prepare()
logging.info("serving on http://127.0.0.1:%d", server.bind_addr[1])
try:
    server.serve()
finally:
    server.stop()
