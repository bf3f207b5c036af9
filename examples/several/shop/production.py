"""The settings of startproject, with those that its deployment checklist and the pages of WhiteNoise ask for."""

import os

from mysite.settings import *  # noqa: F403 - the way of Django's documentation
from mysite.settings import BASE_DIR, MIDDLEWARE

DEBUG = False
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
STATIC_URL = os.environ.get("STATIC_URL", "static/")  # WhiteNoise reads it before a request has told the prefix
WHITENOISE_STATIC_PREFIX = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
MIDDLEWARE = [MIDDLEWARE[0], "whitenoise.middleware.WhiteNoiseMiddleware", *MIDDLEWARE[1:]]
