#!/usr/bin/env python3
"""Django's command line, on the database of DATABASE_URL or else on the embedded one."""

import logging
import os
import sys

from local.embedded_postgres import EmbeddedPostgresError, provide_database


def main() -> int:
    """Run a Django command."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        from django.core.management import execute_from_command_line

        provide_database()
    except ModuleNotFoundError as error:
        logging.error("%s is missing: python -m pip install -r requirements.txt", error.name)  # noqa: LOG015, TRY400
        return 1
    except EmbeddedPostgresError as error:
        logging.error("%s", error)  # noqa: LOG015, TRY400
        return 1
    from django.core.exceptions import ImproperlyConfigured

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        logging.error("%s", error)  # noqa: LOG015, TRY400
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
