"""The settings of startproject, with those that its deployment checklist asks for."""

from mysite.settings import *  # noqa: F403 - the way of Django's documentation
from mysite.settings import BASE_DIR

DEBUG = False
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
ROOT_URLCONF = "urls"
STATIC_ROOT = BASE_DIR / "staticfiles"
