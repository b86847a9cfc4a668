"""WADO-RS (PS3.18, 10.4) as its clients see it."""

import http.client
import io
import os
import re
import subprocess
import warnings
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

import numpy as np
import pydicom
import pytest
from dicomweb_client import DICOMwebClient
from PIL import Image, ImageCms
from pydicom.data import get_testdata_file
from pydicom.pixels import pixel_array
from pydicom.uid import ExplicitVRLittleEndian

from system import Answer, System, database, instance, needs

NAMES = {
    "1.3.1": "CT_small.dcm",
    "1.3.2": "JPEG2000.dcm",  # 16 bits
    "1.3.3": "emri_small.dcm",  # 10 frames
    "1.3.4": "emri_small_jpeg_ls_lossless.dcm",
    "1.3.5": "SC_rgb_rle_2frame.dcm",
    "1.3.6": "emri_small_big_endian.dcm",
    "1.3.7": "reportsi.dcm",  # no pixels
    "1.3.8": "MR_small_implicit.dcm",
    "1.3.9": "liver.dcm",  # segmentation of 1 bit
    "1.3.10": "image_dfl.dcm",  # deflated
    "1.3.11": "SC_rgb_jpeg_dcmtk.dcm",
    "1.3.12": "liver_expb_1frame.dcm",  # 1 bit, big endian
}
STUDY, SERIES = "1.3", "1.3.0"
LATIN = {"SpecificCharacterSet": "ISO_IR 192"}
RELATED = 'multipart/related; type="{}"'


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with database(f"wado_{os.getpid()}") as url:
        running = System(tmp_path_factory.mktemp("system"), url, ("web",))
        with running:
            for uid, name in NAMES.items():
                place = {"StudyInstanceUID": STUDY, "SeriesInstanceUID": SERIES, "InstanceNumber": int(uid[4:])}
                assert running.post(instance(name, SOPInstanceUID=uid, **place)[1]).status == 200
            yield running


def path_of(uid: str) -> str:
    return f"/dicom-web/studies/{STUDY}/series/{SERIES}/instances/{uid}"


def original(uid: str) -> bytes:
    place = {"StudyInstanceUID": STUDY, "SeriesInstanceUID": SERIES, "InstanceNumber": int(uid[4:])}
    return instance(NAMES[uid], SOPInstanceUID=uid, **place)[1]


def get(system: System, path: str, accept: str = "*/*") -> Answer:
    return system.ask("GET", path, Accept=accept)


def parts_of(answer: Answer) -> list[tuple[str, bytes]]:
    """Content type and content of each part, as Python's own parser reads them."""
    assert answer.status == 200, answer.body
    head = f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode()
    message = message_from_bytes(head + answer.body)
    assert message.is_multipart()
    assert not message.defects
    found: list[Any] = message.get_payload()  # type: ignore[assignment]
    boundary = b"--" + str(message.get_boundary()).encode()
    contents = [part.partition(b"\r\n\r\n")[2][:-2] for part in answer.body.split(boundary)[1:-1]]
    return [(part["Content-Type"], content) for part, content in zip(found, contents, strict=True)]


def read(content: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(content))


