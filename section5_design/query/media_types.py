"""Negotiate media types (PS3.18, 8.7): the Accept header, or the query parameter `accept` instead of it."""

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
    """Return what a request accepts, the preferred first.

    Raises:
        InvalidRequestError: it is malformed.

    """
    text = request.GET.get("accept") or request.headers.get("Accept", "")
    if len(text) > MAX_ACCEPT:
        raise InvalidRequestError("the accepted media types are too long")
    found = [parse(part) for part in split(text) if part.strip()]
    if not found:
        return [ANY]
    return sorted((one for one in found if one.quality), key=lambda one: -one.quality)


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
    if name == "multipart/related":
        return MediaType(values.get("type", "*/*").lower(), True, syntax, quality)
    return MediaType(name, False, syntax, quality)
