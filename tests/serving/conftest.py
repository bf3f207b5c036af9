"""The fixtures of `running`: real processes, a real nginx, a real browser."""

from support.running import browser, chromium, lacking, nginx, serve, socket_path, start

__all__ = ["browser", "chromium", "lacking", "nginx", "serve", "socket_path", "start"]
