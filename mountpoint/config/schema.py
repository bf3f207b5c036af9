"""Every key of ``mounts.toml``: its validator, its description and its default.

Each key of the file is one `Key`, so a key cannot be added without a description. The reader validates the file with
these tables, and the manual's reference page is generated from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from ..wsgi.table import DotSegments, Slash
from .address import listen_address
from .control_path import control_path
from .key import Key
from .own_process import PROCESS_KEYS
from .validators import (
    access_log,
    app_spec,
    array_of_strings,
    boolean,
    connection_limit,
    echo_key,
    environment,
    exact_paths,
    integer,
    octal_permissions,
    one_of,
    seconds,
    string,
    string_or_array,
)

DEFAULT_LISTEN = "127.0.0.1:8080"
LOG_LEVELS = ("debug", "info", "warning", "error", "critical")


#: The keys of a mount, and of ``[defaults]``.
MOUNT_KEYS: Mapping[str, Key] = {
    "app": Key(
        app_spec,
        'The app: `module:attribute`, `module:factory()`, `module:factory("literal", key=1)`, '
        "`dir/file.py:attribute`, or `module` alone, which looks for `application`, then `app`. "
        "A path starts at `root`.",
        "required",
    ),
    "root": Key(
        string,
        "The folder that mountpoint puts on the import path for this app. A relative path starts at the file's folder.",
        "the file's folder",
    ),
    "slash": Key(
        one_of(*get_args(Slash)),
        'A request for exactly the mount\'s prefix: `"redirect"` sends GET and HEAD to the same path with a slash, '
        '`"pass"` hands the request to the app as it is, `"serve"` hands it to the app as `/`, also POST.',
        '`"redirect"`',
    ),
    "dot_segments": Key(
        one_of(*get_args(DotSegments)),
        'A path with a `.` or `..` segment: `"refuse"` responds 400, `"pass"` hands the request to the app.',
        '`"refuse"`',
    ),
    "cookies": Key(
        one_of("pass", "scoped"),
        '`"scoped"` gives a cookie without a path, or with `Path=/`, the path of the mount, so that apps do not '
        'overwrite each other\'s cookies. It is not a security boundary. `"pass"` leaves cookies as they are.',
        '`"pass"`',
    ),
    "limit": Key(
        integer(1, 10_000),
        "How many requests of this mount run at once, at most. Further requests wait in the mount's queue; under "
        "`load()`, which has no queues, they get 503.",
        "the mount's fair share of the threads; for a mount with its own processes `workers` times `threads`, which is "
        "also the most",
    ),
    "queue": Key(
        integer(0),
        "How many requests of this mount may wait. Further requests get 503. With 0, a request that arrives while the "
        "mount uses its whole share of the threads gets 503.",
        "`100`",
    ),
    "max_body": Key(
        integer(0),
        "The largest request body that this mount accepts, in bytes. A request with a larger body gets 413.",
        "`max_request_body_size` of `[server]`",
    ),
    "slow_after": Key(
        seconds,
        "A request that runs for longer than this many seconds is logged as slow. 0 turns this off.",
        "`10`",
    ),
    "required": Key(
        boolean,
        "Whether the server is ready only while this mount serves. Otherwise `/readyz` of the [status page](status.md) "
        "answers 503. A broken mount that is not required leaves the server ready.",
        "`false`",
    ),
    "env": Key(
        environment,
        'Environment variables that are set while the app is loaded: `{ KEY = "value" }`. A request finds them in '
        "environ, except for names of CGI and of headers. An app in a process of its own keeps them. `{prefix}` stands "
        "for the prefix of the mount, after that of `strips`. A mount also gets those of `[defaults]`, unless it sets "
        "the same name.",
        "`{}`",
    ),
    **PROCESS_KEYS,
}

#: The keys of ``[server]`` that mountpoint itself uses. ``listen`` may be an array: its validator takes one item.
SERVER_KEYS: Mapping[str, Key] = {
    "listen": Key(
        listen_address,
        'Where to listen: `"host:port"`, `"[ipv6]:port"`, `"*:port"`, `"unix:/path"` (a relative path starts at the '
        "file's folder), or an array of these. TCP and unix sockets do not mix.",
        f'`"{DEFAULT_LISTEN}"`',
    ),
    "threads": Key(
        integer(1, 10_000),
        "How many requests run at once. While some of them hang, the mounts without a running request also get spare "
        "threads, up to `threads - 1`.",
        "`8`",
    ),
    "drain_timeout": Key(
        seconds,
        "How many seconds the requests in flight have to finish after SIGTERM or SIGINT. A second signal ends the "
        "process at once.",
        "`30`",
    ),
    "header_timeout": Key(
        seconds,
        "How many seconds a client has to send the header of a request. Then it gets 408. 0 turns this off.",
        "`30`",
    ),
    "body_timeout": Key(
        seconds,
        "How many seconds a body may lag behind `body_min_rate`. Then its client gets 408. A large body at a fair rate "
        "may take as long as it needs. 0 turns this off.",
        "`30`",
    ),
    "body_min_rate": Key(
        integer(1),
        "How many bytes of a body a client has to send in a second, on average.",
        "`500`",
    ),
    "max_buffered_bodies": Key(
        integer(0),
        "How many bytes the bodies of all requests may take together, in memory and in temporary files. A body that "
        "does not fit gets 503 with `Retry-After`. A value below `max_request_body_size` also bounds a single body. 0 "
        "turns this off.",
        "`268435456`, or `max_request_body_size` if that is larger",
    ),
    "strict": Key(
        boolean,
        "Do not start, and do not reload, if an app fails to load.",
        "`false`",
    ),
    "access_log": Key(
        access_log,
        'The form of the access log: `"combined"` (also `true`), `"json"` or `false`. With `"json"` all logs of the '
        "server are JSON.",
        '`"combined"`',
    ),
    "access_log_exclude": Key(
        exact_paths,
        'Public paths whose requests are not in the access log, such as `["/healthz"]`. Each is an exact path.',
        "`[]`",
    ),
    "request_id": Key(
        boolean,
        "Give each request an id: the `X-Request-ID` of a trusted proxy, or a new one. Apps, the client and the logs "
        "get it.",
        "`false`",
    ),
    "log_level": Key(
        one_of(*LOG_LEVELS),
        'The level of the loggers `mountpoint`, `waitress` and the root logger: `"debug"`, `"info"`, `"warning"`, '
        '`"error"` or `"critical"`. With `"debug"` the root logger stays at `"info"`.',
        '`"info"`, or as `[logging]` says',
    ),
    "unix_socket_perms": Key(
        octal_permissions,
        "The permissions of a unix socket's file, as an octal string.",
        '`"660"`',
    ),
    "connection_limit": Key(
        connection_limit,
        "How many connections are open at once. It cannot exceed (open files - 64) / 3, or 400 on Windows.",
        "`1000`, or less if the system does not allow that many",
    ),
    "control": Key(
        control_path,
        "The unix socket through which commands such as `mountpoint reload` reach the running server. A relative path "
        "starts at the file's folder. `false` switches it off. Only the server's user and root can use it.",
        "a path that follows from that of the file, see [Operating](operating.md#the-control-socket)",
    ),
}

#: The keys of ``[server]`` that go to waitress under its own names. The ranges are ours: waitress checks none.
#: https://docs.pylonsproject.org/projects/waitress/en/stable/arguments.html
WAITRESS_KEYS: Mapping[str, Key] = {
    "ipv4": Key(
        boolean,
        "Listen on the IPv4 addresses of a host name.",
        "`true`",
    ),
    "ipv6": Key(
        boolean,
        "Listen on the IPv6 addresses of a host name.",
        "`true`",
    ),
    "url_scheme": Key(
        one_of("http", "https"),
        "`wsgi.url_scheme` of a request, unless a trusted proxy reports the scheme. Write "
        '`"https"` behind TLS if the proxy does not send the scheme.',
        '`"http"`',
    ),
    "backlog": Key(
        integer(1, 65_535),
        "How many new TCP connections the system queues until the server accepts them.",
        "`1024`",
    ),
    "recv_bytes": Key(
        integer(1, 2**24),
        "How many bytes the server reads from a socket at once.",
        "`8192`",
    ),
    "outbuf_overflow": Key(
        integer(1),
        "If more than this many bytes of a response wait for the client, the server buffers it in a temporary file.",
        "`1048576`",
    ),
    "outbuf_high_watermark": Key(
        integer(1),
        "The app's iterable is paused while more than this many bytes wait for the client.",
        "`16777216`",
    ),
    "inbuf_overflow": Key(
        integer(1),
        "A request body of more than this many bytes is buffered in a temporary file.",
        "`524288`",
    ),
    "cleanup_interval": Key(
        integer(1),
        "How many seconds pass, at least, between two searches for inactive connections.",
        "`30`",
    ),
    "channel_timeout": Key(
        integer(1),
        "A connection is closed if it is idle, or if its client takes no byte of a response, for this many seconds.",
        "`120`",
    ),
    "log_socket_errors": Key(
        boolean,
        "Log connections that the client breaks off.",
        "`true`",
    ),
    "max_request_header_size": Key(
        integer(256),
        "The largest request header, in bytes. A request with a larger one gets 431.",
        "`65536`",
    ),
    "max_request_body_size": Key(
        integer(1),
        "The largest request body, in bytes. A request with a larger one gets 413.",
        "`16777216`, or the largest `max_body` of a mount",
    ),
    "expose_tracebacks": Key(
        boolean,
        "Show the traceback of an app's exception to the client.",
        "`false`",
    ),
    "ident": Key(
        string,
        "The `Server` header of a response.",
        '`"waitress"`',
    ),
    "asyncore_loop_timeout": Key(
        integer(1, 3600),
        "How many seconds the server's loop waits for events, at most. The loop wakes up once a second in any case.",
        "`1`",
    ),
    "channel_request_lookahead": Key(
        integer(0),
        "How many further requests are read from a connection while one runs. With 1 or more, the server notices that "
        "a client has reset its connection, and does not run its waiting request.",
        "`1`",
    ),
    "server_name": Key(
        string,
        "`SERVER_NAME` of a request without `Host`.",
        '`"waitress.invalid"`',
    ),
}

#: The keys of ``[proxy]``: the fields of `ProxySettings`, with ``pass`` for ``pass_headers`` and ``user`` likewise.
PROXY_KEYS: Mapping[str, Key] = {
    "strips": Key(
        string,
        "The one fixed prefix that the proxy removes from the path. No header is involved. If it is wrong, links lead "
        "nowhere.",
        '`""`',
    ),
    "trusted": Key(
        string_or_array,
        'Addresses and networks of the proxies, and `"unix"` for the unix socket. Too wide: clients choose their '
        "address, host and scheme. Too narrow: apps see those of the proxy.",
        "`[]`",
    ),
    "x_for": Key(
        integer(0),
        "How many proxies append to `X-Forwarded-For`, which has the client's address. Too high: clients choose "
        "their address. Too low: apps see a proxy's address.",
        "`0`",
    ),
    "x_proto": Key(
        integer(0),
        "How many proxies append to `X-Forwarded-Proto`, which has the scheme. Too high: clients choose the scheme. "
        "Too low: apps make `http://` links and redirect in loops.",
        "`0`",
    ),
    "x_host": Key(
        integer(0),
        "How many proxies append to `X-Forwarded-Host`, which has the host. Too high: clients choose the host in "
        "links. Too low: links lead to the upstream.",
        "`0`",
    ),
    "x_port": Key(
        integer(0),
        "How many proxies append to `X-Forwarded-Port`, which has the port. A port in the host takes precedence. A "
        "wrong count has the same effect as for `x_host`.",
        "`0`",
    ),
    "x_prefix": Key(
        integer(0),
        "How many proxies append to `X-Forwarded-Prefix`, which goes in front of `SCRIPT_NAME`. Too high: clients "
        "choose where every link leads. Too low: links lack the prefix.",
        "`0`",
    ),
    "forwarded": Key(
        integer(0),
        "How many proxies append to `Forwarded` (RFC 7239). It replaces the `x_` keys. A wrong count has the same "
        "effects.",
        "`0`",
    ),
    "restore_prefix": Key(
        boolean,
        "Put the forwarded prefix in front of the path again, for a proxy that removes the prefix of each mount. The "
        "table is then written in public paths. If it is wrong, paths get 404.",
        "`false`",
    ),
    "pass": Key(
        array_of_strings,
        'Headers that apps get from a trusted proxy as they are, such as `["X-Forwarded-Groups"]`. From other peers '
        "they are removed. If the proxy does not set one in every request, clients choose its value.",
        "`[]`",
    ),
    "user": Key(
        string,
        "The header in which a trusted proxy tells the user that it has authenticated, such as `X-Forwarded-User`. It "
        "becomes `REMOTE_USER`. If the proxy does not set it in every request, clients choose who they are.",
        '`""`',
    ),
}

#: The keys of ``[doctor]``.
DOCTOR_KEYS: Mapping[str, Key] = {
    "key": Key(
        echo_key,
        "The key of the echo, which shows the doctor how its requests arrive: at least 32 hex digits or 22 characters "
        'of base64. `python3 -c "import secrets; print(secrets.token_hex())"` makes one.',
        "none: the echo is off",
    ),
    "allow": Key(
        array_of_strings,
        "Paths or URLs outside a mount that links may lead to. An entry that ends with a slash also allows the paths "
        "below it, except `/`, which allows the root only.",
        "`[]`",
    ),
}

#: The defaults that differ from waitress's own: 1 GiB of body, and no notice of a client that has disconnected.
WAITRESS_DEFAULTS: Mapping[str, object] = {
    "max_request_header_size": 64 * 2**10,
    "max_request_body_size": 16 * 2**20,
    "channel_request_lookahead": 1,
}

#: Waitress's adjustments that ``[server]`` rejects, each with the advice that goes into the message.
REPLACED: Mapping[str, str] = {
    **dict.fromkeys(("host", "port", "unix_socket", "sockets"), 'write listen = "host:port" or "unix:/path"'),
    "url_prefix": 'write strips = "/prefix" under [proxy]',
    **dict.fromkeys(
        ("trusted_proxy", "trusted_proxy_count", "trusted_proxy_headers", "log_untrusted_proxy_headers"),
        "write trusted and counts such as x_for = 1 under [proxy]; headers that it does not count are removed",
    ),
    "clear_untrusted_proxy_headers": "forwarding headers that [proxy] does not count are always removed",
    "asyncore_use_poll": "the server uses poll() wherever the system has it",
    "send_bytes": "waitress has deprecated it",
}
