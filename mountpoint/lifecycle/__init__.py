"""The life of the server process: start, signals, reload, takeover, stop.

Read in this order:

    serve       bind, load, serve, drain, end
    reload      SIGHUP: read the table again
    takeover    SIGUSR2: a new process takes over the listening sockets
    systemd     sockets, notifications and the watchdog of systemd
    autoreload  ``serve --reload``: restart when a file changes
"""
