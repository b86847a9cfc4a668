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
    from django.db import InterfaceError, OperationalError, ProgrammingError
    from psycopg2.errors import UndefinedTable

    try:
        execute_from_command_line(sys.argv)
    except (ImproperlyConfigured, OSError) as error:  # a folder, or the object store
        logging.error("%s", error)  # noqa: LOG015, TRY400
    except (OperationalError, InterfaceError) as error:
        reason = str(error).partition("\n")[0]
        logging.error("The database does not respond, start it or check DATABASE_URL: %s", reason)  # noqa: LOG015, TRY400
    except ProgrammingError as error:
        if not isinstance(error.__cause__, UndefinedTable):
            raise
        logging.error("The database has no tables: run `manage.py migrate` first")  # noqa: LOG015, TRY400
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
