"""The HTTP server: waitress, with fair queues, limits of time, and a drain. Only this package imports waitress.

Read in this order:

    sockets        bind listening sockets
    access_log     one line for each request
    parser         parse a request as it was sent
    file_wrapper   responses that the loop sends from a file
    tasks          run a request and write its response
    fair_queue     a queue for each mount, and the threads that serve them
    channel        one client connection
    slow_requests  report requests that run for too long
    loop           run waitress's event loop, stop it, drain it
"""
