"""Handlers: how an app above this one runs the jobs of a kind."""

from collections.abc import Sequence
from typing import Any, Protocol

from jobs.queue import Lease


class JobError(Exception):
    """The job failed; the message says why, without patient data."""

    retryable = False


class RetryableError(JobError):
    """The job failed for a reason that may go away."""

    retryable = True


class Handler(Protocol):
    """Runs the jobs of one kind. A job may run twice: only the latest holder's result is saved."""

    def run(self, lease: Lease) -> Any:
        """Do the work and return its result.

        Raises:
            JobError: it failed; a RetryableError is tried again later.

        """

    def save(self, results: Sequence[tuple[Lease, Any]]) -> None:
        """Save results, in the transaction that finishes their jobs."""

    def discard(self, lease: Lease, result: Any) -> None:
        """Clean up after a result that came too late."""


_handlers: dict[str, Handler] = {}


def register(kind: str, handler: Handler) -> None:
    """Register the handler of a kind of job; call it in an AppConfig's `ready`."""
    _handlers[kind] = handler


def get_handler(kind: str) -> Handler:
    """Return the handler of a kind.

    Raises:
        KeyError: no app registered one.

    """
    return _handlers[kind]
