"""Write multipart/related bodies (RFC 2387; PS3.18, 8.6.1.2) while they are sent, in little memory."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse


@dataclass(frozen=True)
class Part:
    """A part of a body.

    Attributes:
        media_type: its Content-Type.
        open: starts to read its content.
        size: bytes of its content, None if not known before.
        location: its Content-Location.

    """

    media_type: str
    open: Callable[[], Iterator[bytes]]
    size: int | None = None
    location: str = ""

    def header(self, boundary: str) -> bytes:
        """Return the delimiter and the header fields."""
        lines = [f"--{boundary}", f"Content-Type: {self.media_type}"]
        lines += [f"Content-Length: {self.size}"] if self.size is not None else []
        lines += [f"Content-Location: {self.location}"] if self.location else []
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


def respond(method: str, parts: Sequence[Part], *, multipart: bool) -> HttpResponseBase:
    """Respond with parts, or with a single one as it is.

    The first bytes are read before the response begins, so that an error there still decides its status. A later error
    leaves the body incomplete: shorter than its Content-Length, or with a part that has begun and no last delimiter.
    """
    if not multipart:
        content_type, body, sizes = parts[0].media_type, parts[0].open(), [parts[0].size]
    else:
        boundary = secrets.token_hex(16)
        kind = parts[0].media_type.partition(";")[0]
        content_type = f'multipart/related; type="{kind}"; boundary={boundary}'
        body = write(parts, boundary)
        sizes = [None if part.size is None else len(part.header(boundary)) + part.size + 2 for part in parts]
        sizes.append(len(boundary) + 6)
    response: HttpResponseBase
    if method == "HEAD":
        response = HttpResponse(content_type=content_type)
    else:
        response = StreamingHttpResponse(chain([next(body, b"")], body), content_type=content_type)
    known = [size for size in sizes if size is not None]
    if len(known) == len(sizes):
        response.headers["Content-Length"] = str(sum(known))
    return response


def write(parts: Sequence[Part], boundary: str) -> Iterator[bytes]:
    """Generate a body."""
    for number, part in enumerate(parts):
        content = part.open()
        try:
            start = next(content, b"")
        except Exception:
            if number:  # the server would end the body in order, without the parts that are missing
                yield part.header(boundary)
            raise
        yield part.header(boundary) + start
        yield from content
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()
