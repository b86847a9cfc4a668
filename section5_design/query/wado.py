"""WADO-RS (PS3.18, 10.4): retrieve instances, metadata, bulk data and frames."""

from collections.abc import Iterator
from functools import cache, partial
from itertools import chain
from typing import Any

from django.http import HttpRequest, HttpResponseBase

from accounts.audit_events import about_study, record_access, record_access_once
from accounts.readers import Reader
from archive.models import Instance
from archive.object_store import object_key, open_object
from audit.events import Subject
from ingest.addresses import study_url
from query.documents import choose_document_type, respond_documents
from query.errors import InvalidRequestError, NotAcceptableError, NotFoundError
from query.instances import find_instances
from query.media_types import MediaType, accepted
from query.metadata import PIXEL_DATA, build_metadata, find_bulk_data, iter_bulk_addresses, read_header
from query.multipart import Part, respond
from query.pixels import NATIVE, PixelReader, can_decode, iter_decoded, iter_stored
from query.service import dicomweb

DICOM, OCTETS, PDF = "application/dicom", "application/octet-stream", "application/pdf"
ENCAPSULATED_DOCUMENT = "00420011"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
MAX_FRAMES = 10_000  # in a list
# Media types of compressed pixels by transfer syntax (PS3.18, 8.7.3.3.2)
PIXEL_TYPES = {
    **{f"1.2.840.10008.1.2.4.{number}": "image/jpeg" for number in (50, 51, 57, 70)},
    **{f"1.2.840.10008.1.2.4.{number}": "image/jls" for number in (80, 81)},
    **{f"1.2.840.10008.1.2.4.{number}": "image/jp2" for number in (90, 91)},
    **{f"1.2.840.10008.1.2.4.{number}": "image/jpx" for number in (92, 93)},
    **{f"1.2.840.10008.1.2.4.{number}": "image/jphc" for number in (201, 202, 203)},
    "1.2.840.10008.1.2.5": "image/dicom-rle",
}


@dicomweb
def retrieve(request: HttpRequest, reader: Reader, **path: str) -> HttpResponseBase:
    """Retrieve a study, a series or an instance as DICOM files, each in the transfer syntax that is negotiated."""
    types = [one for one in accepted(request) if "instance" in path or one.multipart or one.name == "*/*"]
    if not any(one.covers(DICOM) for one in types) and any(one.multipart and one.covers(OCTETS) for one in types):
        return all_bulk_data(request, **path)  # PS3.18, 10.4.4
    found = find_instances(reader, path)
    single = is_single(types, DICOM, len(found))
    parts = [build_part(request, one, types, several=len(found) > 1) for one in found]
    record_access(request, "retrieved", f"{len(found)} instances", subject=about(found), actor=reader.name)
    return respond(str(request.method), parts, multipart=not single)


def is_single(types: list[MediaType], name: str, count: int) -> bool:
    """Return whether a response is one content as it is, not a multipart one."""
    preferred = next((one for one in types if one.covers(name)), None)
    return count == 1 and preferred is not None and not preferred.multipart and preferred.name != "*/*"


def build_part(request: HttpRequest, one: Instance, types: list[MediaType], *, several: bool) -> Part:
    """Return the part of an instance; one whose pixels turn out to be corrupt is sent as stored, if that may be.

    Raises:
        NotAcceptableError: none of the accepted transfer syntaxes can be sent.

    """
    stored, address = one.transfer_syntax_uid, instance_url(request, one)
    for media in types:
        if not media.covers(DICOM):
            continue
        wanted = media.transfer_syntax or EXPLICIT_LITTLE
        as_stored = wanted in ("*", stored) or (media.name == "*/*" and not can_decode(one))
        if as_stored:
            return Part(f"{DICOM}; transfer-syntax={stored}", partial(iter_stored, one), one.size, address)
        if wanted == EXPLICIT_LITTLE and can_decode(one):
            return Part(DICOM, partial(iter_decoded, one, or_stored=several or media.name == "*/*"), location=address)
    offered = f'multipart/related; type="{DICOM}", of one instance also {DICOM}'
    raise NotAcceptableError(f"offered: {offered}; as stored (transfer-syntax=*), or in {EXPLICIT_LITTLE}")


