"""commands.md is read in the root of a checkout."""

COPIES = {"examples": "examples"}
