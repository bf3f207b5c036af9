"""Serve the table with uWSGI. Run:

uwsgi --http-socket 127.0.0.1:8080 --master --enable-threads --wsgi-file examples/embed/with_uwsgi.py

In a virtual environment, add --virtualenv "$VIRTUAL_ENV". Do not use --mount or --manage-script-name, because the table
decides which app gets a request.
"""

from pathlib import Path

import mountpoint

application = mountpoint.load(Path(__file__).parents[1] / "mounts.toml")
