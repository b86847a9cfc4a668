"""Registered analyses: schedule them as images are stored, run them, and save what they return.

A target (an instance, series or study) has one job. Each image that is added moves the job to the end of a quiet
period (which the release of an association may end), or queues it again if it is running or done; the run lists the
images that it covers. So an image that comes late makes a new run, which supersedes the earlier one. Images that keep
coming delay a run by at most ten quiet periods.
"""

import io
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson
import pydicom
from django.conf import settings
from django.db.models import Count, DurationField, ExpressionWrapper, F, QuerySet
from django.db.models.functions import Now
from django.dispatch import receiver
from pydicom.multival import MultiValue

from analysis.contract import Context, Output, UnprocessableError
from analysis.functions import call_function, encode_figures, limited
from analysis.gpu import gpu_slots
from analysis.handler import choose_queue, prepare
from analysis.models import Run, Target
from analysis.registry import Analysis, get_analysis, load_analyses
from analysis.results_folder import read_results
from analysis.sandbox import Limits, isolation_prefix, run_command, work_folder
from archive.encryption import ObjectIntegrityError
from archive.models import Instance
from archive.object_store import object_key, open_object, store
from archive.signals import association_released, instances_erased, instances_stored
from archive.spool import StorageFullError, spool_file
from audit.events import Subject
from core import metrics
from jobs.handlers import JobError, RetryableError
from jobs.queue import Lease, NewJob, delete_jobs, schedule

KIND = "target"
PUBLISH = "results"  # the kind of the jobs that store a run's results as DICOM instances; its subject is the run
RESULT_SOURCE = "analysis:"  # start of the source of instances that an analysis made
SCOPE_FIELDS = {"instance": "pk", "series": "series_id", "study": "series__study_id"}
MAX_QUIET_PERIODS = 10  # that steady arrivals delay a run
CHUNK = 1 << 20


@receiver(instances_stored)
def schedule_arrivals(instances: Sequence[Instance], **_: Any) -> None:
    """Schedule the registered analyses of stored instances."""
    for analysis in load_analyses(settings.ANALYSES).values():
        schedule_targets(analysis, [one for one in instances if selects(analysis, one)], analysis.quiet_seconds)


@receiver(association_released)
def schedule_released(instances: Sequence[Instance], **_: Any) -> None:
    """Schedule the analyses that wait for the end of an association, on the images that it brought."""
    for analysis in load_analyses(settings.ANALYSES).values():
        if analysis.on_release and analysis.scope != "instance":
            schedule_targets(analysis, [one for one in instances if selects(analysis, one)], quiet=0)


def selects(analysis: Analysis, instance: Instance) -> bool:
    """Return whether an analysis is for an instance by modality and SOP class; results are never analysed."""
    return (
        not instance.source.startswith(RESULT_SOURCE)
        and (not analysis.modality or instance.series.modality in analysis.modality)
        and (not analysis.sop_class or instance.sop_class_uid in analysis.sop_class)
    )


def select_instances(analysis: Analysis) -> QuerySet[Instance]:
    """Return the instances that `selects` accepts."""
    chosen = Instance.objects.exclude(source__startswith=RESULT_SOURCE)
    if analysis.modality:
        chosen = chosen.filter(series__modality__in=analysis.modality)
    return chosen.filter(sop_class_uid__in=analysis.sop_class) if analysis.sop_class else chosen


def schedule_targets(analysis: Analysis, instances: Iterable[Instance], quiet: float, priority: int = 0) -> int:
    """Schedule an analysis on the targets that instances belong to; return how many.

    Args:
        analysis: a registered analysis.
        instances: that it selects, with their series and studies loaded.
        quiet: seconds to wait for more images of a series or study.
        priority: of the jobs.

    """
    found: dict[int, Instance] = {scope_id(analysis, one): one for one in instances}
    if not found:
        return 0
    new = [
        Target(analysis=analysis.name, scope=analysis.scope, scope_id=key, study_id=found[key].series.study_id)
        for key in sorted(found)
    ]
    Target.objects.bulk_create(new, ignore_conflicts=True)
    targets = Target.objects.filter(analysis=analysis.name, scope=analysis.scope, scope_id__in=found)
    complete = find_complete(analysis, found)
    jobs = []
    for pk, key, waited in measure_waits(targets):
        one = found[key]
        delay = max(0.0, min(quiet, MAX_QUIET_PERIODS * quiet - waited))
        delay = 0 if analysis.scope == "instance" or key in complete else delay
        subject = Subject(study_uid=one.series.study.uid)
        if analysis.scope == "instance":
            subject = Subject(one.pk, one.series.study.uid, one.sop_class_uid, one.sop_instance_uid)
        jobs.append(NewJob(pk, choose_target_queue(analysis, one), priority, delay, subject))
    schedule(KIND, jobs)
    return len(jobs)


