"""WSGI apps that child processes load by the path of their file. They import neither pytest nor the package support."""
