"""The page has the examples at hand."""

COPIES = {"examples": "examples"}
