"""Results as DICOM: measurements as a TID 1500 report, pictures as Secondary Capture, masks as Segmentation.

Every instance refers to the images that it was made of. The same run makes the same bytes, so that storing its results
twice stores them once.
"""

import io
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from highdicom import AlgorithmIdentificationSequence
from highdicom.sc import SCImage
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from highdicom.sr import (
    CodedConcept,
    ComprehensiveSR,
    DeviceObserverIdentifyingAttributes,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    SourceImageForMeasurementGroup,
    TrackingIdentifier,
)
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.sr.codedict import codes

from analysis.contract import UnprocessableError

MANUFACTURER = "Section 5"
PRIVATE_SCHEME = "99SECTION5"
SERIES_NUMBERS = {"report": 9001, "picture": 9002, "mask": 9003}
# Type 2 attributes (PS3.3, C.7.1.1, C.7.2.1) that images may lack and highdicom requires
REQUIRED = [
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime"),
    *("AccessionNumber", "ReferringPhysicianName"),
]


@dataclass(frozen=True)
class Findings:
    """What a run found."""

    analysis: str
    version: str
    uid: uuid.UUID  # of the run
    at: datetime
    figures: Mapping[str, Any] = field(default_factory=dict)
    measurements: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # code, scheme, meaning, unit by figure
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    masks: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)

    def derive_uid(self, *parts: str) -> str:
        """Derive a UID (PS3.5, B.2)."""
        return f"2.25.{uuid.uuid5(self.uid, ':'.join(parts)).int}"


def build_results(found: Findings, sources: Sequence[Dataset]) -> Iterator[Dataset]:
    """Build the DICOM instances of a run.

    Args:
        found: what it found.
        sources: its images in the order of their files, without pixels.

    Raises:
        UnprocessableError: a mask does not fit the images, or they lack what the standard requires.

    """
    for source in sources:
        complete(source)
    try:
        if measurements := list_measurements(found):
            yield finish(build_report(found, sources, measurements), found)
        for number, (name, picture) in enumerate(found.pictures.items(), 1):
            yield finish(build_picture(found, sources, name, picture, number), found)
        for number, (name, mask) in enumerate(found.masks.items(), 1):
            yield finish(build_mask(found, sources, name, mask, number), found)
    except AttributeError as error:
        raise UnprocessableError(f"the results cannot be DICOM objects: {error}") from error
    except (KeyError, TypeError, ValueError) as error:  # the message may have a patient's data
        raise UnprocessableError(f"the results cannot be DICOM objects ({type(error).__name__})") from error


def complete(source: Dataset) -> None:
    """Add the attributes that may be empty and not absent."""
    for keyword in REQUIRED:
        if keyword not in source:
            setattr(source, keyword, "")


def list_measurements(found: Findings) -> list[Measurement]:
    """Return the figures that are measurements: those with a unit, or all numbers if none has one."""
    chosen = found.measurements or {name: {"unit": "1"} for name in found.figures}
    measurements = []
    for name, parts in chosen.items():
        value = found.figures.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            concept = CodedConcept(
                parts.get("code", name), parts.get("scheme", PRIVATE_SCHEME), parts.get("meaning", name)[:64]
            )
            unit = parts["unit"]
            measurements.append(
                Measurement(concept, value, CodedConcept(unit, "UCUM", "no units" if unit == "1" else unit))
            )
    return measurements


