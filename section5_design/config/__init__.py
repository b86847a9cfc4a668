"""The project: settings, addresses, Celery, WSGI."""
