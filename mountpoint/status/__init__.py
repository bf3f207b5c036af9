"""The status page: what the server does, as HTML, JSON, metrics and health checks, at an address of its own.

Read in this order:

    words       numbers, durations and sizes for the page
    markup      HTML in which no text becomes markup
    charts      charts as SVG
    style       the style sheet
    page        the page
    metrics     Prometheus's text format
    health      /livez and /readyz
    app         the WSGI app: routes, the key, the headers
    listener    the thread that serves the app
"""
