"""A server in a thread of the test, for a test that chooses the parts of the server or looks at them."""

import threading
from contextlib import contextmanager

from waitress import wasyncore

from mountpoint.config.address import listen_address
from mountpoint.config.reader import load_config
from mountpoint.server.loop import Server
from mountpoint.server.sockets import bind
from mountpoint.wsgi.proxy_settings import ProxySettings
from mountpoint.wsgi.router import Router
from mountpoint.wsgi.table import Mount, MountTable
from support.client import Client
from support.waiting import wait_until

LARGE = 4 << 20  # bytes: more than the kernel stores for a client that does not read


class Site:
    """An app, and the server that serves it at /app in a thread. `held` requests wait for `release`."""

    def __init__(self, server, port):
        self.server = server
        self.url = f"http://127.0.0.1:{port}"
        self.held = 0
        self.release = threading.Event()
        self.is_cut = threading.Event()

    def app(self, environ, start_response):
        path = environ["PATH_INFO"]
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)) or path.encode()
        if path == "/hold":
            self.held += 1
            assert self.release.wait(10)
        if path == "/until-reset":
            self.held += 1
            wait_until(environ["waitress.client_disconnected"])
            self.is_cut.set()
        if path == "/large":
            body = bytes(LARGE)
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]


def router_to(app):
    return Router(MountTable([Mount("/app", app)]), ProxySettings())


@contextmanager
def running_site(folder, selector=None, observer=None, limits=None, **settings):
    """Yield a `Site`. *settings* are keys of ``[server]``, *limits* those of the queue of /app."""
    lines = [f"{key} = {value}" for key, value in {"threads": 2, **settings}.items()]
    file = folder / "mounts.toml"
    file.write_text("\n".join(["[server]", *lines, "[mounts]", '"/app" = "app:app"']))
    bound = bind([listen_address("127.0.0.1:0")], ipv4=True, ipv6=False, permissions=0o600, inherited={})
    site = None

    def app(environ, start_response):
        return site.app(environ, start_response)

    server = Server(
        router_to(app), {"/app": limits} if limits else {}, load_config(file).server, bound, selector, observer=observer
    )
    site = Site(server, bound[0].socket.getsockname()[1])
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield site
    finally:
        site.release.set()
        server.stop()
        thread.join(10)
        assert not thread.is_alive(), "the drain has not ended"
        wasyncore.close_all(server._map)  # a drain that cuts off requests leaves that to the end of the process
        for one in bound:
            one.close()


def connect(site):
    client = Client(site.url)
    client.socket.settimeout(10)
    return client
