"""What people may do: set archives and rules, fetch the priors of a study, try again."""

from django.db import transaction
from django.db.models import OuterRef, QuerySet, Subquery

from archive.models import Study
from audit.events import Subject, record_event
from jobs.models import Job
from jobs.queue import delete_jobs, requeue
from priors.models import Archive, Prior, Rule, Search
from priors.routing import FETCH, SEARCH, search


@transaction.atomic
def save_archive(archive: Archive, actor: str) -> None:
    """Create or change an archive.

    Raises:
        ValidationError: it is not complete.

    """
    archive.full_clean()
    archive.save()
    state = "" if archive.enabled else " (disabled)"
    record_event("destination", actor, f"archive {archive.name} is {archive.address}{state}")


@transaction.atomic
def remove_archive(archive: Archive, actor: str) -> None:
    """Remove an archive with its rules, searches and fetches; what was fetched stays."""
    record_event("destination", actor, f"archive {archive.name} removed")
    delete_jobs(FETCH, list(archive.priors.values_list("pk", flat=True)))
    for rule in archive.rules.all():
        delete_searches(rule)
    archive.delete()


@transaction.atomic
def save_rule(rule: Rule, actor: str) -> None:
    """Create or change a rule; it applies to what arrives from now on.

    Raises:
        ValidationError: it is not complete.

    """
    rule.full_clean()
    rule.save()
    record_event("destination", actor, f"prior rule {rule.pk}: {rule}")


@transaction.atomic
def remove_rule(rule: Rule, actor: str) -> None:
    """Remove a rule with its searches; fetches that were found go on."""
    record_event("destination", actor, f"prior rule {rule.pk} removed: {rule}")
    delete_searches(rule)
    rule.delete()


def delete_searches(rule: Rule) -> None:
    """Delete the searches of a rule with their jobs."""
    delete_jobs(SEARCH, list(rule.searches.values_list("pk", flat=True)))
    rule.searches.all().delete()


@transaction.atomic
def search_for(study: Study, actor: str) -> int:
    """Search for the priors of a stored study by every rule, also again; return the number of rules."""
    rules = list(Rule.objects.filter(enabled=True, archive__enabled=True))
    for rule in rules:
        delete_jobs(SEARCH, list(Search.objects.filter(rule=rule, study=study).values_list("pk", flat=True)))
        Search.objects.filter(rule=rule, study=study).delete()
        search(rule, [study])
    record_event("requeued", actor, f"{len(rules)} searches for priors", subject=Subject(study_uid=study.uid))
    return len(rules)


def retry(prior: Prior, actor: str) -> bool:
    """Fetch a prior again whose job is quarantined; False if it is not."""
    job = Job.objects.filter(kind=FETCH, subject=prior.pk).first()
    return job is not None and requeue(job.pk, actor)


def list_searches() -> QuerySet[Search]:
    """Return searches with `state` and `reason` of their jobs, the latest first."""
    job = Job.objects.filter(kind=SEARCH, subject=OuterRef("pk"))
    state, reason = (Subquery(job.values(name)) for name in ("state", "reason"))
    found = Search.objects.annotate(state=state, reason=reason).select_related("rule__archive", "study")
    return found.order_by("-pk")


def list_priors() -> QuerySet[Prior]:
    """Return priors with `state`, `reason` and `attempts` of their jobs, the latest first."""
    job = Job.objects.filter(kind=FETCH, subject=OuterRef("pk"))
    state, reason, attempts = (Subquery(job.values(name)) for name in ("state", "reason", "attempts"))
    return (
        Prior.objects.annotate(state=state, reason=reason, attempts=attempts).select_related("archive").order_by("-pk")
    )
