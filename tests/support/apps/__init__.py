"""WSGI apps that child processes load by the path of their file. They import neither pytest nor the package support.

Their folder is on the sys.path of the child, and one process can import only one module of each name. So no file here
has a name that a test gives to an app in its own folder.
"""
