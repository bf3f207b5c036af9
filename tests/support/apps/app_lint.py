"""wsgiref's validator around the apps that the tests serve."""

from wsgiref.validate import validator


def linted(app, unlinted=()):
    """Return *app* inside wsgiref's validator, which raises AssertionError when app or server breaks PEP 3333.

    A request whose first path segment is in *unlinted* reaches *app* itself. The validator replaces the response by an
    iterator of its own, so a server no longer sees a file to send or the length of a list.
    """
    checked = validator(app)

    def choose(environ, start_response):
        segment = environ["PATH_INFO"].lstrip("/").partition("/")[0]
        return (app if segment in unlinted else checked)(environ, start_response)

    return choose
