"""An app with an exception that Python cannot format: its class does not tell its name."""

NAMES = ("/first", "/second")


class _Nameless(type):
    def __getattribute__(cls, name):
        if name == "__qualname__":
            raise ValueError("no name")
        return super().__getattribute__(name)


class Unreadable(Exception, metaclass=_Nameless):
    """Raised by the app."""


def app(environ, start_response):
    if environ["PATH_INFO"] in NAMES:
        raise Unreadable
    start_response("200 OK", [("Content-Length", "0")])
    return []
