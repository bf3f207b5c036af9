"""The commands of the control socket that change what the server does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .control_messages import DRAINING, Handler, Reply
from .restarts import MountRestarts


def changing_commands(
    state: Callable[[], str], reload: Callable[[Reply], object], restarts: MountRestarts
) -> Mapping[str, Handler]:
    """Return the handlers of ``reload`` and ``restart``. *state* is that of the server, *reload* begins a reload."""

    def unless_draining(handler: Handler) -> Handler:
        def handle(request: Mapping[str, Any], reply: Reply) -> None:
            if state() == DRAINING:
                reply.end("the server is stopping, and takes no more commands that change it", ok=False)
            else:
                handler(request, reply)

        return handle

    def restart(request: Mapping[str, Any], reply: Reply) -> None:
        name = request.get("mount")
        if isinstance(name, str) and len(name) < 1000:
            restarts.start(name, reply)
        else:
            reply.end("expected the key of a mount", ok=False)

    return {"reload": unless_draining(lambda request, reply: reload(reply)), "restart": unless_draining(restart)}
