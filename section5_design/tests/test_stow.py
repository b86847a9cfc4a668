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


def test_path_that_is_no_study_is_not_found() -> None:
    assert Client().post("/dicom-web/studies/1.2/series/1.3", b"", DICOM).status_code == 404


def test_request_id_is_returned() -> None:
    answer = Client().post("/dicom-web/studies", b"none", DICOM, headers={"X-Request-ID": "abc"})
    assert (answer.status_code, answer.headers["X-Request-ID"]) == (409, "abc")


def test_other_methods_are_refused() -> None:
    assert Client().put("/dicom-web/studies", b"", DICOM).status_code == 405