def pixels_of(uid: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pixel_array(read(original(uid)))  # some encodings are only decoded from a data set


def test_a_study_is_retrieved_as_stored(archive: System) -> None:
    answer = get(archive, f"/dicom-web/studies/{STUDY}", RELATED.format("application/dicom") + "; transfer-syntax=*")
    parts = parts_of(answer)
    assert [content for _, content in parts] == [original(uid) for uid in NAMES]
    assert int(answer.headers["Content-Length"]) == len(answer.body)
    assert parts[1][0] == "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.91"


@pytest.mark.parametrize("uid", [*NAMES])
def test_an_instance_is_decoded_to_explicit_vr_little_endian_by_default(archive: System, uid: str) -> None:
    ((kind, content),) = parts_of(get(archive, path_of(uid), RELATED.format("application/dicom")))
    assert kind.startswith("application/dicom")
    dataset = read(content)
    assert dataset.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert dataset.SOPInstanceUID == uid
    if uid != "1.3.7":
        np.testing.assert_array_equal(dataset.pixel_array, pixels_of(uid))


def test_a_single_instance_is_sent_without_parts_where_the_client_wants_it(archive: System) -> None:
    answer = get(archive, path_of("1.3.2"), "application/dicom; transfer-syntax=*")
    assert (answer.status, answer.body) == (200, original("1.3.2"))
    assert answer.headers["Content-Type"].startswith("application/dicom;")
    assert len(parts_of(get(archive, path_of("1.3.2")))) == 1
    assert get(archive, path_of("1.3.2") + "?accept=application/dicom").status == 200


@pytest.mark.parametrize(
    ("resource", "accept", "status"),
    [
        ("", "text/html", 406),
        ("", 'multipart/related; type="image/jpeg"', 406),
        ("", 'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.50', 406),
        ("", "garbage", 400),
        ("", "*/*;q=x", 400),
        ("/metadata", "application/dicom", 406),
        ("/frames/1", "image/gif", 406),
        ("/frames/1", 'multipart/related; type="image/jls"', 406),
        ("/frames/1", "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.4.90", 406),
        ("/frames/0", "*/*", 400),
        ("/frames/1,,2", "*/*", 400),
        ("/frames/x", "*/*", 400),
        ("/frames/2", "*/*", 404),
        ("/frames/999999999999", "*/*", 400),
        ("/bulkdata/00420011", "*/*", 404),
        ("/bulkdata/00080005", "*/*", 404),
        ("/bulkdata/PixelData", "*/*", 400),
        ("/bulkdata/00081140/0", "*/*", 400),
        ("/rendered", "image/webp", 406),
        ("/rendered?window=1", "*/*", 400),
        ("/rendered?window=1,-5,linear", "*/*", 400),
        ("/rendered?window=1,5,cubic", "*/*", 400),
        ("/rendered?viewport=0,0", "*/*", 400),
        ("/rendered?viewport=999999,1", "*/*", 400),
        ("/rendered?viewport=10,10,500,500", "*/*", 400),
        ("/rendered?viewport=10,10,nan,0", "*/*", 400),
        ("/rendered?quality=0", "*/*", 400),
        ("/rendered?iccprofile=adobergb", "*/*", 400),
        ("/rendered?iccprofile=yes", "image/gif", 400),
        ("/pixeldata", "image/jpeg", 406),
        ("/pixeldata", "application/octet-stream", 406),
        ("/bulkdata", "text/plain", 406),
        ("/frames/2/rendered", "*/*", 404),
        ("/thumbnail?viewport=a", "*/*", 400),
        ("/nothing", "*/*", 404),
    ],
)
def test_what_cannot_be_answered_has_the_status_of_the_standard(
    archive: System, resource: str, accept: str, status: int
) -> None:
    assert get(archive, path_of("1.3.1") + resource, accept).status == status


@pytest.mark.parametrize(
    ("accept", "parameter", "expected"),
    [
        ("multipart/related; type=application/dicom", "", "multipart/related"),
        ('Multipart/Related; Type="Application/DICOM"; q=1.0', "", "multipart/related"),
        ("multipart/*", "", "multipart/related"),
        ("text/html, application/xml;q=0.9, application/dicom;q=0.8, */*;q=0.1", "", "application/dicom"),
        ("text/html", "application/dicom", "application/dicom"),
        ("application/dicom", "text/html", "application/dicom"),  # PS3.18, 8.7.8.1: neither excludes the other
        ("application/dicom", 'multipart/related; type="application/dicom"', "multipart/related"),
    ],
)
def test_media_types_are_negotiated(archive: System, accept: str, parameter: str, expected: str) -> None:
    answer = get(archive, path_of("1.3.1") + (f"?accept={quote(parameter)}" if parameter else ""), accept)
    assert (answer.status, answer.headers["Content-Type"].partition(";")[0]) == (200, expected)


def test_a_plus_in_the_query_parameter_need_not_be_escaped(archive: System) -> None:
    answer = get(archive, path_of("1.3.1") + "/metadata?accept=application/dicom+xml", "application/dicom+json")
    assert answer.headers["Content-Type"] == "application/dicom+xml"


def test_a_study_is_not_sent_as_a_single_part(archive: System) -> None:
    assert archive.post(instance(StudyInstanceUID="1.10", SeriesInstanceUID="1.10.1")[1]).status == 200
    for resource in ("/dicom-web/studies/1.10", "/dicom-web/studies/1.10/series/1.10.1"):
        assert get(archive, resource, "application/dicom").status == 406
        assert len(parts_of(get(archive, resource, 'application/dicom, multipart/related; type="*/*"'))) == 1


def test_octets_of_instances_are_their_bulk_data(archive: System) -> None:
    octets = RELATED.format("application/octet-stream")
    parts = parts_of(get(archive, path_of("1.3.1"), octets))
    assert [content for _, content in parts] == [
        content for _, content in parts_of(get(archive, path_of("1.3.1") + "/bulkdata", octets))
    ]


def test_an_unsupported_parameter_is_ignored_with_a_warning(archive: System) -> None:
    answer = get(archive, path_of("1.3.1") + "/rendered?presentationUID=1.2")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "image/jpeg")
    assert (
        answer.headers["Warning"] == '299 section5 "The following query parameters are not supported: presentationUID"'
    )


