"""Which mount owns a path: the pure heart of mountpoint.

A mount table is a set of *keys*, ``[host]/path``, each with an app. It maps the path and the host of a request to the
one mount that owns them. It does no I/O, calls no app and depends on nothing.

A mount owns a path at a segment boundary: ``/shop`` owns ``/shop`` and ``/shop/cart``, but not ``/shopping``. If
several mounts own a path, the longest wins. So the prefixes form a tree of segments, and a look-up walks down from the
root along the segments of the path::

    /shop/admin/users       ""   shop   admin

The walk ends as soon as no mount lies deeper. So it takes at most as many steps as the deepest prefix has segments. The
number of mounts does not matter.

Paths are *WSGI strings* (PEP 3333): bytes decoded as latin-1. Keys are written for people, in plain Unicode, and are
matched as their UTF-8 bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from ..errors import ConfigError, Problem
from .keys import host_name, split_key, wsgi_string

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

Slash = Literal["redirect", "pass", "serve"]
DotSegments = Literal["refuse", "pass"]


@dataclass(frozen=True, slots=True)
class Mount:
    """An app and the place where it is mounted.

    ``key`` is ``[host]/path``: ``/shop`` for every host, ``admin.example.com/shop`` for one host, ``*.example.com/``
    for its subdomains. One trailing slash is dropped. Both ``/`` and the empty string are the root.

    ``slash`` is the rule for the exact prefix: ``"redirect"`` sends GET and HEAD to the slash form, ``"pass"`` calls
    the app with an empty ``PATH_INFO``, and ``"serve"`` calls it with ``/``, for every method. ``dot_segments`` is the
    rule for a path with a ``.`` or ``..`` segment: ``"refuse"`` responds 400, ``"pass"`` calls the app.

    A mount with a mistake raises nothing. The `MountTable` raises instead, so that it can name all mistakes at once.

    >>> mount = Mount("Example.com/caf\u00e9/", app)
    >>> mount.key, mount.host, mount.prefix.encode("latin-1").decode()
    ('example.com/caf\u00e9', 'example.com', '/caf\u00e9')
    """

    key: str
    app: WSGIApplication
    slash: Slash = "redirect"
    dot_segments: DotSegments = "refuse"
    #: The host in lower case, with ``*.`` in front for its subdomains; empty for every host.
    host: str = field(init=False, repr=False, compare=False)
    #: The path as it stands in ``PATH_INFO``: a WSGI string, empty for the root.
    prefix: str = field(init=False, repr=False, compare=False)
    #: Whether the key is valid, even if another argument is not.
    has_valid_key: bool = field(init=False, repr=False, compare=False)
    #: All mistakes of this mount.
    problems: tuple[Problem, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        problems = []
        host = path = ""
        try:
            host, path = split_key(self.key)
        except ValueError as error:
            problems.append(Problem(str(self.key), str(error)))
        else:
            object.__setattr__(self, "key", host + (path or "/"))
        has_valid_key = not problems
        for name, choices in (("slash", get_args(Slash)), ("dot_segments", get_args(DotSegments))):
            if (value := getattr(self, name)) not in choices:
                *others, last = map(repr, choices)
                expected = f"{', '.join(others)} or {last}"
                problems.append(Problem(str(self.key), f"{name}: expected {expected}, found {value!r}"))
        if not callable(self.app):
            problems.append(Problem(str(self.key), f"expected a WSGI application (a callable), found {self.app!r}"))
        object.__setattr__(self, "has_valid_key", has_valid_key)
        object.__setattr__(self, "host", host)
        object.__setattr__(self, "prefix", wsgi_string(path))
        object.__setattr__(self, "problems", tuple(problems))


class Match(NamedTuple):
    """A mount and the two halves of the path that it owns: ``script_name + path_info`` is the whole path."""

    mount: Mount
    script_name: str
    path_info: str


class MountTable:
    """The mounts of one dispatcher. A table does not change.

    Raises `ConfigError`, which names every bad mount, if a key is not ``[host]/path``, if two mounts have the same host
    and path, or if *mounts* is empty.

    >>> table = MountTable([Mount("/shop", app), Mount("/shop/admin", app)])
    >>> match = table.resolve("/shop/admin/users")
    >>> match.script_name, match.path_info
    ('/shop/admin', '/users')
    >>> table.resolve("/shopping") is None
    True
    """

    def __init__(self, mounts: Iterable[Mount]) -> None:
        self._mounts = tuple(mounts)
        problems: list[Problem] = []
        hosts: dict[str, _HostMounts] = {"": _HostMounts()}
        for mount in self._mounts:
            if not isinstance(mount, Mount):
                problems.append(Problem("", f"expected a Mount, found a {type(mount).__name__}; write Mount(key, app)"))
                continue
            problems += mount.problems
            if mount.has_valid_key and not hosts.setdefault(mount.host, _HostMounts()).add(mount):
                problems.append(Problem(mount.key, "expected one mount with this key, found two; remove one of them"))
        if not self._mounts:
            problems.append(Problem("", 'expected at least one mount, found none; write one, such as "/" for the root'))
        if problems:
            raise ConfigError(problems)
        any_host = self._any_host = hosts.pop("")
        self._hosts = hosts
        self._most_labels = max((host.count(".") for host in hosts if host.startswith("*.")), default=0)
        #: Whether any key names a host. If not, the host of a request does not matter, and may be malformed.
        self.names_hosts = bool(hosts)
        #: Called with a ``PATH_INFO``; returns the mount for every host that owns it, or None.
        self.owner: Callable[[str], Mount | None] = any_host.owner

    def __iter__(self) -> Iterator[Mount]:
        """Iterate over the mounts, in the order in which they were given."""
        return iter(self._mounts)

    def __len__(self) -> int:
        return len(self._mounts)

    def resolve(self, path_info: str, host: str = "") -> Match | None:
        """Return the most specific mount that owns *path_info*, a WSGI string, or None.

        *host* is the value of ``Host``, with its port. A malformed host matches only mounts without a host. The path
        is not normalised: repeated slashes, case and dot segments are left to the caller. No mount owns ``*`` or
        another path that does not start with a slash.
        """
        if path_info and path_info[0] != "/":
            return None
        mount = self.owner_at_host(path_info, (host_name(host) or "") if self.names_hosts else "")
        if mount is None:
            return None
        return Match(mount, mount.prefix, path_info[len(mount.prefix) :])

    def owner_at_host(self, path_info: str, host: str) -> Mount | None:
        """Return the mount that owns *path_info* at *host*, which `host_name` has returned, or None."""
        for host_mounts in self._covering(host):
            mount = host_mounts.owner(path_info)
            if mount is not None:
                return mount
        return self._any_host.owner(path_info)

    def _covering(self, host: str) -> Iterator[_HostMounts]:
        """Yield the mounts at exactly *host*, then at the wildcards that cover it, longest first; see `host_covers`."""
        if host in self._hosts:
            yield self._hosts[host]
        if self._most_labels:
            labels = host.split(".")
            # A wildcard covers one label or more, so the domain after its "*." has at most n - 1 of n labels.
            for count in range(min(len(labels) - 1, self._most_labels), 0, -1):
                host_mounts = self._hosts.get("*." + ".".join(labels[-count:]))
                if host_mounts is not None:
                    yield host_mounts


#: A segment of a prefix: the mount whose prefix ends here, or None, and the nodes of the segments below it, or None.
_Node = list[Any]


class _HostMounts:
    """The mounts of one host, as a tree of the segments of their prefixes."""

    __slots__ = ("_depth", "_root", "_tree")

    def __init__(self) -> None:
        self._root: Mount | None = None
        #: By the first segment of a path, which is the empty one before its first slash.
        self._tree: dict[str, _Node] = {}
        self._depth = 1  # segments in the longest prefix

    def add(self, mount: Mount) -> bool:
        """Add *mount*; return False if another mount has its prefix already."""
        *above, last = mount.prefix.split("/")
        nodes = self._tree
        for segment in above:
            node = nodes.setdefault(segment, [None, None])
            if node[1] is None:
                node[1] = {}
            nodes = node[1]
        node = nodes.setdefault(last, [None, None])
        if node[0] is not None:
            return False
        node[0] = mount
        if not mount.prefix:
            self._root = mount
        self._depth = max(self._depth, len(above) + 1)
        return True

    def owner(self, path: str) -> Mount | None:
        """Return the mount with the longest prefix that ends where a segment of *path* ends."""
        owner = self._root  # also of a path that does not start with a slash
        nodes = self._tree
        # The table bounds the number of segments, not the path. (A call of find() for each of them takes longer.)
        for segment in path.split("/", self._depth):
            node = nodes.get(segment)
            if node is None:
                break
            mount, nodes = node
            if mount is not None:
                owner = mount
            if nodes is None:
                break
        return owner
