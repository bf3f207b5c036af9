"""The embeddable core: WSGI in, WSGI out. It opens no file and no socket, and imports neither waitress nor tomllib.

Read in this order:

    keys                a mount's key and the value of ``Host``, as the forms that are compared
    percent             percent-encoding of paths, queries and URLs
    table               which mount owns a path
    record              the facts about one request that every layer shares
    responses           the responses that mountpoint makes itself
    app_header          check the status and the headers of an app
    app_body            check the body of an app
    dispatch            move the prefix from ``PATH_INFO`` to ``SCRIPT_NAME`` and call the app
    forwarding_headers  the headers of proxies that clients can send too
    proxy_settings      which proxies to trust, and for which headers
    proxies             rewrite environ from the headers of trusted proxies
    request_id          the id of a request, from a trusted proxy or new
    limits              concurrent requests and body size of one app
    mount_env           put the ``env`` of a mount into environ
    cookies             give cookies the path of their mount
    echo                report to ``mountpoint doctor`` how a request arrived
    router              all layers as one WSGI application
    target              split a request target into authority, path and query
"""
