"""Changes to workers at an operator's request."""

from django.db import transaction

from audit.events import record_event
from jobs.models import Worker


@transaction.atomic
def request_drain(name: str, actor: str) -> None:
    """Ask a worker to finish its current jobs and stop."""
    Worker.objects.filter(pk=name).update(drain=True)
    record_event("drain", actor, name)
