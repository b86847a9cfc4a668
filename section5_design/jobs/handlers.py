"""Handlers: how an app above this one runs the jobs of a kind."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Protocol

from django.utils.module_loading import import_string

from jobs.queue import Lease, attempts_by_kind


class JobError(Exception):
    """The job failed; the message says why, without patient data."""

    retryable = False


class RetryableError(JobError):
    """The job failed for a reason that may go away."""

    retryable = True


class PostponeError(Exception):
    """The job cannot start now: a resource is in use. Trying again later does not count as an attempt."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


class Handler(Protocol):
    """Runs the jobs of one kind. A job may run twice: only the latest holder's result is saved."""

    def run(self, lease: Lease) -> Any:
        """Do the work and return its result.

        Raises:
            JobError: it failed; a RetryableError is tried again later.
            PostponeError: it cannot start now.

        """

    def save(self, results: Sequence[tuple[Lease, Any]]) -> None:
        """Save results, in the transaction that finishes their jobs."""

    def discard(self, lease: Lease, result: Any) -> None:
        """Clean up after a result that came too late."""


_handlers: dict[str, Handler | str] = {}
_batch = ExitStack()  # of this process, which runs one batch at a time


def close_after_batch(close: Callable[[], object]) -> None:
    """Call a function when the jobs that were claimed together have run: a handler keeps something open until then."""
    _batch.callback(close)


def end_batch() -> None:
    """Close what handlers opened for a batch."""
    _batch.close()


def register(kind: str, handler: Handler | str, max_attempts: int | None = None) -> None:
    """Register the handler of a kind of job; call it in an AppConfig's `ready`.

    Args:
        kind: names it; at most 30 characters.
        handler: runs its jobs; or the dotted path of its class, which the first process that needs it imports.
        max_attempts: how often one is attempted; by default MAX_ATTEMPTS.

    """
    _handlers[kind] = handler
    if max_attempts:
        attempts_by_kind[kind] = max_attempts


def get_handler(kind: str) -> Handler:
    """Return the handler of a kind.

    Raises:
        KeyError: no app registered one.

    """
    handler = _handlers[kind]
    if isinstance(handler, str):
        handler = _handlers[kind] = import_string(handler)()
    return handler
