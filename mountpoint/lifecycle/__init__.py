"""The life of the server process: start, signals, reload, takeover, stop, and the commands that it takes.

Read in this order:

    serve              bind, load, serve, drain, exit
    binding            bind the listening sockets
    start              when the process serves, announces itself and is ready
    signals            receive signals while the main thread loads apps
    reload             load the table, and read it again at SIGHUP
    table_changes      the differences between two tables, for the log
    loaded_code        code that has changed since its import
    observing          the counters of the process, and its snapshot
    installed_code     packages outside the roots that have changed since their import
    ending             end the process: threads, pools and exit handlers of apps
    takeover           SIGUSR2: a new process takes over the listening sockets
    status_page        the listener of the status page, from the start to the end
    inheritance        the sockets and the report that the new process inherits
    systemd            the sockets, notifications and watchdog of systemd
    service_manager    report the state of the server to systemd
    control            the control socket of the serving process
    control_commands   the commands that change what the server does
    restarts           new processes for one mount
    control_place      where the control socket of a table is
    control_messages   the messages on a control socket
    control_socket     the file of a control socket: one server at a time holds it
    control_server     answer commands, in a thread of its own
    control_connection one connection of a command to a server
    control_client     find the server of a table, and ask it to do something
    autoreload         ``serve --reload``: restart the process when a file changes
"""
