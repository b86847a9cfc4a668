"""Negotiate media types (PS3.18, 8.7): the query parameter `accept`, then the Accept header."""

import re
from dataclasses import dataclass, field
from email.message import Message

from django.http import HttpRequest

from query.errors import InvalidRequestError

MAX_ACCEPT = 4096  # characters


@dataclass(frozen=True)
class MediaType:
    """A media type that a client accepts: of a multipart type, that of its parts.

    Attributes:
        name: such as application/dicom; `*/*` and `image/*` occur.
        multipart: whether it is the type of the parts of multipart/related.
        transfer_syntax: its parameter; empty if the client names none.

    """

    name: str
    multipart: bool = False
    transfer_syntax: str = ""
    quality: float = field(default=1.0, compare=False)

    def covers(self, name: str) -> bool:
        """Return whether a media type is one of these."""
        kind, _, rest = self.name.partition("/")
        return self.name in ("*/*", name) or (rest == "*" and name.startswith(f"{kind}/"))


ANY = MediaType("*/*")


def accepted(request: HttpRequest) -> list[MediaType]:
    """Return what a request accepts, the preferred first: the query parameter, then the header (PS3.18, 8.7.8.1).

    Raises:
        InvalidRequestError: it is malformed.

    """
    parameter = re.sub(r"(?<=[a-z]) (?=[a-z])", "+", request.GET.get("accept", ""))  # a + that was not escaped
    found = [*parse_list(parameter), *parse_list(request.headers.get("Accept", ""))]
    return [one for one in found if one.quality] if found else [ANY]


def parse_list(text: str) -> list[MediaType]:
    """Parse media types, and sort them by their quality.

    Raises:
        InvalidRequestError: one is malformed.

    """
    if len(text) > MAX_ACCEPT:
        raise InvalidRequestError("the accepted media types are too long")
    return sorted((parse(part) for part in split(text) if part.strip()), key=lambda one: -one.quality)


def split(text: str) -> list[str]:
    """Split at commas outside of quotes."""
    parts, quoted = [""], False
    for character in text:
        quoted ^= character == '"'
        if character == "," and not quoted:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def parse(text: str) -> MediaType:
    """Parse a media type with its parameters."""
    message = Message()
    message["Content-Type"] = text.strip().replace("\r", "").replace("\n", "")
    values = {name.lower(): str(value) for name, value in message.get_params(failobj=[])}
    name = next(iter(values), "")
    try:
        quality = float(values.get("q", 1))
    except ValueError:
        quality = -1.0
    if "/" not in name or not 0 <= quality <= 1:
        raise InvalidRequestError("Accept: not a media type")
    syntax = values.get("transfer-syntax", "")
    if name in ("multipart/related", "multipart/*"):
        return MediaType(values.get("type", "*/*").lower(), True, syntax, quality)
    return MediaType(name, False, syntax, quality)
