"""Read ``mounts.toml`` and return a frozen `Config`.

Read in this order:

    app_spec       parse the name of an app: ``module:attribute`` and its other forms
    validators     check one value
    address        parse an address to listen on
    control_path   the path of the control socket
    key            one key of the file
    own_process    the keys of a mount that has processes of its own
    status         the section of the status page
    request_id     the settings that exclude ``request_id``
    schema         every key with its validator, description and default
    toml_file      read a TOML file, or say why it cannot be read
    toml_mistakes  explain a syntax error: why, and the line to write instead
    reader         validate the document, collect every problem, build the `Config`
"""
