"""Limit the connections that are open to a destination at a time, over all workers."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from django.db import InterfaceError, OperationalError, connection

from delivery.models import Destination
from jobs.handlers import PostponeError

BUSY_SECONDS = 0.5


@contextmanager
def hold_connection(destination: Destination) -> Iterator[None]:
    """Hold one of the connections that may be open to a destination at a time, over all workers.

    Raises:
        PostponeError: all are in use.

    """
    with connection.cursor() as cursor:
        for number in range(destination.connections):
            key = f"delivery {destination.pk} {number}"
            cursor.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 9))", (key,))
            if cursor.fetchone()[0]:
                break
        else:
            raise PostponeError(BUSY_SECONDS)
        try:
            yield
        finally:
            with suppress(OperationalError, InterfaceError):  # a session that was lost has released it
                cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 9))", (key,))