def measure_waits(targets: QuerySet[Target]) -> list[tuple[int, int, float]]:
    """Return targets with their scope IDs and the seconds since the first image that no run covers; that starts now."""
    targets.filter(waiting_since=None).update(waiting_since=Now())
    waited = ExpressionWrapper(Now() - F("waiting_since"), DurationField())
    rows = targets.annotate(waited=waited).values_list("pk", "scope_id", "waited")
    return [(pk, key, waited.total_seconds()) for pk, key, waited in rows]


def scope_id(analysis: Analysis, instance: Instance) -> int:
    """Return the ID of the instance, or of its series or study, by the scope of the analysis."""
    scopes = {"instance": instance.pk, "series": instance.series_id, "study": instance.series.study_id}
    return int(scopes[analysis.scope])


def find_complete(analysis: Analysis, keys: Iterable[int]) -> set[int]:
    """Return the targets that have the number of images for which the analysis need not wait longer."""
    if not analysis.images:
        return set()
    field = SCOPE_FIELDS[analysis.scope]
    chosen = select_instances(analysis).filter(**{f"{field}__in": list(keys)})
    counted = chosen.order_by().values_list(field).annotate(count=Count("pk")).filter(count__gte=analysis.images)
    return {key for key, _ in counted}


def choose_target_queue(analysis: Analysis, instance: Instance) -> str:
    """Return the queue: for GPUs, for large work, or for small."""
    if analysis.gpu_slots:
        return "gpu"
    return choose_queue(instance.decoded_size) if analysis.scope == "instance" else "large"


@dataclass(frozen=True)
class Outcome:
    """What a run made, before it is saved."""

    target: Target
    analysis: Analysis
    inputs: list[int]
    isolated: bool
    figures: dict[str, Any]
    files: list[dict[str, str]]


class TargetHandler:
    """The handler of the jobs of registered analyses; a job's subject is a target's ID."""

    def run(self, lease: Lease) -> Outcome | None:
        """Run an analysis on the images that its target has now; None if it selects none of them."""
        target = Target.objects.select_related("study").filter(pk=lease.subject).first()
        if target is None:
            raise JobError("the study was erased")
        try:
            analysis = get_analysis(target.analysis)
        except KeyError:
            raise JobError(f"the analysis {target.analysis} is not registered; see ANALYSES") from None
        try:
            with gpu_slots(analysis.gpu_slots) as gpus, work_folder() as work:
                Target.objects.filter(pk=target.pk).update(waiting_since=None)
                inputs = export_inputs(analysis, target, work / "inputs")
                if not inputs:
                    return None
                output = run_analysis(analysis, target, lease, work, gpus)
            if settings.DEIDENTIFY and output.dicom:
                raise UnprocessableError("made DICOM files of de-identified images; they would not fit their study")
            isolated = bool(analysis.command and isolation_prefix())
            return Outcome(target, analysis, inputs, isolated, output.figures, store_files(output, lease))
        except UnprocessableError as error:
            raise JobError(str(error)) from error
        except ObjectIntegrityError as error:
            metrics.integrity_failures.inc()
            raise JobError(f"an object was altered: {error}") from error
        except StorageFullError as error:
            raise RetryableError(str(error)) from error

    def save(self, results: Sequence[tuple[Lease, Outcome | None]]) -> None:
        """Save runs; each supersedes the earlier one of its target."""
        for lease, outcome in results:
            if outcome is None:
                continue
            Run.objects.filter(target=outcome.target, superseded=False).update(superseded=True)
            run = Run.objects.create(
                target=outcome.target,
                version=outcome.analysis.version,
                parameters=outcome.analysis.parameters,
                inputs=outcome.inputs,
                fencing_token=lease.fencing_token,
                started_at=lease.started_at,
                isolated=outcome.isolated,
                figures=orjson.loads(encode_figures(outcome.figures)),
                files=outcome.files,
            )
            if outcome.analysis.dicom or any(file["kind"] == "dicom" for file in outcome.files):
                schedule(PUBLISH, [NewJob(run.pk, audit_subject=Subject(study_uid=outcome.target.study.uid))])

    def discard(self, lease: Lease, result: Outcome | None) -> None:  # noqa: ARG002
        """Delete the files of a late result."""
        for file in result.files if result else ():
            store().delete(file["key"])


