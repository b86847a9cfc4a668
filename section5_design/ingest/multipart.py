"""The parts of a multipart/related body (RFC 2387), one at a time, however large."""

from collections.abc import Iterator
from typing import IO

from python_multipart.multipart import MultipartParser, parse_options_header

CHUNK = 1 << 18


class MultipartError(Exception):
    """The body is not what its Content-Type says."""


class PartStart:
    """A part begins; its headers come with it."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}


class PartEnd:
    """A part ends."""


Piece = PartStart | PartEnd | bytes


def boundary_of(content_type: str) -> bytes:
    """The boundary that a Content-Type names.

    Raises:
        MultipartError: it names none.

    """
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if kind != b"multipart/related" or not boundary:
        raise MultipartError("the body must be multipart/related with a boundary")
    return boundary


def pieces(body: IO[bytes], boundary: bytes) -> Iterator[Piece]:
    """The beginning of each part, its bytes, its end.

    Raises:
        MultipartError: the body ends before its last boundary, or is none.

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
            raise MultipartError("the body is no multipart body") from error
        headers_open = found and isinstance(found[-1], PartStart)
        kept = [found.pop()] if headers_open else []
        yield from found
        found[:] = kept
    yield from found
    if not ended:
        raise MultipartError("the body ends before its last boundary")
