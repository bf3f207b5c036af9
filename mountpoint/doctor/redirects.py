"""Follow the redirects from one URL, so that two responses are compared at the ends of their chains.

A site may redirect a URL where its copy in this process responds at once, for example after a login. So a response that
was followed is compared only with one that was followed too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .addresses import origin_of
from .fetch import ProbeResult, Site

LONGEST_CHAIN = 10  # redirects


class Followed(NamedTuple):
    """The last response of a chain of redirects, and the URLs of the chain, in their order.

    *is_loop* is true if the last response redirects to a URL of the chain, or if the chain is too long.
    """

    result: ProbeResult
    chain: Sequence[str]
    is_loop: bool = False

    @property
    def fails(self) -> bool:
        """Whether a browser gets no page."""
        return self.is_loop or self.result.fails


def follow(site: Site, url: str) -> Followed:
    """Follow the redirects from *url* as long as they stay at the origin of *site*. Raises as `Site.get` does."""
    result, chain = site.get(url), [url]
    while result.location and origin_of(result.location) == site.origin:
        if result.location in chain or len(chain) > LONGEST_CHAIN:
            return Followed(result, chain, is_loop=True)
        chain.append(result.location)
        result = site.get(result.location)
    return Followed(result, chain)
