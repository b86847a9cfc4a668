"""Renderers: JSON by orjson, and the formats of exports."""

from typing import Any

import orjson
from rest_framework.exceptions import NotAcceptable
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request


class JSONRenderer(BaseRenderer):
    """JSON; times as RFC 3339 in UTC."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:  # noqa: ARG002
        """Return the bytes of a document; indented for the browsable API."""
        indent = orjson.OPT_INDENT_2 if (renderer_context or {}).get("indent") else 0
        return b"" if data is None else orjson.dumps(data, option=orjson.OPT_UTC_Z | indent)


class CSVRenderer(JSONRenderer):
    """Comma-separated values (RFC 4180), which PostgreSQL writes; errors stay JSON."""

    media_type = "text/csv"
    format = "csv"


class NDJSONRenderer(JSONRenderer):
    """A JSON object per line, which PostgreSQL writes; errors stay JSON."""

    media_type = "application/x-ndjson"
    format = "ndjson"


class Negotiation(DefaultContentNegotiation):
    """The framework's negotiation, but an unknown ?format= is 406 and not 404."""

    def filter_renderers(self, renderers: list[Any], format: str) -> list[Any]:  # noqa: A002
        """Return the renderers of a format."""
        found = [renderer for renderer in renderers if renderer.format == format]
        if not found:
            raise NotAcceptable(f"format must be one of {', '.join(renderer.format for renderer in renderers)}")
        return found

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> tuple[Any, str]:
        """Return the renderer that the client prefers."""
        if request.query_params.get("format") == "":
            self.filter_renderers(renderers, "")
        selected: tuple[Any, str] = super().select_renderer(request, renderers, format_suffix)
        return selected
