"""Serve a mount from processes of its own, under any interpreter.

The server forwards requests to workers. A worker needs no package, and its faults reach no other mount. On the side of
the server, read in this order:

    frames       the private protocol
    launch       start a worker process
    connection   one connection to a worker: send a request, read and check the frames of its response
    output       the lines that a worker prints, in the log
    worker       one worker process, from its start to its end
    pool         the workers of a mount: choose one for a request, replace them, restart them
    forwarding   the WSGI application that hands its requests to a pool
    report       the state of the workers, for the status page
    supervisor   the pools of all mounts, and the thread that supervises them
    processes    the supervisor, or the refusal of workers on Windows
    trial        load every app once, for the commands that examine a table

These run in the worker, with `frames`:

    child_main        load the app, follow the messages of the server, end with it
    child_connection  the other end of a connection, and the body of a request
    child_requests    call the app, and send its response
"""
