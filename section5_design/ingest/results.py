"""Store the results of analyses as DICOM instances, the same way as what is received.

A job does that after the run was saved, so that only the results of the attempt that holds the lease are stored. It may
run twice: a run's instances have the same UIDs and bytes each time, and are stored once.
"""

import io
from collections.abc import Iterator, Sequence

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset

from accounts.services import share_with_senders
from analysis.contract import UnprocessableError
from analysis.models import Run
from analysis.registry import get_analysis
from analysis.targets import RESULT_SOURCE
from archive.encryption import ObjectIntegrityError
from archive.models import Instance
from archive.object_store import object_key, open_object
from archive.spool import StorageFullError
from ingest.header import RefusedError
from ingest.incoming import incoming_file
from ingest.store import Sender, store_instance
from jobs.handlers import JobError, RetryableError
from jobs.queue import Lease


class ResultsHandler:
    """The handler of the jobs that store a run's results; a job's subject is the run's ID."""

    def run(self, lease: Lease) -> list[int]:
        """Store the results and return the IDs of their instances."""
        run = Run.objects.select_related("target__study").filter(pk=lease.subject).first()
        if run is None:
            raise JobError("the study was erased")
        if run.superseded:
            return []
        try:
            return [store_result(content, run) for content in iter_contents(run)]
        except (UnprocessableError, RefusedError) as error:
            raise JobError(str(error)) from error
        except ObjectIntegrityError as error:
            raise JobError(f"an object was altered: {error}") from error
        except StorageFullError as error:
            raise RetryableError(str(error)) from error

    def save(self, results: Sequence[tuple[Lease, list[int]]]) -> None:
        """Record which instances a run made, and let the senders of its images see them."""
        for lease, instances in results:
            for run in Run.objects.filter(pk=lease.subject):
                share_with_senders(instances, run.inputs)
                run.instances = instances
                run.save(update_fields=["instances"])

    def discard(self, lease: Lease, result: list[int]) -> None:
        """Leave the instances: the attempt that holds the lease stores the same."""


def store_result(content: bytes, run: Run) -> int:
    """Store a DICOM file that a run made, and return its ID.

    Raises:
        RefusedError: it is not a valid DICOM file, or belongs to another study.

    """
    with incoming_file() as file:
        file.write(content)
        sender = Sender(f"{RESULT_SOURCE}{run.target.analysis}")
        return store_instance(file, sender, run.target.study.uid).instance_id


def iter_contents(run: Run) -> Iterator[bytes]:
    """Iterate over the DICOM files of a run: those that the analysis wrote, and those made of its figures and files.

    Raises:
        UnprocessableError: no DICOM files can be made of them.
        JobError: the analysis is no longer registered, or an image was erased.

    """
    for file in run.files:
        if file["kind"] == "dicom":
            yield read_object(file["key"])
    try:
        analysis = get_analysis(run.target.analysis)
    except KeyError:
        raise JobError(f"the analysis {run.target.analysis} is not registered; see ANALYSES") from None
    if not analysis.dicom:
        return
    from analysis.dicom_results import Findings, build_results  # highdicom loads for half a second

    masks = {file["name"]: read_object(file["key"]) for file in run.files if file["kind"] == "mask"}
    found = Findings(
        analysis=analysis.name,
        version=run.version,
        uid=run.uid,
        at=run.finished_at,
        figures=run.figures,
        measurements=analysis.measurements,
        pictures={file["name"]: read_object(file["key"]) for file in run.files if file["kind"] == "picture"},
        masks={name: np.load(io.BytesIO(content))["mask"] for name, content in masks.items()},
    )
    for dataset in build_results(found, [read_header(pk) for pk in run.inputs]):
        target = io.BytesIO()
        dataset.save_as(target)
        yield target.getvalue()


def read_object(key: str) -> bytes:
    """Read a file of a run."""
    with open_object(key) as file:
        return file.read()


def read_header(instance_id: int) -> Dataset:
    """Read an image without its pixels.

    Raises:
        JobError: it was erased.

    """
    sha256 = Instance.objects.filter(pk=instance_id).values_list("sha256", flat=True).first()
    if sha256 is None:
        raise JobError("an image was erased")
    with open_object(object_key(sha256)) as file:
        return dcmread(file, force=True, stop_before_pixels=True)
