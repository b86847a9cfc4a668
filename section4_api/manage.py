#!/usr/bin/env python3
"""Django's command line, on the database of DATABASE_URL or else on the embedded one."""

import os
import sys

from embedded_postgres import provide_database
from main import explain_errors


def run() -> int:
    """Run one of Django's commands."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.core.management import execute_from_command_line

    provide_database()
    execute_from_command_line(sys.argv)
    return 0


if __name__ == "__main__":
    sys.exit(explain_errors(run))
