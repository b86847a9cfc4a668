"""STOW-RS requests skip the middleware of the pages, and nothing that protects the server."""

from typing import Any

import pytest
from django.test import Client

pytestmark = pytest.mark.django_db
DICOM = "application/dicom"


def test_unknown_host_is_refused(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["archive.example"]
    answer = Client().post("/dicom-web/studies", b"", DICOM, headers={"Host": "other.example"})
    assert answer.status_code == 400


def test_other_resources_pass_every_middleware() -> None:
    answer = Client().post("/dicom-web/studies/1.2/series/1.3", b"", DICOM)
    assert answer.status_code == 405
    assert "Content-Security-Policy" in answer.headers


def test_request_id_is_returned() -> None:
    answer = Client().post("/dicom-web/studies", b"none", "text/plain", headers={"X-Request-ID": "abc"})
    assert (answer.status_code, answer.headers["X-Request-ID"]) == (415, "abc")


def test_other_methods_are_refused() -> None:
    assert Client().put("/dicom-web/studies", b"", DICOM).status_code == 405


def test_representations_that_cannot_be_sent_are_406() -> None:
    answer = Client().post("/dicom-web/studies", b"", DICOM, headers={"Accept": "text/html"})
    assert (answer.status_code, b"nothing was stored" in answer.content) == (406, True)


def test_options_name_the_methods() -> None:
    answer = Client().options("/dicom-web/studies")
    assert (answer.status_code, answer.headers["Allow"]) == (204, "GET, POST, HEAD, OPTIONS")


def test_compressed_bodies_and_malformed_studies_are_refused() -> None:
    compressed = Client().post("/dicom-web/studies", b"", DICOM, headers={"Content-Encoding": "gzip"})
    assert (compressed.status_code, compressed.headers["Accept-Encoding"]) == (415, "identity")
    assert Client().post("/dicom-web/studies/abc", b"", DICOM).status_code == 400
