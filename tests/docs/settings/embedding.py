"""embedding.md is read in the root of a checkout, by a reader who has some apps."""

COPIES = {"examples": "examples"}
NAMES = {name: lambda environ, start_response: [] for name in ("tv_ws", "notes", "home", "shop", "admin")}