@dicomweb
def metadata(request: HttpRequest, reader: Reader, **path: str) -> HttpResponseBase:
    """Retrieve the attributes of a study's, a series' or an instance's instances as DICOM JSON or DICOM XML."""
    media = choose_document_type(request)
    found = find_instances(reader, path)
    record_access_once(request, "viewed", subject=about(found), actor=reader.name)
    return respond_documents(request, media, [partial(read_metadata, request, one) for one in found])


def read_metadata(request: HttpRequest, one: Instance) -> dict[str, Any]:
    """Read the attributes of an instance."""
    with open_object(object_key(one.sha256)) as file:
        address, has_pixels = instance_url(request, one), bool(one.decoded_size)
        return build_metadata(file, address, one.transfer_syntax_uid, has_pixels=has_pixels)


@dicomweb
def frames(request: HttpRequest, reader: Reader, numbers: str, **path: str) -> HttpResponseBase:
    """Retrieve frames, counted from 1, as stored or decoded."""
    wanted = parse_frames(numbers)
    (one, *_) = find_instances(reader, path)
    if not one.decoded_size or max(wanted) > (one.number_of_frames or 1):
        raise NotFoundError("there is no such frame")
    record_access_once(request, "viewed", subject=about([one]), actor=reader.name)
    return respond_frames(request, one, wanted)


def parse_frames(text: str) -> list[int]:
    """Parse a list of frame numbers.

    Raises:
        InvalidRequestError: it is malformed.

    """
    numbers = [int(one) if one.isascii() and one.isdecimal() and len(one) < 10 else 0 for one in text.split(",")]
    if 0 in numbers or len(numbers) > MAX_FRAMES:
        raise InvalidRequestError("frames: not a list of frame numbers, counted from 1")
    return numbers


def respond_frames(request: HttpRequest, one: Instance, wanted: list[int]) -> HttpResponseBase:
    """Respond with frames."""
    types = accepted(request)
    parts, name = build_frame_parts(request, one, wanted, types)
    single = is_single(types, name, len(wanted))
    if not single:
        require_multipart(types, name)
    return respond(str(request.method), parts, multipart=not single)


def respond_pixels(request: HttpRequest, one: Instance) -> HttpResponseBase:
    """Respond with all frames; decoded ones also as one value."""
    types, frames_of_image = accepted(request), list_frames(one)
    parts, name = build_frame_parts(request, one, frames_of_image, types)
    if name != OCTETS or not is_single(types, name, 1) or not choose_frame_type(one, types)[2]:
        return respond_frames(request, one, frames_of_image)
    value = Part(parts[0].media_type, lambda: chain.from_iterable(part.open() for part in parts))
    return respond(str(request.method), [value], multipart=False)


def require_multipart(types: list[MediaType], name: str) -> None:
    """Require that parts of a media type are accepted.

    Raises:
        NotAcceptableError: they are not.

    """
    if not any(media.covers(name) and (media.multipart or media.name == "*/*") for media in types):
        raise NotAcceptableError("several frames are sent as multipart/related")


def build_frame_parts(
    request: HttpRequest, one: Instance, wanted: list[int], types: list[MediaType]
) -> tuple[list[Part], str]:
    """Return the parts of frames of an instance, and their media type.

    Raises:
        NotAcceptableError: none of the accepted media types can be sent.

    """
    name, syntax, decodes = choose_frame_type(one, types)

    @cache
    def source() -> PixelReader:
        return PixelReader(open_object(object_key(one.sha256)), one)

    def read(number: int) -> Iterator[bytes]:
        yield source().decoded(number - 1) if decodes else source().stored(number - 1)

    kind, address = f"{name}; transfer-syntax={syntax}", instance_url(request, one)
    parts = [Part(kind, partial(read, number), location=f"{address}/frames/{number}") for number in wanted]
    return parts, name


