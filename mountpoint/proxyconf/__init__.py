"""``mountpoint proxy-config``: a proxy's configuration for a mount table, in the proxy's own language.

Each proxy has a module that knows its language; `plan` holds the decisions that all of them share. Every configuration
keeps these rules:

- A mount owns a path at a segment boundary only.
- A path that is not stripped arrives as the client sent it.
- ``Host`` is that of the client.
- The proxy sets the forwarding headers that ``[proxy]`` counts and removes all others, so no client can forge one.
- Cookies and redirects are not changed.
- Where the proxy can, it holds a slow upload back until its last byte has arrived.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from ..config.reader import Config
from ..errors import Problem, UsageError, did_you_mean
from .plan import RenderOptions as RenderOptions
from .plan import make_plan
from .section import proxy_section

#: Each proxy has a module of this name, with ``render(plan)``; with ``UNSUPPORTED`` if it lacks a `Feature`, and with
#: ``HAS_VERSIONS`` if its configuration depends on its version.
PROXIES = ("nginx", "apache", "caddy", "haproxy", "traefik")


@dataclass(frozen=True, slots=True)
class Configuration:
    """The ``text`` of a configuration, and ``advice`` about ``[proxy]``, which is empty if the file needs no change."""

    text: str
    advice: str = ""


def proxy_config(config: Config, proxy: str, options: RenderOptions) -> Configuration:
    """Return the configuration of *proxy* for the table of *config*. Raises `UsageError` with every problem."""
    if proxy not in PROXIES:
        expected = f"{', '.join(PROXIES[:-1])} or {PROXIES[-1]}"
        raise UsageError([Problem("", f'expected {expected}, found "{proxy}"{did_you_mean(proxy, PROXIES)}')])
    module = import_module(f".{proxy}", __name__)
    plan = make_plan(
        config,
        options,
        unsupported=getattr(module, "UNSUPPORTED", ()),
        has_versions=getattr(module, "HAS_VERSIONS", False),
    )
    advice = ""
    if not plan.file_has_settings:
        section = proxy_section(plan.settings)
        advice = f"{config.file}: [proxy] does not match this configuration; write\n\n{section}\n"
    return Configuration(module.render(plan), advice)
