"""Send attributes as DICOM JSON, or as DICOM XML with a part for each result (PS3.18, 8.7.3.2)."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import orjson
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse

from core.dicom_xml import XML, Document, to_xml
from query.dicom_json import JSON
from query.errors import NotAcceptableError
from query.media_types import MediaType, accepted
from query.multipart import Part, respond


def choose_document_type(request: HttpRequest) -> MediaType:
    """Return the accepted media type of documents: JSON, XML, or parts of XML.

    Raises:
        NotAcceptableError: none of them is accepted.

    """
    for media in accepted(request):
        if not media.multipart and (media.covers(JSON) or media.name == "application/json"):
            return MediaType(JSON)
        if media.covers(XML):
            return MediaType(XML, media.multipart)
    raise NotAcceptableError(f'offered: {JSON}, multipart/related; type="{XML}"')


def respond_documents(
    request: HttpRequest, media: MediaType, documents: Sequence[Callable[[], Document]]
) -> HttpResponseBase:
    """Respond with documents, which are built one at a time while they are sent."""
    if media.name == JSON:
        return StreamingHttpResponse(iter_json(documents), content_type=JSON)
    parts = [Part(XML, partial(iter_xml, build)) for build in documents]
    return respond(str(request.method), parts, multipart=media.multipart or len(parts) > 1)


def iter_json(documents: Sequence[Callable[[], Document]]) -> Iterator[bytes]:
    """Generate an array of documents."""
    for number, build in enumerate(documents):
        yield (b"," if number else b"[") + orjson.dumps(build())
    yield b"]"


def iter_xml(build: Callable[[], Document]) -> Iterator[bytes]:
    """Generate a document."""
    yield to_xml(build())
