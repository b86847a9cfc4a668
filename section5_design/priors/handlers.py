"""Run the jobs: search an archive for the priors of a study, and fetch each prior."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.db.models.functions import Now

from archive.models import Instance, Series, Study
from audit.events import Subject, record_event
from core.deadline import DeadlineError, deadline
from delivery.errors import RefusedError, UnavailableError
from jobs.handlers import JobError, RetryableError
from jobs.queue import Lease
from priors.models import Archive, Prior, Rule, Search
from priors.query_retrieve import FoundStudy, find_studies, move_study
from priors.routing import fetch

MAX_SECONDS = 100  # for one study; less than TASK_SECONDS


class SearchHandler:
    """The handler of searches; a job's subject is a search's ID."""

    def run(self, lease: Lease) -> list[str]:
        """Search and return the UIDs of the priors that the rule asks for and that are not complete here."""
        found = Search.objects.select_related("rule__archive", "study").filter(pk=lease.subject).first()
        if found is None:
            raise JobError("the study was erased, or the rule removed")
        with errors_of(found.rule.archive):
            studies = find_studies(found.rule.archive, found.study.patient_id)
        return [one.uid for one in choose_priors(found.rule, found.study, studies) if not is_complete(one)]

    def save(self, results: Sequence[tuple[Lease, list[str]]]) -> None:
        """Record the priors before they are fetched, so that none of them starts a search when it arrives."""
        for lease, uids in results:
            for one in Search.objects.select_related("rule__archive", "study").filter(pk=lease.subject):
                Search.objects.filter(pk=one.pk).update(found=len(uids))
                archive = one.rule.archive
                Prior.objects.bulk_create(
                    [Prior(archive=archive, study_uid=uid) for uid in uids], ignore_conflicts=True
                )
                fetch(list(Prior.objects.filter(archive=archive, study_uid__in=uids)))
                detail = f"archive {archive.name}: {len(uids)} earlier studies to fetch"
                record_event("queried", lease.worker, detail, subject=Subject(study_uid=one.study.uid))

    def discard(self, lease: Lease, result: list[str]) -> None:
        """Do nothing: the attempt that holds the lease searched too."""


class FetchHandler:
    """The handler of fetches; a job's subject is a prior's ID."""

    def run(self, lease: Lease) -> int:
        """Let the archive send a prior; return how many images it sent."""
        prior = Prior.objects.select_related("archive").filter(pk=lease.subject).first()
        if prior is None:
            raise JobError("the study was erased, or the archive removed")
        with errors_of(prior.archive):
            return move_study(prior.archive, prior.study_uid)

    def save(self, results: Sequence[tuple[Lease, int]]) -> None:
        """Record what was fetched."""
        for lease, images in results:
            Prior.objects.filter(pk=lease.subject).update(images=images, fetched_at=Now())

    def discard(self, lease: Lease, result: int) -> None:
        """Do nothing: images that arrive twice are stored once."""


@contextmanager
def errors_of(archive: Archive) -> Iterator[None]:
    """Limit the time, and raise what an archive answers as the error of a job.

    Raises:
        JobError: it is disabled, or refused.
        RetryableError: it is not available now.

    """
    if not archive.enabled:
        raise JobError(f"{archive.name} is disabled")
    try:
        with deadline(MAX_SECONDS):
            yield
    except RefusedError as error:
        raise JobError(f"{archive.name} {error}") from None
    except UnavailableError as error:
        raise RetryableError(f"{archive.name} {error}") from None
    except DeadlineError:
        raise RetryableError(f"{archive.name} took more than {MAX_SECONDS} seconds") from None


def choose_priors(rule: Rule, study: Study, found: Sequence[FoundStudy]) -> list[FoundStudy]:
    """Return the studies that a rule asks for: earlier than an arriving one, the newest first.

    Studies of somebody else under the same Patient ID, by the birth date, are left out. A value that is unknown, here
    or there, excludes nothing.
    """
    own = {modality for modality in Series.objects.filter(study=study).values_list("modality", flat=True) if modality}
    earlier = [
        one
        for one in found
        if one.uid != study.uid
        and (not study.study_date or (one.date, one.time) < (study.study_date, study.study_time or "~"))
        and (not (one.birth_date and study.patient_birth_date) or one.birth_date == study.patient_birth_date)
        and (not (rule.same_modality and one.modalities and own) or own & set(one.modalities))
    ]
    return sorted(earlier, key=lambda one: (one.date, one.time), reverse=True)[: rule.newest]


def is_complete(one: FoundStudy) -> bool:
    """Return whether as many images of a study are stored here as the archive has."""
    if not one.images:
        return False
    stored = Instance.objects.filter(series__study__uid=one.uid).values("sop_instance_uid").distinct()
    return stored.count() >= one.images
