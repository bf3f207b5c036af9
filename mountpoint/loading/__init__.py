"""An app's name becomes a WSGI callable, and one app that fails takes no other down.

Read in this order:

    importing  import the module, find the attribute, call the factory, check the result
    isolation  restore the state of the process after each load
    loader     load the apps of a whole table and put the layers around them
    logs       configure logging, which happens before any app is loaded
"""
