"""The page has the examples at hand."""

COPIES = {"examples": "examples"}
NOT_RUN = {"$ mountpoint doctor mounts.toml --url https://www.example.com/": "the site is the reader's own"}