def choose_frame_type(one: Instance, types: list[MediaType]) -> tuple[str, str, bool]:
    """Return the media type and the transfer syntax of frames, and whether they are decoded.

    Raises:
        NotAcceptableError: none of the accepted ones can be sent.

    """
    stored = one.transfer_syntax_uid
    native, compressed = stored in NATIVE, PIXEL_TYPES.get(stored, OCTETS)
    for media in types:
        if media.covers(OCTETS):
            wanted = media.transfer_syntax or EXPLICIT_LITTLE
            if wanted == EXPLICIT_LITTLE or (wanted in ("*", stored) and native):
                if native or can_decode(one):
                    return OCTETS, EXPLICIT_LITTLE, True
                if media.name == "*/*":
                    return compressed, stored, False
            if wanted in ("*", stored) and not native:
                return OCTETS, stored, False
        if media.covers(compressed) and not native and media.transfer_syntax in ("", "*", stored):
            return compressed, stored, False
    raise NotAcceptableError(f"offered: {OCTETS}" + ("" if native else f", {compressed}; transfer-syntax={stored}"))


@dicomweb
def bulk_data(request: HttpRequest, reader: Reader, tags: str, **path: str) -> HttpResponseBase:
    """Retrieve bulk data, as the metadata refers to it; pixels as frames."""
    (one, *_) = find_instances(reader, path)
    record_access_once(request, "viewed", subject=about([one]), actor=reader.name)
    if tags.upper() == PIXEL_DATA and one.decoded_size:
        return respond_pixels(request, one)
    with open_object(object_key(one.sha256)) as file:
        header = read_header(file)
        content = find_bulk_data(header, tags)
    types, names = accepted(request), [OCTETS]
    if tags == ENCAPSULATED_DOCUMENT and header.get("MIMETypeOfEncapsulatedDocument") == PDF:
        names.append(PDF)
    name = next((name for media in types for name in names if media.covers(name)), "")
    if not name:
        raise NotAcceptableError(f"offered: {', '.join(names)}")
    part = Part(name, lambda: iter([content]), len(content), request.build_absolute_uri(request.path))
    return respond(str(request.method), [part], multipart=not is_single(types, name, 1))


@dicomweb
def pixel_data(request: HttpRequest, reader: Reader, **path: str) -> HttpResponseBase:
    """Retrieve the frames of all images of a study, a series or an instance."""
    found, types = find_instances(reader, path), accepted(request)
    parts = []
    for one in found:
        if one.decoded_size:
            of_image, name = build_frame_parts(request, one, list_frames(one), types)
            require_multipart(types, name)
            parts += of_image
    if not parts:
        raise NotFoundError("there are no pixels")
    record_access(request, "retrieved", f"pixels of {len(found)} instances", subject=about(found), actor=reader.name)
    return respond(str(request.method), parts, multipart=True)


@dicomweb
def all_bulk_data(request: HttpRequest, reader: Reader, **path: str) -> HttpResponseBase:
    """Retrieve all bulk data of a study, a series or an instance, pixels as frames."""
    found, types = find_instances(reader, path), accepted(request)
    require_multipart(types, OCTETS)
    parts = [part for one in found for part in build_bulk_parts(request, one, types)]
    if not parts:
        raise NotFoundError("there are no bulk data")
    record_access(request, "retrieved", f"bulk data of {len(found)} instances", subject=about(found), actor=reader.name)
    return respond(str(request.method), parts, multipart=True)


def build_bulk_parts(request: HttpRequest, one: Instance, types: list[MediaType]) -> list[Part]:
    """Return the parts of an instance's bulk data."""

    def read(tags: str) -> Iterator[bytes]:
        with open_object(object_key(one.sha256)) as file:
            yield find_bulk_data(read_header(file), tags)

    parts, start = [], f"{instance_url(request, one)}/bulkdata/"
    for address in iter_bulk_addresses(read_metadata(request, one)):
        tags = address.removeprefix(start)
        if tags == PIXEL_DATA:
            parts += build_frame_parts(request, one, list_frames(one), types)[0]
        else:
            parts.append(Part(OCTETS, partial(read, tags), location=address))
    return parts


def list_frames(one: Instance) -> list[int]:
    """Return the numbers of all frames of an image."""
    return list(range(1, (one.number_of_frames or 1) + 1))


def instance_url(request: HttpRequest, one: Instance) -> str:
    """Return the address of an instance."""
    return study_url(request, one.series.study.uid, one.series.uid, one.sop_instance_uid)


def about(found: list[Instance]) -> Subject:
    """Return the subject of an audit event: the study."""
    return about_study(found[0].series.study)
