"""Turn the name of an app into a WSGI callable. An app that fails to load does not stop the others.

Read in this order:

    sys_path    put the roots of the mounts on ``sys.path``
    app_check   check that an object is a WSGI application
    forking     children that apps fork: without our signals and sockets, and never beyond the app's code
    importing   import the module, find the attribute, call the factory, check the result
    isolation   restore the state of the process after each load
    eviction    remove the modules of a failed load from ``sys.modules``
    loader      load the apps of a whole table and wrap them in their middleware
    logs        configure logging, before any app is loaded
    log_stream  keep a hanging reader of the log from blocking the threads that log
"""
