"""A configuration for gunicorn. Run: gunicorn --config examples/embed/gunicorn.conf.py

Without a configuration, in the folder of the table: gunicorn 'mountpoint:load("mounts.toml")'
"""

from pathlib import Path

wsgi_app = f"mountpoint:load({str(Path(__file__).parents[1] / 'mounts.toml')!r})"
bind = "127.0.0.1:8080"
worker_class = "gthread"
threads = 8
