"""Where the control socket of a table is, for the server that makes it and for the commands that look for it.

The path follows from the real path of the table: two servers with different tables never meet. It does not follow from
``TMPDIR`` or ``XDG_RUNTIME_DIR``, because a service and a login shell of one user have different ones, and because the
second is removed when the user logs out.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

_RUN = Path("/run")  # exists on Linux
_NAME = "mountpoint"
_SUFFIX = ".sock"


def socket_name(file: Path) -> str:
    """Return the name of the socket for the table in *file*: the 64-bit FNV-1a hash of its real path, in hex.

    `hashlib` would load the library of OpenSSL at each start. Only the user of the server can make files in the folder,
    so a hash that an attacker cannot invert would protect from nothing.
    """
    found = 0xCBF29CE484222325
    for byte in os.fsencode(os.path.realpath(file)):
        found = (found ^ byte) * 0x100000001B3 % 2**64
    return f"{found:016x}{_SUFFIX}"


def default_path(file: Path) -> Path:
    """Return the path of the socket that this process makes for the table in *file*, and make its folder.

    The folder is ``/run/mountpoint`` for root, and for a user that owns it, as with ``RuntimeDirectory=mountpoint`` of
    systemd. Otherwise it is ``/tmp/mountpoint-UID``. Raises OSError if the folder cannot be made, or if others may
    write to it.
    """
    if sys.platform == "win32":
        raise NotImplementedError
    user = os.geteuid()
    folder = _RUN / _NAME
    if not (_is_folder_of(folder, user) or (user == 0 and _is_folder_of(_RUN, 0))):
        folder = _temporary() / f"{_NAME}-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if not _is_folder_of(folder, user):
        raise PermissionError(f"{folder} is not a folder that only user {user} may write to; remove it")
    return folder / socket_name(file)


def known_folders() -> Iterator[Path]:
    """Yield each existing folder in which a server may have made a socket that this process may use."""
    if sys.platform == "win32":
        return
    user = os.geteuid()
    run = _RUN / _NAME
    if (owner := _owner(run)) is not None and user in (0, owner):
        yield run
    found = [_temporary() / f"{_NAME}-{user}"] if user else sorted(_temporary().glob(f"{_NAME}-*"))
    for folder in found:
        owner = _owner(folder)
        if owner is not None and folder.name == f"{_NAME}-{owner}":
            yield folder


def sockets_in(folder: Path) -> list[Path]:
    """Return the sockets of all tables in *folder*."""
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == _SUFFIX)
    except OSError:
        return []


def _temporary() -> Path:
    folder = Path("/tmp")  # noqa: S108 - the folders in it are checked
    if folder.is_dir():
        return folder
    import tempfile  # here, because nearly every system has /tmp, and the import takes 2 ms of a start

    return Path(tempfile.gettempdir())


def _owner(folder: Path) -> int | None:
    """Return the user that owns *folder*, None if others may write to it, or if it is not a folder."""
    try:
        state = folder.lstat()
    except OSError:
        return None
    return state.st_uid if stat.S_ISDIR(state.st_mode) and not state.st_mode & 0o022 else None


def _is_folder_of(folder: Path, user: int) -> bool:
    return _owner(folder) == user
