"""Strict JSON bodies (RFC 8259): UTF-8, no repeated keys, bounded in size."""

import json
from collections import Counter
from typing import IO, Any

import orjson
from rest_framework.exceptions import APIException, ParseError, UnsupportedMediaType
from rest_framework.parsers import BaseParser

MAX_BODY = 64 << 20  # bytes
MAX_VALUES = 2_000_000  # strings, numbers, arrays and objects of a body: 52 MB of empty strings would take 800 MB


class ContentTooLarge(APIException):
    """The body, or the number of its elements, exceeds a limit."""

    status_code = 413
    default_code = "too_large"


class JSONParser(BaseParser):
    """Parse JSON, and refuse what Python's parser would accept silently."""

    media_type = "application/json"

    def parse(self, stream: IO[bytes], media_type: Any = None, parser_context: Any = None) -> Any:  # noqa: ARG002
        """Return the document of a body.

        Raises:
            ParseError: 400, the position and the reason.
            ContentTooLarge: 413, in bytes or values.
            UnsupportedMediaType: 415, another charset, or compressed.
        """
        request = parser_context["request"]
        charset = request.content_params.get("charset", "utf-8")
        if charset.lower() not in ("utf-8", "utf8"):
            raise UnsupportedMediaType(charset, f"JSON is UTF-8 (RFC 8259, section 8.1), not {charset!a}")
        if request.headers.get("Content-Encoding", "identity") != "identity":
            raise UnsupportedMediaType("", "send the body without Content-Encoding")
        body = stream.read(MAX_BODY + 1)
        if len(body) > MAX_BODY:
            raise ContentTooLarge(f"the body is longer than {MAX_BODY >> 20} MiB; send it in parts")
        if body.count(b",") > MAX_VALUES:
            raise ContentTooLarge(f"the body holds more than {MAX_VALUES:,} values; send it in parts")
        try:
            document = orjson.loads(body)  # strict, but keeps the last of repeated keys
            json.loads(body, object_pairs_hook=_refuse_repeated_keys, parse_int=str, parse_float=str)
        except orjson.JSONDecodeError as error:
            raise ParseError(f"the body is not valid JSON: {error.msg} (byte {error.pos + 1})") from None
        except RecursionError:
            raise ParseError("the body is nested too deeply") from None
        return document


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        (key, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise ParseError(f"the key {key[:80]!a} is repeated in one object")
