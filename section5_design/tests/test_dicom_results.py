"""Results as DICOM: what is stored, for whom, and what dciodvfy says about it."""

import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from django.contrib.auth import get_user_model
from PIL import Image

from accounts.access import visible_instances
from accounts.models import Submission
from analysis.contract import Context, Output
from analysis.models import Run
from analysis.registry import load_analyses
from analysis.targets import PUBLISH
from archive.models import Instance
from archive.object_store import object_key, open_object
from ingest import results
from jobs.models import Job
from pipeline import query, run_jobs, send, send_series
from system import instance

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("local_store")]
Register = Callable[..., None]

REPORT, CAPTURE, SEGMENTATION = (
    "1.2.840.10008.5.1.4.1.1.88.33",
    "1.2.840.10008.5.1.4.1.1.7",
    "1.2.840.10008.5.1.4.1.1.66.4",
)


@pytest.fixture
def register(tmp_path: Path, settings: Any) -> Iterator[Register]:
    """Register a function of this module, with further settings."""

    def write(function: str, more: str = "") -> None:
        path = tmp_path / "analyses.toml"
        lines = ["[nodules]", 'version = "1.2"', 'scope = "series"', "dicom = true", more]
        path.write_text("\n".join([*lines, f'function = "test_dicom_results.{function}"']))
        settings.ANALYSES = str(path)
        load_analyses.cache_clear()

    yield write
    load_analyses.cache_clear()


def find(files: Any, context: Context) -> Output:
    """Find a square on every image."""
    frames = sum(int(pydicom.dcmread(file).get("NumberOfFrames") or 1) for file in files)
    header = pydicom.dcmread(file_of_the_first())
    mask = np.zeros((frames, header.Rows, header.Columns), np.uint8)
    mask[:, 5:20, 5:20] = 1
    figures = {"volume": 12.345678901234567, "nodules": 3, "remark": "two of them small"}
    return Output(figures, {"overview": draw()}, {"nodule": mask})


def file_of_the_first() -> io.BytesIO:
    return io.BytesIO(read(Instance.objects.earliest("pk")))


def draw() -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(target, "PNG")
    return target.getvalue()


def read(one: Instance) -> bytes:
    with open_object(object_key(one.sha256)) as file:
        return file.read()


def made(sop_class: str) -> pydicom.Dataset:
    """The only result of a SOP class."""
    return pydicom.dcmread(io.BytesIO(read(Instance.objects.get(sop_class_uid=sop_class, source="analysis:nodules"))))


def send_images(name: str, count: int) -> None:
    for number in range(1, count + 1):
        changes: dict[str, Any] = {"InstanceNumber": number}
        if count > 1:
            changes["ImagePositionPatient"] = [0, 0, 5 * number]
        send(instance(name, **changes)[1])


IMAGES = [("CT_small.dcm", 3), ("MR_small.dcm", 2), ("examples_rgb_color.dcm", 1), ("US1_J2KR.dcm", 1)]


@pytest.mark.parametrize(("name", "count"), IMAGES)
def test_results_are_stored_without_an_error_of_dciodvfy(
    register: Register, name: str, count: int, tmp_path: Path
) -> None:
    register("find")
    send_images(name, count)
    run_jobs()
    assert set(Run.objects.get().instances) == set(
        Instance.objects.filter(source="analysis:nodules").values_list("pk", flat=True)
    )
    for sop_class in (REPORT, CAPTURE, SEGMENTATION):
        path = tmp_path / "result.dcm"
        path.write_bytes(read(Instance.objects.get(sop_class_uid=sop_class, source="analysis:nodules")))
        program = Path(sys.executable).with_name("dciodvfy")
        checked = subprocess.run([program, "-new", path], capture_output=True, text=True, check=False)
        lines = (checked.stdout + checked.stderr).splitlines()
        assert lines
        assert [line for line in lines if line.startswith("Error")] == []


def test_each_result_refers_to_its_images(register: Register) -> None:
    register("find")
    send_images("CT_small.dcm", 3)
    images = set(Instance.objects.values_list("sop_instance_uid", flat=True))
    run_jobs()
    (study,) = made(REPORT).CurrentRequestedProcedureEvidenceSequence
    evidence = [item for series in study.ReferencedSeriesSequence for item in series.ReferencedSOPSequence]
    sources = made(CAPTURE).SourceImageSequence
    (segmented,) = made(SEGMENTATION).ReferencedSeriesSequence
    for items in (evidence, sources, segmented.ReferencedInstanceSequence):
        assert {str(item.ReferencedSOPInstanceUID) for item in items} == images


def numbers(dataset: pydicom.Dataset) -> dict[str, tuple[str, str, str]]:
    """The numbers of a report: code, value and unit, by meaning."""
    found = {}
    for item in dataset.get("ContentSequence", ()):
        if item.ValueType == "NUM":
            name, (value,) = item.ConceptNameCodeSequence[0], item.MeasuredValueSequence
            unit = value.MeasurementUnitsCodeSequence[0].CodeValue
            found[name.CodeMeaning] = (name.CodeValue, str(value.NumericValue), unit)
        found |= numbers(item)
    return found


