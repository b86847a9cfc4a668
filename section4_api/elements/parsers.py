"""Strict JSON bodies (RFC 8259): UTF-8, no repeated keys, bounded in size and depth."""

import json
from collections.abc import Mapping
from typing import IO, Any

import orjson
from django.http.request import HttpHeaders
from rest_framework.exceptions import APIException, ParseError, UnsupportedMediaType
from rest_framework.parsers import BaseParser
from rest_framework.utils.mediatypes import _MediaType

MAX_BODY = 64 << 20  # bytes
MAX_DEPTH = 32
MAX_VALUES = 2_000_000  # strings, numbers, arrays and objects of a body: 52 MB of empty strings would take 800 MB


class ContentTooLarge(APIException):
    """The body, or the number of its elements, exceeds a limit."""

    status_code = 413
    default_code = "too_large"


class JSONParser(BaseParser):
    """Parse JSON with orjson, and refuse what Python's parser would accept silently."""

    media_type = "application/json"

    def parse(self, stream: IO[bytes], media_type: str | None = None, parser_context: Any = None) -> Any:
        """Return the document of a body.

        Raises:
            ParseError: 400, the body is not strict JSON.
            ContentTooLarge: 413.
            UnsupportedMediaType: 415, another charset, or compressed.
        """
        request = parser_context["request"]
        charset = _MediaType(media_type or "").params.get("charset", "utf-8")
        if charset.lower().strip('"') not in ("utf-8", "utf8"):
            raise UnsupportedMediaType(charset, f"JSON is UTF-8 (RFC 8259, section 8.1), not {charset!a}")
        headers: HttpHeaders = request.headers
        if headers.get("Content-Encoding", "identity") != "identity":
            raise UnsupportedMediaType("", "send the body without Content-Encoding")
        body = stream.read(MAX_BODY + 1)
        if len(body) > MAX_BODY:
            raise ContentTooLarge(f"the body is longer than {MAX_BODY >> 20} MiB; send it in parts")
        request._request.body_start = body[:1000]  # for the log, where LOG_BODIES is set
        return parse_json(body)


class MergePatchParser(JSONParser):
    """JSON merge patches (RFC 7396): the same body under another name."""

    media_type = "application/merge-patch+json"


def parse_json(body: bytes) -> Any:
    """Parse JSON without repeated keys, of limited depth and size.

    Raises:
        ParseError: the position and the reason.
    """
    if body.count(b",") > MAX_VALUES:
        raise ContentTooLarge(f"the body holds more than {MAX_VALUES:,} values; send it in parts")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ParseError(f"the body is not valid JSON: {error.msg} (byte {error.pos + 1})") from None
    depth, strings = _measure_document(document)
    if depth > MAX_DEPTH:
        raise ParseError(f"the body is nested deeper than {MAX_DEPTH} levels")
    # As many quotes as the parsed strings and keys need: then no repeated key was dropped.
    if (b"\\" in body or body.count(b'"') != 2 * strings) and (key := _find_repeated_key(body)) is not None:
        raise ParseError(f"the key {key[:80]!a} is repeated in one object")
    return document


def _measure_document(document: Any) -> tuple[int, int]:
    """Return the depth of a document, and how many strings it holds, including keys."""
    depth, strings, level = 0, 0, [document]
    while level:
        inner: list[Any] = []
        nested = False
        for value in level:
            if isinstance(value, str):
                strings += 1
            elif isinstance(value, Mapping):
                nested = True
                strings += len(value)
                inner += value.values()
            elif isinstance(value, list):
                nested = True
                inner += value
        depth += nested
        level = inner
    return depth, strings


def _find_repeated_key(body: bytes) -> str | None:
    repeated: list[str] = []

    def collect(pairs: list[tuple[str, Any]]) -> None:
        keys = [key for key, _ in pairs]
        if len(keys) != len(set(keys)):
            repeated.append(next(key for key in keys if keys.count(key) > 1))

    json.loads(body, object_pairs_hook=collect, parse_int=str, parse_float=str)
    return repeated[0] if repeated else None
