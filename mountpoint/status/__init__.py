"""The state of the process: its counters, and one snapshot of everything.

Read in this order:

    histogram   durations in buckets
    tally       all that is counted for one mount, in three spans of time
    text        text of clients, bounded and readable
    slowest     the slowest requests of the last hour
    exceptions  the type and the place of an app's exception
    counters    count the requests of every mount, without a wait
    process     memory and versions
    verdict     one sentence: all is well, or which mount is in trouble
    snapshot    all of it as one dict
"""
