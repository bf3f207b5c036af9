"""The life of the server process: start, signals, reload, takeover, stop.

Read in this order:

    serve       bind, load, serve, drain, exit
    reload      SIGHUP: read the table again
    takeover    SIGUSR2: a new process takes over the listening sockets
    inheritance the sockets and the report that the new process inherits
    systemd     the sockets, notifications and watchdog of systemd
    autoreload  ``serve --reload``: restart the process when a file changes
"""
