"""The headers with which a proxy tells a server or an app about the client, as keys of environ.

A client can send each of them as well. `TrustedProxies` removes them all, except for those that the settings count or
pass on from a trusted peer. The comment of a group names software that believes its headers.

``X-HTTP-Method-Override`` is not in the list: an honest client sends it itself, so it is part of the app's own
interface. ``Via`` is not in it either, since it describes proxies and not the client.
"""

from __future__ import annotations

from collections.abc import Mapping

#: The first letters of families. Every header whose name starts so is a forwarding header.
FAMILIES = (
    # Servers and frameworks of all languages. oauth2-proxy sets X-Forwarded-User, -Email and -Groups, Envoy sets
    # X-Forwarded-Client-Cert, and nothing lists all names.
    "HTTP_X_FORWARDED",
    "HTTP_FORWARDED",  # RFC 7239; python-ipware also reads Forwarded-For
    # The user, from a proxy that authenticates: Authelia and Apache (Remote-User), Kubernetes (X-Remote-User),
    # oauth2-proxy with nginx (X-Auth-Request-User), authentik, Grafana and Gitea (X-WebAuth-User), AWS, Google, Azure,
    # Cloudflare and Tailscale. Django's RemoteUserMiddleware and Flask extensions read the one that an operator names.
    "HTTP_REMOTE_",
    "HTTP_X_REMOTE_",
    "HTTP_X_AUTH_REQUEST_",
    "HTTP_X_AUTHENTICATED_",
    "HTTP_X_AUTHENTIK_",
    "HTTP_X_WEBAUTH_",
    "HTTP_X_AMZN_OIDC_",
    "HTTP_X_GOOG_AUTHENTICATED_USER_",
    "HTTP_X_MS_CLIENT_PRINCIPAL",
    "HTTP_CF_ACCESS_AUTHENTICATED_",
    "HTTP_TAILSCALE_USER_",
    # The certificate of the client, from a proxy that ends TLS: examples for nginx, Apache and HAProxy.
    "HTTP_X_SSL_",
    "HTTP_SSL_CLIENT_",
)

_CLIENT = (
    "X-Real-IP",  # nginx's examples; Tornado, Falcon
    "X-Client-IP",  # Azure, Akamai; python-ipware, Express's request-ip
    "X-Cluster-Client-IP",  # Rackspace, Riverbed; python-ipware
    "True-Client-IP",  # Akamai, Cloudflare; python-ipware, chi's RealIP
    "Client-IP",  # Rails (ActionDispatch::RemoteIp), PHP
    "CF-Connecting-IP",  # Cloudflare; python-ipware
    "CF-Connecting-IPv6",
    "CF-Pseudo-IPv4",
    "Fastly-Client-IP",  # python-ipware
    "Fly-Client-IP",
    "DO-Connecting-IP",  # DigitalOcean
    "X-AppEngine-User-IP",
    "X-Azure-ClientIP",
    "X-Azure-SocketIP",
    "X-Envoy-External-Address",
    "X-Originating-IP",
    "Proxy-Client-IP",  # WebLogic; Java utilities
    "WL-Proxy-Client-IP",
    "X-Forward-For",
    "X-Client-Cert",
    "X-Client-DN",
    "X-Client-Verify",
    "X-ARR-ClientCert",  # IIS and Azure
)
_SCHEME = (
    "Front-End-Https",  # Microsoft ISA and TMG; Exchange, Ruby and PHP apps
    "X-Scheme",  # Tornado
    "X-Url-Scheme",  # nginx's examples for Pylons and PHP
    "X-Forward-Proto",
    "X-ARR-SSL",  # IIS and Azure; WordPress, Redmine's plugins
    "X-AppService-Proto",
    "CF-Visitor",  # Cloudflare; WordPress
    "CloudFront-Forwarded-Proto",
    "Fastly-SSL",
    "WL-Proxy-SSL",
)
_TARGET = (
    "X-Original-URL",  # IIS; Symfony and Zend up to 2018, Express middleware, nginx's auth_request
    "X-Rewrite-URL",  # IIS; Symfony and Zend up to 2018, PHP frameworks
    "X-Original-URI",
    "X-Original-Path",
    "X-Original-Method",
    "X-Original-Host",
    "X-Original-Scheme",
    "X-Original-Forwarded-For",  # the nginx of Kubernetes
    "X-Original-Remote-Addr",  # mod_proxy's and Rack's examples
    "X-Envoy-Original-Path",
    "X-Replaced-Path",  # Traefik
    "X-WAWS-Unencoded-URL",  # Azure
    "Disguised-Host",  # Azure
    "X-Host",
    "X-HTTP-Host-Override",
    "X-Script-Name",  # the recipe with which Flask apps get a prefix
    "X-Forward-Host",
    "Script-Name",  # gunicorn, if its `forwarder_headers` trusts the peer
    "Path-Info",
)


def variable(header: str) -> str:
    """Return the key of environ for *header*.

    >>> variable("X-Real-IP")
    'HTTP_X_REAL_IP'
    """
    return f"HTTP_{header.upper().replace('-', '_')}"


#: The forwarding headers with a name of their own, by their keys of environ.
NAMES = frozenset(map(variable, _CLIENT + _SCHEME + _TARGET))

#: Keys of earlier requests that are not forwarding headers, so that most requests cost one comparison of two sets.
#: Clients choose names, so the number of names and their length are bounded.
_HARMLESS: set[str] = set()
_MOST_HARMLESS, _LONGEST_HARMLESS = 1000, 64


def forwarding_variables(environ: Mapping[str, object]) -> list[str]:
    """Return the keys in *environ* that are forwarding headers, in no particular order.

    >>> sorted(forwarding_variables({"HTTP_X_FORWARDED_SSL": "on", "HTTP_X_REAL_IP": "::1", "REMOTE_ADDR": "::1"}))
    ['HTTP_X_FORWARDED_SSL', 'HTTP_X_REAL_IP']
    """
    if environ.keys() <= _HARMLESS:
        return []
    found = []
    for name in set(environ) - _HARMLESS:
        if name in NAMES or name.startswith(FAMILIES):
            found.append(name)
        elif len(_HARMLESS) < _MOST_HARMLESS and len(name) <= _LONGEST_HARMLESS:
            _HARMLESS.add(name)
    return found
