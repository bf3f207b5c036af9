"""``mountpoint proxy-config``: a proxy's configuration for a table, in the proxy's own language.

One module a proxy says all that there is in that language; `plan` says what is common to them. What every one of them
keeps: a mount's place ends at a segment; the path, where it is not stripped, arrives as the client sent it; ``Host`` is
the client's; of the forwarding headers those that ``[proxy]`` counts are set afresh, and the client's own never arrive;
cookies and redirects are left alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from ..config.reader import Config
from ..errors import Problem, UsageError, did_you_mean
from .plan import RenderOptions as RenderOptions
from .plan import make_plan
from .section import section

#: Each has a module of its name here.
PROXIES = ("nginx", "apache", "caddy", "haproxy", "traefik")


@dataclass(frozen=True, slots=True)
class Configuration:
    """A configuration as ``text``; ``advice`` is what the file has to say for it, empty where it says so already."""

    text: str
    advice: str = ""


def proxy_config(config: Config, proxy: str, options: RenderOptions) -> Configuration:
    """Return the configuration of *proxy* for the table of *config*. Raises `UsageError` with what cannot be meant."""
    if proxy not in PROXIES:
        expected = f"{', '.join(PROXIES[:-1])} or {PROXIES[-1]}"
        raise UsageError([Problem("", f'expected {expected}, found "{proxy}"{did_you_mean(proxy, PROXIES)}')])
    module = import_module(f".{proxy}", __name__)
    plan = make_plan(config, options, **getattr(module, "LACKS", {}))
    advice = ""
    if not plan.fits:
        advice = f"{config.file}: [proxy] does not fit this configuration; write\n\n{section(plan.trust)}\n"
    return Configuration(module.render(plan), advice)
