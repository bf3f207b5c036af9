"""The state of the process: its counters, one snapshot of them, and the page, metrics and checks that show it.

Read in this order:

    histogram   durations in buckets
    tally       all that is counted for one mount, in three spans of time
    text        text of clients, bounded and readable
    slowest     the slowest requests of the last hour
    exceptions  the type and the place of an app's exception
    counters    count the requests of every mount, without a wait
    process     the versions of its parts
    verdict     one sentence: all is well, or which mount is in trouble
    snapshot    all of it as one dict
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
