"""Read the parts of a multipart/related body (RFC 2387) one at a time, however large."""

from collections.abc import Iterator
from typing import IO

from python_multipart.multipart import MultipartParser, parse_options_header

CHUNK = 1 << 18
MAX_BOUNDARY = 256  # bytes, of the parser; RFC 2046 allows 70


class MultipartError(Exception):
    """The body does not match its Content-Type."""


class PartStart:
    """A part begins; its headers come with it."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}


class PartEnd:
    """A part ends."""


Piece = PartStart | PartEnd | bytes


class PartTypeError(MultipartError):
    """The parts are of another media type than is read here."""


def parse_boundary(content_type: str, part_type: str) -> bytes:
    """Return the boundary in a Content-Type.

    Args:
        content_type: the header.
        part_type: the media type of the parts; `type` may be missing, but not another one.

    Raises:
        PartTypeError: the parts are of another type.
        MultipartError: it has no boundary.

    """
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if kind != b"multipart/related" or not boundary or len(boundary) > MAX_BOUNDARY:
        raise MultipartError("the body must be multipart/related with a boundary")
    if options.get(b"type", part_type.encode()).lower() != part_type.encode():
        raise PartTypeError(f"the parts must be {part_type}")
    return boundary


def iter_parts(body: IO[bytes], boundary: bytes) -> Iterator[Piece]:
    """Iterate over the start, the bytes and the end of each part.

    Raises:
        MultipartError: the body is not multipart, or ends before its last boundary.

    """
    found: list[Piece] = []
    name, value = bytearray(), bytearray()
    ended = False

    def end_header() -> None:
        start = found[-1]
        assert isinstance(start, PartStart)  # noqa: S101  # for the type checker
        start.headers[name.decode("latin-1").lower()] = value.decode("latin-1")
        name.clear()
        value.clear()

    def end() -> None:
        nonlocal ended
        ended = True

    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": lambda: found.append(PartStart()),
            "on_header_field": lambda data, start, stop: name.extend(data[start:stop]),
            "on_header_value": lambda data, start, stop: value.extend(data[start:stop]),
            "on_header_end": end_header,
            "on_part_data": lambda data, start, stop: found.append(bytes(data[start:stop])),
            "on_part_end": lambda: found.append(PartEnd()),
            "on_end": end,
        },
    )
    while part := body.read(CHUNK):
        try:
            parser.write(part)
        except Exception as error:
            raise MultipartError("the body is not a multipart body") from error
        headers_open = found and isinstance(found[-1], PartStart)
        kept = [found.pop()] if headers_open else []
        yield from found
        found[:] = kept
    yield from found
    if not ended:
        raise MultipartError("the body ends before its last boundary")