def test_pixels_that_cannot_be_decoded_are_sent_as_stored_where_that_may_be(archive: System) -> None:
    uid, content = instance("JPEG2000.dcm", StudyInstanceUID="1.11", SeriesInstanceUID="1.11.1", Rows=1)
    content = content.replace(b"\xff\x4f\xff\x51", b"\xff\x4f\xff\x00")
    assert archive.post(content).status == 200
    path = f"/dicom-web/studies/1.11/series/1.11.1/instances/{uid}"
    assert [sent for _, sent in parts_of(get(archive, path))] == [content]
    assert get(archive, path, RELATED.format("application/dicom")).status == 406


def test_unknown_and_malformed_uids(archive: System) -> None:
    for resource in ("", "/metadata", "/rendered", "/thumbnail"):
        assert get(archive, f"/dicom-web/studies/1.9{resource}").status == 404
        assert get(archive, f"/dicom-web/studies/abc{resource}").status == 400
    assert get(archive, f"/dicom-web/studies/1.9/series/{SERIES}/instances/1.3.1").status == 404
    assert get(archive, "/dicom-web/studies/1.3,1.4").status == 400


def test_metadata_has_every_attribute_and_addresses_of_bulk_data(archive: System) -> None:
    documents = get(archive, f"/dicom-web/studies/{STUDY}/metadata", "application/dicom+json").json()
    assert [one["00080018"]["Value"][0] for one in documents] == list(NAMES)
    first, header = documents[0], read(original("1.3.1"))
    assert set(first) == {f"{tag:08X}" for tag in header.keys() if tag.element < 0xFFFC} | {"00083002"}  # noqa: SIM118
    assert first["7FE00010"] == {
        "vr": "OW",
        "BulkDataURI": f"http://127.0.0.1:{archive.http}{path_of('1.3.1')}/bulkdata/7FE00010",
    }
    assert first["00431029"]["BulkDataURI"].endswith("/bulkdata/00431029")
    dataset = pydicom.Dataset.from_json({name: one for name, one in first.items() if "BulkDataURI" not in one})
    for element in dataset:
        if element.tag not in (0x00083002, 0x00080005):
            assert element.value == header[element.tag].value, element.tag
    assert "7FE00010" not in documents[6]


def attributes_of(root: ET.Element) -> dict[Any, Any]:
    """The attributes of a Native DICOM Model by tag and creator: VR, keyword, and values, numbers as such."""
    found: dict[Any, Any] = {}
    for one in root.findall("{*}DicomAttribute"):
        values: list[Any] = [number_or_text(value.text or "") for value in one.findall("{*}Value")]
        values += [attributes_of(item) for item in one.findall("{*}Item")]
        parts = one.findall("{*}PersonName/*/*")
        values += [(part.tag.rpartition("}")[2], part.text) for part in parts if part.text]
        key = (one.get("tag"), one.get("privateCreator"))
        retired = one.get("tag") == "00101000"  # its keyword is left out by DCMTK
        found[key] = (one.get("vr"), None if retired else one.get("keyword"), values)
    return found


