"""A folder with a table and its apps that is reloaded in the process of the test."""

import os
import queue

from mountpoint.config.reader import load_config
from mountpoint.lifecycle.reload import TableReloader
from mountpoint.loading.loader import Loader
from mountpoint.loading.routing import build_router, build_table
from support.tables import write
from support.waiting import TIMEOUT


def app(text):
    """Return the source of a module whose app responds with *text* and the number of its calls."""
    return f"""
count = 0
def app(environ, start_response):
    global count
    count += 1
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{text} {{count}}".encode()]
"""


ONE = '[mounts]\n"/one" = "one:app"\n'
TWO = ONE + '"/two" = "two:app"\n'
BOTH = {"one.py": app("one"), "two.py": app("two")}


class ReloadedSite:
    """A folder with a table and its apps. `load` loads it, and `reload` reloads it."""

    def __init__(self, folder, call):
        self.folder = folder
        self.tables = []  # the keys of each table that a reload has swapped in
        self.swap_error = None  # an exception for the next swap
        self._call = call
        self._outcomes = queue.Queue()

    def load(self, toml, files=(), **overrides):
        self.change(toml, files)
        config = load_config(self.folder / "mounts.toml", overrides)
        loader = Loader()
        mounts = loader.load(config)
        self.swap(config, mounts)
        self.tables.clear()
        self.reloader = TableReloader(config, mounts, loader, self.swap, self._outcomes.put)

    def swap(self, config, mounts):
        """Serve the new table, or raise ``swap_error``."""
        if self.swap_error:
            raise self.swap_error
        self._router = build_router(config, build_table(mounts))
        self.tables.append([mount.config.key for mount in mounts])

    def change(self, toml, files=()):
        """Write *files*, and a table whose last change is long ago."""
        write(self.folder, {**dict(files), "mounts.toml": toml})
        os.utime(self.folder / "mounts.toml", (1, 1))

    def reload(self, toml=None, files=()):
        """Reload the table, after a change to *toml* if given; return the outcome."""
        if toml is not None:
            self.change(toml, files)
        self.reloader.start()
        return self.outcome()

    def outcome(self):
        return self._outcomes.get(timeout=TIMEOUT).text

    def response(self, path):
        return self._call(self._router, path)

    def get(self, path):
        """Return the body of a response, or its status if that is not 200."""
        response = self.response(path)
        return response.body.decode() if response.status == 200 else response.status
