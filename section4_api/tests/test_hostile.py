"""Inputs that break stock Django REST framework, and others of their kind: a problem document each, never a 500."""

import gzip
import json
from typing import Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support import ELEMENTS, element, path, post, problem, send, store, stored_ids

GOOD = json.dumps(element("a")).encode()


@pytest.mark.parametrize(
    "body",
    [
        *(GOOD.replace(b'"RX 1"', name) for name in (b'"R\\u0000X"', b'"\\ud800"', b'"\\udc00\\ud800"', b"NaN")),
        *(GOOD.replace(b'"RX 1"', name) for name in (b'"\xff"', b'"\xed\xa0\x80"')),
        b'{"id": "a\\u0000", "data": ["1"], "deviceName": "RX"}',
        b'{"id": "a", "data": [Infinity], "deviceName": "RX"}',
        b'{"id": 18446744073709551616, "data": ["1"], "deviceName": "RX"}',
        b'{"id": ' + b"9" * 5000 + b', "data": ["1"], "deviceName": "RX"}',
        b'{"id": "a", "id": "b", "data": ["1"], "deviceName": "RX"}',
        b'{"id": "a", "i\\u0064": "b", "data": ["1"], "deviceName": "RX"}',
        b'{"1": {"id": "a", "data": ["1"], "deviceName": "RX"}, "1": {"id": "b", "data": ["1"], "deviceName": "RX"}}',
        b'{"1": {"id": "a", "data": ["1"], "data": ["2"], "deviceName": "RX"}}',
        b"\xef\xbb\xbf" + GOOD,
        GOOD + b"x",
        GOOD + GOOD,
        GOOD.replace(b'"', b"'"),
        GOOD[:-1] + b",}",
        b"// comment\n" + GOOD,
        GOOD.decode().encode("utf-16"),
        b"\x00" * 100,
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"id": "a", "data": ' + b"[" * 990 + b"]" * 990 + b', "deviceName": "RX"}',
    ],
)
def test_a_body_that_is_not_strict_json_is_400(api: Client, body: bytes) -> None:
    problem(post(api, body), 400)
    assert stored_ids(api) == []
    store(api, "there")
    problem(send(api, "PATCH", path("there"), body), 400)


@pytest.mark.parametrize(
    "content_type",
    [
        *("text/plain", "text/html", "application/xml", "multipart/form-data; boundary=x", "x", ""),
        *("application/x-www-form-urlencoded", "application/json; charset=latin-1"),
        *("application/json; charset=utf-7", "application/json; charset=gzip"),
    ],
)
def test_another_media_type_or_charset_is_415(api: Client, content_type: str) -> None:
    problem(post(api, GOOD, content_type=content_type), 415)


def test_a_compressed_body_is_415(api: Client) -> None:
    problem(post(api, gzip.compress(GOOD), Content_Encoding="gzip"), 415)


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", '"utf-8"', "utf8"])
def test_every_spelling_of_utf_8_is_accepted(api: Client, charset: str) -> None:
    assert post(api, GOOD, content_type=f"application/json; charset={charset}").status_code == 201


@pytest.mark.parametrize(
    "id_", ["a%00", "%00", "a%2Fb", "..", "%2e%2e", "a%0d%0aX: y", "%ff", "%ed%a0%80", "a b", "é", "x" * 65]
)
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_an_impossible_id_is_404(api: Client, method: str, id_: str) -> None:
    problem(send(api, method, f"{ELEMENTS}{id_}/", {"device_name": "RX"}), 404)


@pytest.mark.parametrize(
    ("where", "methods", "allowed"),
    [
        (path("a"), ("POST", "TRACE", "FOO"), "GET, PUT, PATCH, DELETE, HEAD, OPTIONS"),
        (ELEMENTS, ("PUT", "PATCH", "DELETE"), "GET, POST, HEAD, OPTIONS"),
    ],
)
def test_an_unsupported_method_is_405(api: Client, where: str, methods: tuple[str, ...], allowed: str) -> None:
    store(api, "a")
    for method in methods:
        answer = send(api, method, where, {})
        problem(answer, 405)
        assert answer["Allow"] == allowed


@pytest.mark.parametrize(
    "url", ["/nowhere", "/api/", "/api/nowhere/", "/api/elements/a/b/", "/static/nowhere.js", "/%00"]
)
def test_an_unknown_url_is_404(api: Client, url: str) -> None:
    problem(api.get(url), 404)


def test_a_missing_trailing_slash_redirects_with_308(api: Client) -> None:
    answer = send(api, "POST", "/api/elements?partial=true", element("a"))
    assert (answer.status_code, answer["Location"]) == (308, "/api/elements/?partial=true")


@pytest.mark.parametrize(
    "name", ["If-Match", "If-None-Match", "X-Request-ID", "Accept", "Accept-Language", "Cookie", "Range"]
)
@pytest.mark.parametrize(
    "value", ["\x00", "\xff\xfe", '"', ",,,,", "*/*;q=x", "a" * 10_000, "%s%n", ";", "=?utf-8?q?x?="]
)
def test_a_header_may_hold_anything(api: Client, name: str, value: str) -> None:
    store(api, "a")
    for method in ("GET", "PATCH", "DELETE"):
        assert send(api, method, path("a"), {"device_name": "RX"}, **{name: value}).status_code < 500


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
field = st.sampled_from(["id", "data", "deviceName", "device_name", "data_size", "raw_data", "created_at", "x"])
body = (
    anything
    | st.binary()
    | st.dictionaries(field, anything)
    | st.dictionaries(st.text(max_size=5), st.dictionaries(field, anything))
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=body, method=st.sampled_from(["POST", "PUT", "PATCH"]), partial=st.booleans())
def test_a_random_body_never_is_500(api: Client, document: Any, method: str, partial: bool) -> None:
    store(api, "there")
    where = f"{ELEMENTS}?partial={str(partial).lower()}" if method == "POST" else path("there")
    data = document if isinstance(document, bytes) else json.dumps(document).encode("utf-8", "surrogatepass")
    assert send(api, method, where, data).status_code < 500
    for id_ in stored_ids(api):
        api.delete(path(id_))
