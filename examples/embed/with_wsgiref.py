"""Serve the table with the standard library, for a quick try. Run: python examples/embed/with_wsgiref.py"""

import logging
import os
from pathlib import Path
from wsgiref.simple_server import make_server

import mountpoint

logging.basicConfig(level=logging.INFO)  # shows which app could not be loaded, and why
app = mountpoint.load(Path(__file__).parents[1] / "mounts.toml")

with make_server("127.0.0.1", int(os.environ.get("PORT", "8080")), app) as server:
    logging.info("serving on http://127.0.0.1:%d", server.server_port)
    server.serve_forever()
