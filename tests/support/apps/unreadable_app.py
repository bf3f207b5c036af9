"""An app whose code has the name of a file that no file can have, so Python cannot format its tracebacks."""

NAMES = {"/nul": "/a\0b.py", "/surrogate": "/a\ud800.py"}


class Unreadable(Exception):
    """Raised by the app."""


def run_as(filename, wait=None):
    """Run code that has *filename*: call *wait*, or raise `Unreadable`."""
    space = {"wait": wait, "Unreadable": Unreadable}
    exec("def run():\n    if wait: wait()\n    else: raise Unreadable('no traceback')", space)
    run = space["run"]
    run.__code__ = run.__code__.replace(co_filename=filename)
    run()


def app(environ, start_response):
    if name := NAMES.get(environ["PATH_INFO"]):
        run_as(name)
    start_response("200 OK", [("Content-Length", "0")])
    return []