def test_report_has_every_number_of_the_figures(register: Register) -> None:
    register("find")
    send_images("CT_small.dcm", 1)
    run_jobs()
    assert numbers(made(REPORT)) == {
        "volume": ("volume", "12.3456789012346", "1"),
        "nodules": ("nodules", "3.0", "1"),
    }


def test_registered_measurements_have_their_codes_and_units(register: Register) -> None:
    code = 'code = "118565006", scheme = "SCT", meaning = "Volume", unit = "mm3"'
    register("find", f"measurements = {{ volume = {{ {code} }} }}")
    send_images("CT_small.dcm", 1)
    run_jobs()
    assert numbers(made(REPORT)) == {"Volume": ("118565006", "12.3456789012346", "mm3")}


def test_the_analysis_of_the_readme_counts_slices(tmp_path: Path, settings: Any) -> None:
    blocks = (Path(__file__).parent.parent / "README.md").read_text().split("```toml\n")
    path = tmp_path / "analyses.toml"
    path.write_text(blocks[1].partition("```")[0])
    settings.ANALYSES = str(path)
    send_images("CT_small.dcm", 3)
    send_images("MR_small.dcm", 1)
    run_jobs()
    assert (Run.objects.get().figures, Run.objects.get().version) == ({"slices": 3}, "1.0")
    report = Instance.objects.get(source="analysis:slices")
    assert numbers(pydicom.dcmread(io.BytesIO(read(report)))) == {"slices": ("slices", "3.0", "1")}


def test_results_are_not_analysed_again(register: Register) -> None:
    register("find")
    send_images("CT_small.dcm", 2)
    run_jobs()
    run_jobs()
    assert Run.objects.count() == 1
    assert Instance.objects.filter(source="analysis:nodules").count() == 3
    assert query("SELECT count(*) FROM archive_arrival") == [(0,)]


def test_storing_the_results_twice_stores_them_once(register: Register) -> None:
    register("find")
    send_images("CT_small.dcm", 2)
    run_jobs()
    before = set(Instance.objects.values_list("pk", "conflict"))
    Job.objects.filter(kind=PUBLISH).update(state="queued")
    run_jobs()
    assert set(Instance.objects.values_list("pk", "conflict")) == before


def fail_once(files: Any, context: Context) -> Output:
    return Output(masks={"small": np.ones((1, 2, 2), np.uint8)})


def test_mask_that_does_not_fit_is_quarantined_with_the_reason(register: Register) -> None:
    register("fail_once")
    send_images("CT_small.dcm", 1)
    run_jobs()
    job = Job.objects.get(kind=PUBLISH)
    assert (job.state, job.reason) == (
        "quarantined",
        "the mask small has the shape (1, 2, 2), the images (1, 128, 128)",
    )


def write_own(files: Any, context: Context) -> Output:
    return Output(dicom={"own": instance("reportsi.dcm", StudyInstanceUID=context.parameters["study"])[1]})


@pytest.mark.parametrize(
    ("study", "reason"),
    [("", ""), ("1.2.3", "belongs to another study than the request names")],
    ids=["same study", "other study"],
)
def test_dicom_files_of_an_analysis_are_stored_if_they_belong_to_the_study(
    register: Register, study: str, reason: str
) -> None:
    own = send(instance()[1]).header.study_uid
    register("write_own", f'parameters = {{ study = "{study or own}" }}')
    run_jobs()
    assert Job.objects.get(kind=PUBLISH).reason == reason
    assert Instance.objects.filter(source="analysis:nodules").count() == (0 if reason else 1)


def test_whoever_sent_every_image_sees_the_results(register: Register) -> None:
    register("find")
    both, one = (get_user_model().objects.create_user(name) for name in ("both", "one"))
    first, second = (
        send(instance(InstanceNumber=number, ImagePositionPatient=[0, 0, number])[1]).instance_id for number in (1, 2)
    )
    for user, image in ((both, first), (both, second), (one, first)):
        Submission.objects.create(instance_id=image, source=f"user:{user.username}", user=user)
    run_jobs()
    assert visible_instances(both).filter(source="analysis:nodules").count() == 3
    assert visible_instances(one).filter(source="analysis:nodules").count() == 0


def test_late_image_makes_new_results_and_superseded_ones_are_not_stored(
    register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register("find")
    send_images("CT_small.dcm", 1)
    run_jobs()
    send(instance(InstanceNumber=9, ImagePositionPatient=[0, 0, 50])[1])
    run_jobs()
    assert Instance.objects.filter(source="analysis:nodules", sop_class_uid=REPORT).count() == 2
    earlier = Run.objects.get(superseded=True)
    assert earlier.instances
    monkeypatch.setattr(results, "iter_contents", lambda _: pytest.fail("stored again"))
    Job.objects.filter(kind=PUBLISH, subject=earlier.pk).update(state="queued")
    run_jobs()
    assert Job.objects.get(kind=PUBLISH, subject=earlier.pk).state == "done"


def test_altered_image_makes_no_result(register: Register, local_store: Path) -> None:
    register("find")
    (one,) = send_series(1)
    path = local_store / "store" / object_key(one.sha256)
    path.write_bytes(path.read_bytes()[:-1])
    run_jobs()
    assert not Run.objects.exists()
    assert "altered" in query("SELECT reason FROM jobs_job WHERE kind = 'target'")[0][0]
