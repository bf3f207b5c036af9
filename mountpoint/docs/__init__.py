"""``mountpoint docs``: the manual, as the Markdown files of this folder."""

from __future__ import annotations

from ..errors import Problem, UsageError, did_you_mean

#: Every page in the order of reading, with the line that ``mountpoint docs`` prints for it.
PAGES = {
    "getting-started": "a first table, with Flask, Django, Bottle, Pyramid, Falcon, CherryPy and Dash",
    "file": "every section and key of mounts.toml",
    "commands": "every command and option, with exit codes",
    "proxy": "nginx, Apache, Caddy, HAProxy and Traefik in front",
    "operating": "signals, systemd, containers, limits",
    "status": "the status page, metrics, health checks",
    "logs": "the access log, request ids, your own set-up of logging",
    "sharing": "apps that share a process: queues, isolation, limits of both",
    "several-apps": "apps that can share a process, the cost of a process, a recipe for each kind of app",
    "more-cores": "several processes for an app or for the table, two hosts, containers, Kubernetes",
    "embedding": "the dispatcher inside gunicorn, cheroot, uWSGI and wsgiref",
    "rules": "the numbered rules of dispatch",
    "performance": "every figure, and how to measure it",
    "troubleshooting": "causes and fixes, by symptom",
    "security": "threats, defences and their limits",
    "how-it-works": "the path of one request, threads, and where each module belongs",
    "changes": "the history of releases",
}


def read_page(name: str) -> str:
    """Return the Markdown of the page *name*. Raises `UsageError` if the manual has no such page.

    >>> read_page("rule")
    Traceback (most recent call last):
    mountpoint.errors.UsageError: expected a page of the manual, found "rule"; did you mean "rules"?
    """
    if name not in PAGES:
        hint = did_you_mean(name, PAGES) or '; "mountpoint docs" lists them'
        raise UsageError([Problem("", f'expected a page of the manual, found "{name}"{hint}')])
    from importlib.resources import files

    return files(__name__).joinpath(f"{name}.md").read_text(encoding="utf-8")
