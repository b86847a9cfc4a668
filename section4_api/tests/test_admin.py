"""The admin site."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from elements.models import Element
from support import path, store


@pytest.fixture
def admin(admin_client: Client) -> Client:
    store(admin_client, *(f"e{number:03}" for number in range(120)))
    return admin_client


def test_the_list_counts_once_leaves_the_data_out_and_is_searched(admin: Client) -> None:
    with CaptureQueriesContext(connection) as queries:
        answer = admin.get("/admin/elements/element/")
    assert answer.status_code == 200
    assert b"e099" in answer.content
    assert sum("COUNT" in query["sql"] for query in queries) == 1
    assert not any("raw_data" in query["sql"] for query in queries)
    found = admin.get("/admin/elements/element/?q=e11").content
    assert (b"e119" in found, b"e100" in found) == (True, False)


def test_a_device_can_be_renamed_and_nothing_else(admin: Client) -> None:
    before = admin.get(path("e000"))
    form: Any = {"device_name": "CT 9", "data_size": "1", "raw_data": "[]", "id": "other"}
    assert admin.post("/admin/elements/element/e000/change/", form).status_code == 302
    after = admin.get(path("e000"))
    changed = {field for field, value in after.json().items() if value != before.json()[field]}
    assert changed == {"device_name", "updated_at"}
    assert after["ETag"] != before["ETag"]


@pytest.mark.parametrize("name", ["", " ", "a\u2028b", "a\x00b", "x" * 201])
def test_the_admin_refuses_a_name_that_the_api_refuses(admin: Client, name: str) -> None:
    assert admin.post("/admin/elements/element/e000/change/", {"device_name": name}).status_code == 200
    assert Element.objects.get(pk="e000").device_name == "RX 1"


@pytest.mark.parametrize(
    "fields", [{"id": "a/b c"}, {"data_size": -3}, {"device_name": "a\u2028b"}, {"raw_data": ["-1"]}]
)
def test_the_model_refuses_what_the_api_refuses(api: Client, fields: dict[str, Any]) -> None:
    good = {
        "id": "a",
        "device_name": "RX",
        "average_before_normalization": 1.0,
        "average_after_normalization": 1.0,
        "data_size": 1,
        "raw_data": ["1"],
    }
    Element(**good).full_clean()
    with pytest.raises(ValidationError):
        Element(**good | fields).full_clean()
    if "raw_data" not in fields:
        with pytest.raises(IntegrityError):
            Element(**good | fields).save(force_insert=True)


def test_the_admin_adds_no_elements(admin: Client) -> None:
    assert admin.get("/admin/elements/element/add/").status_code == 403
