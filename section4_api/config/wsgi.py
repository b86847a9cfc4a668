"""The WSGI application."""

import os
import threading
import time

from django.core.wsgi import get_wsgi_application


def exit_when_orphaned() -> None:
    """End this process when its parent was killed: a worker left behind would go on serving on the parent's port."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
if os.environ.get("EXIT_WITH_PARENT") == "1":
    threading.Thread(target=exit_when_orphaned, daemon=True).start()
application = get_wsgi_application()
