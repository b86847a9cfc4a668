"""What an answer looks like: JSON, or for exports CSV (RFC 4180) and NDJSON."""

from typing import Any

import orjson
from rest_framework.exceptions import NotAcceptable
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request


class JSONRenderer(BaseRenderer):
    """JSON by orjson; times as RFC 3339."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:  # noqa: ARG002
        """The bytes of a document; none of None."""
        return b"" if data is None else orjson.dumps(data)


class Export(BaseRenderer):
    """A format that PostgreSQL writes, row by row; nothing is left to render."""

    charset = "utf-8"


class CSVRenderer(Export):
    """Comma-separated values, with a header."""

    media_type = "text/csv"
    format = "csv"


class NDJSONRenderer(Export):
    """A JSON object a line."""

    media_type = "application/x-ndjson"
    format = "ndjson"


class Negotiation(DefaultContentNegotiation):
    """Django REST framework's, but an unknown ?format= is 406 and not 404."""

    def filter_renderers(self, renderers: list[Any], format: str) -> list[Any]:  # noqa: A002
        """The renderers of a format."""
        found = [renderer for renderer in renderers if renderer.format == format]
        if not found:
            raise NotAcceptable(f"format must be one of {', '.join(renderer.format for renderer in renderers)}")
        return found

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> tuple[Any, str]:
        """The renderer that the client likes best."""
        if request.META.get("HTTP_ACCEPT", "*/*") == "*/*" and "format" not in request.query_params:
            return renderers[0], renderers[0].media_type
        if request.query_params.get("format") == "":
            self.filter_renderers(renderers, "")
        try:
            chosen: tuple[Any, str] = super().select_renderer(request, renderers, format_suffix)
        except NotAcceptable as error:
            if "format" in str(error.detail):
                raise
            offered = ", ".join(renderer.media_type for renderer in renderers)
            raise NotAcceptable(f"the Accept header allows none of what there is: {offered}") from None
        return chosen
