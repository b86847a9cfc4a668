"""The formats of exports; errors stay JSON."""

from drf_orjson_renderer.renderers import ORJSONRenderer  # type: ignore[import-untyped]


class CSVRenderer(ORJSONRenderer):
    """Comma-separated values (RFC 4180), which PostgreSQL writes."""

    media_type = "text/csv"
    format = "csv"


class NDJSONRenderer(ORJSONRenderer):
    """A JSON object per line, which PostgreSQL writes."""

    media_type = "application/x-ndjson"
    format = "ndjson"