def build_report(found: Findings, sources: Sequence[Dataset], measurements: list[Measurement]) -> Dataset:
    """Build a report (PS3.16, TID 1500)."""
    device = DeviceObserverIdentifyingAttributes(
        uid=found.derive_uid("device"), name=found.analysis, manufacturer_name=MANUFACTURER, model_name=found.version
    )
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=found.derive_uid("tracking"), identifier=found.analysis),
        measurements=measurements,
        source_images=[SourceImageForMeasurementGroup.from_source_image(source) for source in sources],
    )
    content = MeasurementReport(
        observation_context=ObservationContext(
            observer_device_context=ObserverContext(codes.DCM.Device, observer_identifying_attributes=device)
        ),
        procedure_reported=codes.SCT.ImagingProcedure,
        imaging_measurements=[group],
        title=codes.DCM.ImagingMeasurementReport,
    )
    return ComprehensiveSR(
        evidence=list(sources),
        content=content,
        series_instance_uid=found.derive_uid("report series"),
        series_number=SERIES_NUMBERS["report"],
        sop_instance_uid=found.derive_uid("report"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        is_final=True,
        series_description=describe(found),
    )


def build_picture(found: Findings, sources: Sequence[Dataset], name: str, content: bytes, number: int) -> Dataset:
    """Build a Secondary Capture image (PS3.3, A.8.1)."""
    with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
        grey = image.mode in ("1", "L", "LA")
        pixels = np.asarray(image.convert("L" if grey else "RGB"))
    dataset = SCImage.from_ref_dataset(
        sources[0],
        pixel_array=pixels,
        photometric_interpretation="MONOCHROME2" if grey else "RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "P"),  # required here; a picture has none, see below
        series_instance_uid=found.derive_uid("picture series"),
        series_number=SERIES_NUMBERS["picture"],
        sop_instance_uid=found.derive_uid("picture", name),
        instance_number=number,
        manufacturer=MANUFACTURER,
    )
    dataset.PatientOrientation, dataset.Laterality = [], ""
    dataset.SeriesDescription, dataset.ImageComments = describe(found), name[:64]
    dataset.SourceImageSequence = DicomSequence(reference(source) for source in sources)
    return dataset


def build_mask(found: Findings, sources: Sequence[Dataset], name: str, mask: NDArray[np.uint8], number: int) -> Dataset:
    """Build a Segmentation with one segment (PS3.3, A.51)."""
    frames = sum(int(source.get("NumberOfFrames") or 1) for source in sources)
    shape = (frames, int(sources[0].Rows), int(sources[0].Columns))
    if mask.shape != shape:
        raise UnprocessableError(f"the mask {name} has the shape {mask.shape}, the images {shape}")
    if not mask.any():
        raise UnprocessableError(f"the mask {name} is empty")
    if frames > 1 and not sources[0].get("FrameOfReferenceUID"):
        raise UnprocessableError(f"the mask {name} is of several frames without a frame of reference")
    positions = [tuple(source.ImagePositionPatient) for source in sources if "ImagePositionPatient" in source]
    if len(set(positions)) < len(positions):
        raise UnprocessableError(f"the mask {name} is of images with the same position")
    algorithm = AlgorithmIdentificationSequence(found.analysis, codes.DCM.ArtificialIntelligence, found.version)
    segment = SegmentDescription(
        segment_number=1,
        segment_label=name[:64],
        segmented_property_category=codes.SCT.Tissue,
        segmented_property_type=codes.SCT.Tissue,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
    )
    dataset = Segmentation(
        source_images=list(sources),
        pixel_array=mask,
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[segment],
        series_instance_uid=found.derive_uid("mask series"),
        series_number=SERIES_NUMBERS["mask"],
        sop_instance_uid=found.derive_uid("mask", name),
        instance_number=number,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=found.analysis,
        software_versions=found.version,
        device_serial_number="1",
        content_label="MASK",
        content_description=name[:64],
        series_description=describe(found),
    )
    if "FrameOfReferenceUID" not in dataset:
        dataset.PatientOrientation = ""
    organization = found.derive_uid("dimensions")
    for item in (*dataset.DimensionOrganizationSequence, *dataset.DimensionIndexSequence):
        item.DimensionOrganizationUID = organization
    return dataset


def describe(found: Findings) -> str:
    """Return the series description."""
    return f"{found.analysis} {found.version}"[:64]


def reference(source: Dataset) -> Dataset:
    """Return the item of a sequence that refers to an image."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    return item


def finish(dataset: Dataset, found: Findings) -> Dataset:
    """Set the times to those of the run, and name the analysis."""
    day, time = found.at.strftime("%Y%m%d"), found.at.strftime("%H%M%S")
    for keyword in ("InstanceCreationDate", "ContentDate", "SeriesDate", "DateOfSecondaryCapture"):
        if keyword in dataset:
            setattr(dataset, keyword, day)
    for keyword in ("InstanceCreationTime", "ContentTime", "SeriesTime", "TimeOfSecondaryCapture"):
        if keyword in dataset:
            setattr(dataset, keyword, time)
    for item in dataset.get("ContributingEquipmentSequence", ()):
        item.ContributionDateTime = day + time
    dataset.ManufacturerModelName, dataset.SoftwareVersions = found.analysis, found.version
    return dataset
