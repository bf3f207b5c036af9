"""Turn the name of an app into a WSGI callable. An app that fails to load does not stop the others.

Read in this order:

    module_files      the files of modules: of those that are imported, and of those that an import would find
    sys_path          put the roots of the mounts on ``sys.path``, and the folders of apps behind all others
    app_kinds         objects of known packages that people name in place of an app
    signatures        tell an app from a factory by its parameters
    app_check         check that an object is a WSGI application
    import_advice     explain a missing file, a name that is taken, a relative import
    missing_imports   explain an import of an app that finds no module
    forking           children that apps fork: without our signals and sockets, and never beyond the app's code
    importing         import the module, find the attribute, call the factory, check the result
    blocking          refuse servers and questions that would block a load
    signal_guard      log what the signal handlers of apps raise
    import_hooks      run code on a module as soon as it has been imported
    patching          refuse apps that replace the blocking functions of the standard library
    overlap           the state to restore after loads that overlap
    isolation         restore the state of the process after each load
    env_files         read ``.env`` files
    environment       find variables that an app takes over from another
    late_reads        find variables of ``env`` that an app reads in a request
    shared_libraries  find apps that set up one library twice, such as Sentry's
    load_changes      describe what a load has changed in the process
    eviction          remove the modules of a failed load from ``sys.modules``
    import_scan       find the names that source files import
    module_origins    refuse apps that would get each other's modules
    missing_files     the files that would repair a failed import
    app_thread        a thread that runs apps, and that the process does not wait for
    load_thread       load apps in the main thread, and give up loads that hang
    places            the line of an app at which a thread is
    slow_loads        report loads that take long
    own_processes     how the loader starts mounts with processes of their own
    loaded_mount      a mount with its app, or with the reason why it has none
    loader            load the apps of a whole table
    routing           the WSGI application of loaded mounts, each app in its middleware
    own_prefix        find a loaded app that adds a prefix of its own, or names another one
    requirements      find requirements of used packages that the environment does not satisfy
    proxy_fix         find ProxyFix around an app
    app_facts         what check needs to know about a loaded app, from any process
    log_fields        the fields of log records
    json_log          logs as JSON
    logs              configure logging, before any app is loaded
    log_stream        keep a hanging reader of the log from blocking the threads that log
    standard_streams  the same for apps that print, and for ``wsgi.errors``
"""
