"""Django's PostgreSQL backend, with a health check that needs no round trip."""

import select

from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    """Checks the connection's socket before each request, and queries the server only if there is something to read.

    An idle connection has nothing to read unless the server closed it or is about to. A cut that leaves no such trace
    is noticed by TCP keep-alive.
    """

    def is_usable(self) -> bool:
        """Return whether the connection can be used."""
        if self.connection is None or self.connection.closed or self.errors_occurred or self.in_atomic_block:
            return bool(super().is_usable())
        poll = select.poll()
        poll.register(self.connection, select.POLLIN)
        return not poll.poll(0) or bool(super().is_usable())