def number_or_text(text: str) -> float | str:
    try:
        return float(f"{float(text):.6g}")  # DCMTK prints nine digits
    except ValueError:
        return text.strip()


@pytest.mark.parametrize("uid", ["1.3.1", "1.3.3", "1.3.7"])
def test_metadata_as_xml_is_that_of_dcmtk(archive: System, tmp_path: Path, uid: str) -> None:
    (tmp_path / "file").write_bytes(original(uid))
    command = [needs("dcm2xml", "dcmtk"), "--native-format", str(tmp_path / "file")]
    expected = attributes_of(ET.fromstring(subprocess.run(command, check=True, capture_output=True).stdout))
    ((kind, content),) = parts_of(get(archive, path_of(uid) + "/metadata", RELATED.format("application/dicom+xml")))
    assert kind == "application/dicom+xml"
    found = attributes_of(ET.fromstring(content))
    changed = {"SpecificCharacterSet", "AvailableTransferSyntaxUID", "PixelData", "DataSetTrailingPadding"}
    for attributes in (expected, found):
        for key in [key for key, (_, keyword, _) in attributes.items() if keyword in changed or key[0] < "0008"]:
            del attributes[key]
    binary = {key for key, (vr, *_) in expected.items() if vr in ("OB", "OW", "UN")}
    assert {key: one for key, one in found.items() if key not in binary} == {
        key: one for key, one in expected.items() if key not in binary
    }


def test_metadata_as_xml_holds_any_text(archive: System) -> None:
    place = {"StudyInstanceUID": "1.7", "SeriesInstanceUID": "1.7.1", "SOPInstanceUID": "1.7.1.1"}
    text = 'a < b & "c"\r\n\x0b\x1f]]>'
    assert archive.post(instance(**place, ImageComments=text, PatientName="Lõpez^^Ä=山田", **LATIN)[1]).status == 200
    answer = get(archive, "/dicom-web/studies/1.7/metadata", "application/dicom+xml")
    assert answer.headers["Content-Type"] == "application/dicom+xml"
    found = attributes_of(ET.fromstring(answer.body))
    assert found["00204000", None][2] == [re.sub("[\x0b\x1f]", "\ufffd", text)]
    assert found["00100010", None][2] == [("FamilyName", "Lõpez"), ("MiddleName", "Ä"), ("FamilyName", "山田")]


def test_bulk_data_and_pixels_of_a_series_are_retrieved(archive: System) -> None:
    place = {"StudyInstanceUID": "1.8", "SeriesInstanceUID": "1.8.1"}
    document = b"document" * 1000
    for number, name in enumerate(("CT_small.dcm", "emri_small.dcm", "reportsi.dcm"), 1):
        content = instance(name, **place, InstanceNumber=number, EncapsulatedDocument=document)[1]
        assert archive.post(content).status == 200
    octets = RELATED.format("application/octet-stream")
    frames = [content for _, content in parts_of(get(archive, "/dicom-web/studies/1.8/series/1.8.1/pixeldata", octets))]
    pixels = read(original("1.3.1")).PixelData + read(original("1.3.3")).PixelData
    assert (len(frames), b"".join(frames)) == (11, pixels)
    parts = [content for _, content in parts_of(get(archive, "/dicom-web/studies/1.8/bulkdata", octets))]
    assert [part for part in parts if part in frames] == frames
    assert parts.count(document) == 3
    found = search_uid(archive, "1.8")
    assert get(archive, f"/dicom-web/studies/1.8/series/1.8.1/instances/{found}/pixeldata", octets).status == 404


def search_uid(archive: System, study: str) -> str:
    """The SOP Instance UID of the last image of a study."""
    found = get(archive, f"/dicom-web/studies/{study}/instances?InstanceNumber=3").json()
    return str(found[0]["00080018"]["Value"][0])


