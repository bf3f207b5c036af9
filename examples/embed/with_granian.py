"""The table in Granian, with two workers.

Run: granian --interface wsgi --workers 2 --blocking-threads 8 --port 8080 --working-dir examples/embed with_granian:app
"""

from pathlib import Path

from mountpoint import load

app = load(Path(__file__).parents[1] / "mounts.toml")
