"""Read ``mounts.toml`` and return a frozen `Config`.

Read in this order:

    app_spec    parse the name of an app: ``module:attribute`` and its other forms
    validators  check one value
    address     parse an address to listen on
    schema      every key with its validator, description and default
    reader      read the file, collect every problem, build the `Config`
"""
