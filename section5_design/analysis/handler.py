"""Run the jobs of the default analysis: read the instance, analyse it, save the result."""

from collections.abc import Sequence
from typing import Any, BinaryIO, NamedTuple

from django.conf import settings
from django.db import connection
from django.dispatch import receiver

from analysis.contract import Context, UnprocessableError
from analysis.functions import call_function, encode_figures
from analysis.models import Result
from analysis.registry import find_version
from archive.encryption import ObjectIntegrityError
from archive.object_store import object_key, open_object, preview_key, store
from archive.signals import instances_erased
from archive.spool import SpoolFile, StorageFullError, map_disk_full
from core import metrics
from jobs.handlers import JobError, RetryableError, close_after_batch
from jobs.queue import Lease, delete_jobs, parse_subject

KIND = "analysis"
SAVE = """
    INSERT INTO analysis_result (instance_id, fencing_token, analysis, version, figures, preview)
    SELECT instance_id, token, %(analysis)s, %(version)s, figures::jsonb, preview
    FROM unnest(%(instances)s::bigint[], %(tokens)s::int[], %(figures)s::text[], %(previews)s::text[])
        AS new (instance_id, token, figures, preview)
"""
LARGE = 64 << 20  # bytes of decoded pixels; larger images go to the queue for large jobs


def choose_queue(decoded_size: int) -> str:
    """Return the queue for an instance by the size of its decoded pixels."""
    return "large" if decoded_size > LARGE else "small"


class Analysed(NamedTuple):
    """The figures of an instance, and its preview: the key and the file, which is not durable yet."""

    figures: dict[str, Any]
    preview: str
    file: SpoolFile | None


class AnalysisHandler:
    """The handler of analysis jobs; a job's subject is an instance's ID."""

    def run(self, lease: Lease) -> Analysed:
        """Analyse an instance and publish its preview."""
        try:
            with open_object(object_key(load_sha256(lease.subject))) as file:
                output = call_function(settings.ANALYSIS, prepare(file), build_context(lease))
            preview = next(iter(output.pictures.values()), b"")
            if not preview:
                return Analysed(output.figures, "", None)
            key = preview_key(lease.subject, lease.fencing_token)
            return Analysed(output.figures, key, publish_preview(preview, key))
        except UnprocessableError as error:
            raise JobError(str(error)) from error
        except ObjectIntegrityError as error:
            metrics.integrity_failures.inc()
            raise JobError(f"its object was altered: {error}") from error
        except StorageFullError as error:
            raise RetryableError(str(error)) from error

    def save(self, results: Sequence[tuple[Lease, Analysed]]) -> None:
        """Sync the previews and save the results in one statement; earlier results of an instance are superseded."""
        store().sync({one.preview: one.file for _, one in results if one.file})
        if again := [lease.subject for lease, _ in results if lease.fencing_token > 1]:
            Result.objects.filter(instance__in=again).update(superseded=True)
        values = {
            "instances": [lease.subject for lease, _ in results],
            "tokens": [lease.fencing_token for lease, _ in results],
            "figures": [encode_figures(one.figures) for _, one in results],
            "previews": [one.preview for _, one in results],
            "analysis": settings.ANALYSIS,
            "version": find_version(settings.ANALYSIS),
        }
        with connection.cursor() as cursor:
            cursor.execute(SAVE, values)

    def discard(self, lease: Lease, result: Analysed) -> None:  # noqa: ARG002
        """Delete the preview of a late result."""
        if result.preview:
            store().delete(result.preview)


def build_context(lease: Lease) -> Context:
    """Return what the analysis may know beside the file."""
    subject = parse_subject(lease.audit_subject)
    return Context(
        sop_instance_uid="" if settings.DEIDENTIFY else subject.sop_instance_uid,
        sop_class_uid=subject.sop_class_uid,
        study_uid="" if settings.DEIDENTIFY else subject.study_uid,
        attempt=lease.attempts,
        memory_limit_mb=settings.TASK_MEMORY_LIMIT_MB,
        time_limit_seconds=settings.TASK_SECONDS,
    )


def load_sha256(instance_id: int) -> str:
    """Return the hash of an instance's content.

    Raises:
        JobError: the instance was erased.

    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT sha256 FROM archive_instance WHERE id = %s", (instance_id,))
        row = cursor.fetchone()
    if row is None:
        raise JobError("the instance was erased")
    return str(row[0])


def prepare(file: BinaryIO) -> BinaryIO:
    """Return what the analysis may see: de-identified if the site wants that."""
    if not settings.DEIDENTIFY:
        return file
    from analysis.deidentification import deidentify

    return deidentify(file)


def publish_preview(content: bytes, key: str) -> SpoolFile:
    """Publish a preview, encrypted like every object; those of a batch are synced together when they are saved."""
    with map_disk_full():
        file = SpoolFile()
        close_after_batch(file.discard)
        file.write(content)
        file.finish()
        store().publish(file, key)
        file.is_published = True
    return file


@receiver(instances_erased)
def delete_results(instance_ids: list[int], **_: Any) -> list[str]:
    """Delete the jobs and results of erased instances; return the keys of their previews."""
    delete_jobs(KIND, instance_ids)
    results = Result.history.filter(instance__in=instance_ids)
    previews = [key for key in results.values_list("preview", flat=True) if key]
    results.delete()
    return previews


def find_inconsistencies() -> list[int]:
    """Return the instances that lack a job, or whose job and current results do not agree."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT i.id FROM archive_instance AS i LEFT JOIN analysis_job AS j ON j.instance_id = i.id"
            " LEFT JOIN analysis_result AS r ON r.instance_id = i.id AND NOT r.superseded GROUP BY i.id, j.state HAVING"
            " count(DISTINCT j.id) <> 1 OR count(r.instance_id) > 1 OR (j.state = 'done' AND count(r.instance_id) = 0)"
            " ORDER BY i.id"
        )
        return [instance for (instance,) in cursor.fetchall()]
