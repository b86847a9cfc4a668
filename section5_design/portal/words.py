"""States in words that a radiographer understands."""

from django.utils.translation import gettext as _

from processing.models import Job


def word_of(job: Job) -> str:
    """What is going on with an image."""
    if job.state == Job.State.QUEUED:
        return _("Waiting to be tried again") if job.attempts else _("Waiting")
    return {"running": _("Being processed"), "done": _("Ready"), "quarantined": _("Set aside")}[job.state]