def run_analysis(analysis: Analysis, target: Target, lease: Lease, work: Path, gpus: tuple[int, ...]) -> Output:
    """Run a command or a function on the exported files, within its limits."""
    if analysis.command:
        environment = {"PARAMETERS": orjson.dumps(analysis.parameters).decode()}
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, gpus))
        limits = Limits(analysis.seconds, analysis.memory_mb, analysis.output_mb)
        run_command(analysis.command, work, limits, environment)
        return read_results(work / "results")
    context = Context(
        study_uid="" if settings.DEIDENTIFY else target.study.uid,
        attempt=lease.attempts,
        memory_limit_mb=analysis.memory_mb,
        time_limit_seconds=analysis.seconds,
        parameters=analysis.parameters,
        gpus=gpus,
    )
    files = iter_files(work / "inputs")
    with limited(analysis.seconds, analysis.memory_mb):
        return call_function(analysis.function, next(files) if analysis.scope == "instance" else files, context)


def iter_files(folder: Path) -> Iterator[BinaryIO]:
    """Open the files of a folder one after the other."""
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            yield file


def export_inputs(analysis: Analysis, target: Target, folder: Path) -> list[int]:
    """Write the images of a target that an analysis selects as 000001.dcm, ...; return their IDs in this order.

    They are sorted by series, instance number and UID.
    """
    keywords = ["InstanceNumber", *analysis.where]
    found = []
    instances = select_instances(analysis).filter(**{SCOPE_FIELDS[target.scope]: target.scope_id})
    for pk, sha256, uid, series in instances.values_list("pk", "sha256", "sop_instance_uid", "series__uid"):
        path = folder / f"{pk}.part"
        with open_object(object_key(sha256)) as stored, path.open("wb") as copy:
            shutil.copyfileobj(prepare(stored), copy, CHUNK)
        header = pydicom.dcmread(path, force=True, specific_tags=keywords, stop_before_pixels=True)
        if matches(analysis, header):
            found.append((series, parse_number(header.get("InstanceNumber")), uid, pk, path))
        else:
            path.unlink()
    for number, (*_, path) in enumerate(sorted(found), 1):
        path.rename(folder / f"{number:06}.dcm")
    return [pk for *_, pk, _ in sorted(found)]


def matches(analysis: Analysis, header: pydicom.Dataset) -> bool:
    """Return whether each attribute of `where` has a value that one of its patterns matches."""
    for keyword, patterns in analysis.where.items():
        value = header.get(keyword, "")
        values = [str(one) for one in (value if isinstance(value, MultiValue) else [value])]
        if not any(fnmatchcase(one, pattern) for one in values for pattern in patterns):
            return False
    return True


def parse_number(value: Any) -> int:
    """Return an instance number; 0 if it has none."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0


def store_files(output: Output, lease: Lease) -> list[dict[str, str]]:
    """Store pictures, masks and DICOM files, encrypted like every object; return their kinds, names and keys."""
    contents = [("picture", name, content) for name, content in output.pictures.items()]
    contents += [("mask", name, encode_mask(mask)) for name, mask in output.masks.items()]
    contents += [("dicom", name, content) for name, content in output.dicom.items()]
    files = []
    for number, (kind, name, content) in enumerate(contents):
        key = f"results/{lease.subject // 100 % 1000:03}/{lease.subject}-{lease.fencing_token}-{number}"
        with spool_file() as file:
            file.write(content)
            file.commit()
            store().put(file.path, key)
        files.append({"kind": kind, "name": str(name)[:100], "key": key})
    return files


def encode_mask(mask: Any) -> bytes:
    """Encode a mask, compressed."""
    target = io.BytesIO()
    np.savez_compressed(target, mask=np.asarray(mask, np.uint8))
    return target.getvalue()


@receiver(instances_erased)
def delete_targets(study: Any, **_: Any) -> list[str]:
    """Delete the targets of an erased study with their jobs and runs; return the keys of their files."""
    targets = Target.objects.filter(study=study)
    runs = Run.objects.filter(target__in=targets)
    keys = [file["key"] for files in runs.values_list("files", flat=True) for file in files]
    delete_jobs(PUBLISH, list(runs.values_list("pk", flat=True)))
    delete_jobs(KIND, list(targets.values_list("pk", flat=True)))
    targets.delete()
    return keys
