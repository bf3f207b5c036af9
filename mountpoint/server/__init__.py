"""The HTTP server: waitress, with fair queues, time-outs and a graceful drain. Only this package imports waitress.

Read in this order:

    sockets         bind listening sockets
    access_log      one line for each request
    head            the request line and the headers, from bytes
    body            a body with its length, or in chunks
    body_limits     a minimum rate for a body, and a bound on all bodies together
    parser          one request as it arrives: head, body and their limits
    file_wrapper    responses that the loop sends from a file
    environ         the WSGI environ of a request
    app_header      check the status and the headers of an app
    app_body        check the body of an app
    tasks           run a request and write its response
    closing         the end of a connection: half-closed clients, and clients that still send
    accepting       a listening socket that cannot accept
    channel         a client connection and its listener
    descriptors     close the sockets in a child that an app has forked
    fair_queue      a queue for each mount, and the threads that serve the queues
    slow_requests   report requests that run for too long
    loop            run the event loop of waitress, stop it, drain it
    waitress_names  the list of waitress's names that all of this depends on
"""
