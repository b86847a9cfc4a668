"""Changes to labels, each with its audit event."""

from django.db import transaction

from archive.models import Study
from audit.events import Subject, record_event
from portal.models import StudyLabel


@transaction.atomic
def add_label(study: Study, text: str, actor: str, address: str = "") -> None:
    """Add a label to a study."""
    if StudyLabel.objects.get_or_create(study=study, text=text)[1]:
        record_event("labelled", actor, f"added {text}", subject=Subject(study_uid=study.uid), address=address)


@transaction.atomic
def remove_label(study: Study, text: str, actor: str, address: str = "") -> None:
    """Remove a label from a study."""
    if StudyLabel.objects.filter(study=study, text=text).delete()[0]:
        record_event("labelled", actor, f"removed {text}", subject=Subject(study_uid=study.uid), address=address)
