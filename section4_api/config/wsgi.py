"""The WSGI application."""

import os

from django.core.wsgi import get_wsgi_application

# libpq reads it: a request waits for a lock at most 0.4 s, and a statement runs at most 60 s; manage.py has no limits.
os.environ.setdefault("PGOPTIONS", "-c statement_timeout=60000 -c lock_timeout=400")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = get_wsgi_application()
