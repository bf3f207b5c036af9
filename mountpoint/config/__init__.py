"""``mounts.toml`` becomes a frozen `Config`.

Read in this order:

    app_spec  how a file names an app: ``module:attribute`` and its other forms
    schema    which values each key accepts
    reader    read the file, collect every problem, build the `Config`
"""
