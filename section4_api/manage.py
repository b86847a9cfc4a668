#!/usr/bin/env python3
"""Django's command line, on the database of DATABASE_URL or else on the embedded one."""

import logging
import os
import sys
from pathlib import Path

from embedded_postgres import EmbeddedPostgresError, provide_database

log = logging.getLogger("manage")


def main() -> int:
    """Run one of Django's commands."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        from django.core.management import execute_from_command_line

        provide_database()
    except ModuleNotFoundError as error:
        requirements = Path(__file__).parent / "requirements.txt"
        log.error("%s is missing: python -m pip install -r %s", error.name, requirements)  # noqa: TRY400
        return 1
    except EmbeddedPostgresError as error:
        log.error("%s", error)  # noqa: TRY400
        return 1
    execute_from_command_line(sys.argv)
    return 0


if __name__ == "__main__":
    sys.exit(main())
