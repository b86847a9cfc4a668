"""Labels of states for people."""

from django.utils.translation import gettext as _

from analysis.models import AnalysisJob


def label_for(job: AnalysisJob) -> str:
    """Return the label of an image's state."""
    if job.state == AnalysisJob.State.QUEUED:
        return _("Waiting for a retry") if job.attempts else _("Waiting")
    return {"running": _("Processing"), "done": _("Ready"), "quarantined": _("Quarantined")}[job.state]
