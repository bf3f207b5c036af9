"""uWSGI: uwsgi --http-socket 127.0.0.1:8080 --master --enable-threads --wsgi-file examples/embed/with_uwsgi.py

In a virtual environment also --virtualenv "$VIRTUAL_ENV". No --mount and no --manage-script-name: which app gets a
request is the table's affair.
"""

from pathlib import Path

import mountpoint

application = mountpoint.load(Path(__file__).parents[1] / "mounts.toml")
