"""The source of small apps that a test writes into its folder."""

#: The end of a module with an `app`: wsgiref's validator around it, as in apps/app_lint.py.
LINTED = """
from wsgiref.validate import validator
app = validator(app)
"""
