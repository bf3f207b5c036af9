"""Turn the name of an app into a WSGI callable. An app that fails to load does not stop the others.

Read in this order:

    module_files    find the file of a module without importing its packages
    sys_path        put the roots of the mounts on ``sys.path``, and the folders of apps behind all others
    app_check       check that an object is a WSGI application
    importing       import the module, find the attribute, call the factory, check the result
    isolation       restore the state of the process after each load
    patching        refuse apps that replace the blocking functions of the standard library
    env_files       read ``.env`` files
    environment     find variables that an app takes over from another
    eviction        remove the modules of a failed load from ``sys.modules``
    import_scan     find the names that source files import
    module_origins  refuse apps that would get each other's modules
    loader          load the apps of a whole table and wrap them in their middleware
    proxy_fix       find ProxyFix around an app
    logs            configure logging, before any app is loaded
    log_stream      keep a hanging reader of the log from blocking the threads that log
"""
