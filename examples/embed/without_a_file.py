"""Mount two apps in code, without mounts.toml: the dispatcher is an ordinary WSGI application.

Run it with both apps on the import path:

PYTHONPATH=examples/apps/tv_ws:examples/apps/notes python examples/embed/without_a_file.py
"""

import logging
import os
from wsgiref.simple_server import make_server

from notes import app as notes
from tv_ws import app as tv_ws

from mountpoint import Dispatcher, TrustedProxies

logging.basicConfig(level=logging.INFO)
# TrustedProxies removes headers such as X-Forwarded-Host that a client sends. Bottle, for example, would trust them.
app = TrustedProxies(Dispatcher({"/tv_ws": tv_ws, "/notes": notes}))

with make_server("127.0.0.1", int(os.environ.get("PORT", "8080")), app) as server:
    logging.info("serving on http://127.0.0.1:%d", server.server_port)
    server.serve_forever()