def test_annotations_are_written_into_the_picture(archive: System) -> None:
    plain, patient, technique = (
        np.asarray(picture(get(archive, path_of("1.3.1") + f"/rendered?viewport=512,512{more}", "image/png")))
        for more in ("", "&annotation=patient", "&annotation=technique,patient")
    )
    changed = patient != plain
    assert changed[:256, :256].any()
    assert not changed[300:].any()
    assert (patient != technique).any()
    answer = get(archive, path_of("1.3.1") + "/rendered?annotation=patient,weather%22")
    assert answer.headers["Warning"] == '299 section5 "The following annotation values are not supported: weather?"'


def test_a_colour_profile_is_included_on_request(archive: System) -> None:
    for accept in ("image/jpeg", "image/png"):
        profile = picture(get(archive, path_of("1.3.11") + "/rendered?iccprofile=srgb", accept)).info["icc_profile"]
        assert "sRGB" in ImageCms.getProfileName(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    assert "icc_profile" not in picture(get(archive, path_of("1.3.11") + "/rendered")).info


def test_bulk_data_is_found_where_the_metadata_says(archive: System) -> None:
    nested = pydicom.Dataset()
    nested.EncapsulatedDocument = b"inside" * 1000
    place = {"StudyInstanceUID": "1.4", "SeriesInstanceUID": "1.4.1", "SOPInstanceUID": "1.4.1.1"}
    content = instance(**place, EncapsulatedDocument=b"outside" * 1000, SourceImageSequence=[nested])[1]
    assert archive.post(content).status == 200
    (document,) = get(archive, "/dicom-web/studies/1.4/series/1.4.1/instances/1.4.1.1/metadata").json()
    inner = document["00082112"]["Value"][0]["00420011"]["BulkDataURI"]
    for address, value in ((document["00420011"]["BulkDataURI"], b"outside"), (inner, b"inside")):
        path = "/" + address.split("/", 3)[3]
        assert get(archive, path, "application/octet-stream").body[: len(value) * 1000] == value * 1000
        assert parts_of(get(archive, path))[0][1][: len(value) * 1000] == value * 1000


@pytest.mark.parametrize(("kind", "status"), [("application/pdf", 200), ("text/html", 406)])
def test_an_encapsulated_pdf_is_sent_as_such(archive: System, kind: str, status: int) -> None:
    """A viewer adds the query parameter to the address in the metadata."""
    place = {"StudyInstanceUID": "1.12", "SeriesInstanceUID": "1.12.1"}
    document = b"%PDF-1.4" + b"\n" * 2000
    uid, content = instance(**place, EncapsulatedDocument=document, MIMETypeOfEncapsulatedDocument=kind)
    assert archive.post(content).status == 200
    path = f"/dicom-web/studies/1.12/series/1.12.1/instances/{uid}/bulkdata/00420011"
    answer = get(archive, f"{path}?accept={kind}", "image/png")
    assert answer.status == status
    if status == 200:
        assert (answer.headers["Content-Type"], answer.body) == (kind, document)


def test_bulk_data_of_pixels_is_their_frames(archive: System) -> None:
    parts = parts_of(get(archive, path_of("1.3.3") + "/bulkdata/7FE00010"))
    assert b"".join(content for _, content in parts) == read(original("1.3.3")).PixelData
    single = get(archive, path_of("1.3.3") + "/bulkdata/7FE00010", "application/octet-stream")
    assert (single.status, single.body) == (200, read(original("1.3.3")).PixelData)
    assert get(archive, path_of("1.3.4") + "/bulkdata/7FE00010", "image/jls").status == 406


@pytest.mark.parametrize("uid", [uid for uid in NAMES if uid != "1.3.7"])
def test_frames_are_decoded(archive: System, uid: str) -> None:
    values = pixels_of(uid)
    count = int(read(original(uid)).get("NumberOfFrames", 1))
    wanted = [count, 1] if count > 1 else [1]
    numbers = ",".join(map(str, wanted))
    accept = RELATED.format("application/octet-stream")
    parts = parts_of(get(archive, f"{path_of(uid)}/frames/{numbers}", accept))
    for number, (kind, content) in zip(wanted, parts, strict=True):
        frame = values[number - 1] if count > 1 else values
        assert kind == "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
        if read(original(uid)).BitsAllocated == 1:
            assert content == np.packbits(frame, bitorder="little").tobytes()
        else:
            assert content == frame.astype(frame.dtype.newbyteorder("<")).tobytes()


def test_frames_are_sent_as_stored(archive: System) -> None:
    stored = list(pydicom.encaps.generate_frames(read(original("1.3.4")).PixelData, number_of_frames=10))
    for accept, kind in (
        (RELATED.format("application/octet-stream") + "; transfer-syntax=*", "application/octet-stream"),
        (RELATED.format("image/jls"), "image/jls"),
        (RELATED.format("image/*") + ", */*;q=0.1", "image/jls"),
    ):
        parts = parts_of(get(archive, path_of("1.3.4") + "/frames/3,1", accept))
        assert parts == [(f"{kind}; transfer-syntax=1.2.840.10008.1.2.4.80", stored[at]) for at in (2, 0)]
    answer = get(archive, path_of("1.3.4") + "/frames/2", "image/jls")
    assert (answer.status, answer.body) == (200, stored[1])
    assert get(archive, path_of("1.3.4") + "/frames/1,2", "image/jls").status == 406


@pytest.mark.parametrize(
    ("content", "syntax"),
    [
        (Path(str(get_testdata_file("badVR.dcm"))).read_bytes(), "1.2.840.10008.1.2.1"),  # NumberOfFrames 1A
        (Path(str(get_testdata_file("SC_rgb_jpeg.dcm"))).read_bytes(), "*"),  # JPEG, with native pixels
        (instance(Rows=200)[1], "*"),
    ],
)
def test_corrupt_frames_are_not_acceptable(archive: System, content: bytes, syntax: str) -> None:
    address = archive.post(content).json()["00081199"]["Value"][0]["00081190"]["Value"][0]
    path = f"/dicom-web{address.partition('/dicom-web')[2]}/frames/1"
    answer = get(archive, path, RELATED.format("application/octet-stream") + f"; transfer-syntax={syntax}")
    assert (answer.status, answer.body.startswith(b"a frame cannot be decoded")) == (406, True)


def picture(answer: Answer) -> Image.Image:
    assert answer.status == 200, answer.body
    return Image.open(io.BytesIO(answer.body))


def test_an_image_is_rendered_as_jpeg_png_or_gif(archive: System) -> None:
    small, large = (len(get(archive, path_of("1.3.1") + f"/rendered?quality={quality}").body) for quality in (5, 100))
    assert small < large / 2
    for accept, form in (
        ("*/*", "JPEG"),
        ("image/jpeg", "JPEG"),
        ("image/png", "PNG"),
        ("image/gif", "GIF"),
        ("image/png, */*;q=0", "PNG"),
    ):
        shown = picture(get(archive, path_of("1.3.1") + "/rendered", accept))
        assert (shown.format, shown.size) == (form, (128, 128))


def test_the_window_decides_what_is_black_and_white(archive: System) -> None:
    values = pixels_of("1.3.1").astype(float) + float(read(original("1.3.1")).RescaleIntercept)
    for function, mapped in (
        ("linear", (values - 99.5) / 199 + 0.5),
        ("linear-exact", (values - 100) / 200 + 0.5),
        ("sigmoid", 1 / (1 + np.exp(-4 * (values - 100) / 200))),
    ):
        answer = get(archive, path_of("1.3.1") + f"/rendered?window=100,200,{function}", "image/png")
        expected = np.clip(mapped, 0, 1) * 255
        assert np.abs(np.asarray(picture(answer)) - expected).max() <= 1


def test_the_viewport_scales_cuts_and_mirrors(archive: System) -> None:
    whole = np.asarray(picture(get(archive, path_of("1.3.1") + "/rendered", "image/png")))
    for viewport, size in (("64,64", (64, 64)), ("64,200", (64, 64)), ("256,256", (256, 256))):
        assert picture(get(archive, path_of("1.3.1") + f"/rendered?viewport={viewport}")).size == size
    cut = picture(get(archive, path_of("1.3.1") + "/rendered?viewport=20,30,10,40,20,30", "image/png"))
    np.testing.assert_array_equal(np.asarray(cut), whole[40:70, 10:30])
    mirrored = picture(get(archive, path_of("1.3.1") + "/rendered?viewport=128,128,,,-128,128", "image/png"))
    np.testing.assert_array_equal(np.asarray(mirrored), whole[:, ::-1])


def test_frames_series_and_studies_are_rendered(archive: System) -> None:
    jpeg = RELATED.format("image/jpeg")
    assert picture(get(archive, path_of("1.3.3") + "/frames/10/rendered")).size == (64, 64)
    assert picture(get(archive, path_of("1.3.3") + "/rendered", "image/jpeg")).size == (64, 64)
    assert len(parts_of(get(archive, path_of("1.3.3") + "/frames/1,2/rendered", jpeg))) == 2
    assert len(parts_of(get(archive, path_of("1.3.3") + "/rendered", jpeg))) == 10
    assert len(parts_of(get(archive, f"/dicom-web/studies/{STUDY}/series/{SERIES}/rendered", jpeg))) >= 30
    assert get(archive, f"/dicom-web/studies/{STUDY}/rendered", "image/jpeg").status == 406


def test_thumbnails_are_small(archive: System) -> None:
    series = f"/dicom-web/studies/{STUDY}/series/{SERIES}"
    for resource in (f"/dicom-web/studies/{STUDY}", series, path_of("1.3.10"), path_of("1.3.3") + "/frames/2"):
        assert max(picture(get(archive, f"{resource}/thumbnail")).size) <= 128
    assert picture(get(archive, f"{path_of('1.3.1')}/thumbnail?viewport=32,32", "image/png")).size == (32, 32)
    assert get(archive, f"{path_of('1.3.7')}/thumbnail").status == 406


def test_python_client_retrieves(archive: System) -> None:
    client = DICOMwebClient(f"http://127.0.0.1:{archive.http}/dicom-web")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert len(client.retrieve_study(STUDY)) == len(NAMES)
        assert client.retrieve_instance(STUDY, SERIES, "1.3.1").PatientID == read(original("1.3.1")).PatientID
        assert len(client.retrieve_study_metadata(STUDY)) == len(NAMES)
        frames = client.retrieve_instance_frames(STUDY, SERIES, "1.3.3", [1, 5])
        assert frames[1] == pixels_of("1.3.3")[4].tobytes()
        assert client.retrieve_instance_rendered(STUDY, SERIES, "1.3.1")[:2] == b"\xff\xd8"


def test_of_two_contents_under_one_uid_the_first_is_retrieved(archive: System) -> None:
    place = {"StudyInstanceUID": "1.5", "SeriesInstanceUID": "1.5.1", "SOPInstanceUID": "1.5.1.1"}
    contents = [instance(**place, SeriesDescription=name)[1] for name in ("first", "second")]
    for content in contents:
        assert archive.post(content).status == 200
    parts = parts_of(get(archive, "/dicom-web/studies/1.5", RELATED.format("application/dicom")))
    assert [content for _, content in parts] == contents[:1]


def test_an_altered_object_is_not_sent_as_complete(archive: System) -> None:
    place = {"StudyInstanceUID": "1.6", "SeriesInstanceUID": "1.6.1"}
    uids = [instance(**place, InstanceNumber=number) for number in (1, 2)]
    for _, content in uids:
        assert archive.post(content).status == 200
    ((sha256,),) = archive.query("SELECT sha256 FROM archive_instance WHERE sop_instance_uid = %s", uids[1][0])
    path = archive.folder / "store" / "objects" / sha256[:2] / sha256
    altered = bytearray(path.read_bytes())
    altered[-1] ^= 1
    path.write_bytes(altered)
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        get(archive, "/dicom-web/studies/1.6")
    answer = get(archive, f"/dicom-web/studies/1.6/series/1.6.1/instances/{uids[1][0]}")
    assert (answer.status, b"altered" in answer.body) == (500, True)


def test_head_has_the_headers_only(archive: System) -> None:
    answer = archive.ask("HEAD", path_of("1.3.1"), Accept="application/dicom")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["Content-Length"]) == len(original("1.3.1"))
