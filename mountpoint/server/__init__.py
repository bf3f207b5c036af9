"""The HTTP server: waitress, with an event loop, fair queues, time-outs and a drain. No other room imports waitress.

Read in this order:

    sockets         bind listening sockets
    finished        a request that has ended, for the access log and the observer of the server
    access_json     the line of a request as JSON
    access_log      one line for each request
    head            the request line and the headers, from bytes
    body            a body with its length, or in chunks
    body_limits     a minimum rate for a body, and a bound on all bodies together
    parser          one request as it arrives: head, body and their limits
    file_wrapper    responses that the loop sends from a file
    environ         the WSGI environ of a request
    tasks           run a request and write its response
    writing         write a response to a connection, or store it until the client reads
    closing         the end of a connection: half-closed clients, and clients that still send
    deadlines       the end of a connection whose client is too slow
    channel         a client connection: read requests, find their mounts, run them
    accepting       a listening socket that cannot accept
    listener        a listening socket, and the limit of connections
    selector        what the kernel watches
    event_loop      wait for events, and call the sockets' owners
    descriptors     close the sockets in a child that an app has forked
    idle_threads    which idle thread to wake
    fair_queue      a queue for each mount, and the threads that serve the queues
    mount_queues    the limits of each mount's queue
    slow_requests   report requests that run for too long
    loop_delay      how long events wait for the loop
    loop            the server: run the event loop, stop it, drain it
    waitress_names  the list of waitress's names that all of this depends on
"""
