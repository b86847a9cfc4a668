"""schemathesis against the OpenAPI document of the DICOMweb services: no request is answered with 500."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from accounts.api_tokens import hash_token
from system import System, database, instance

TOKEN = "fuzz"
UIDS = {"study": "1.11.1", "series": "1.11.1.1", "instance": "1.11.1.1.1"}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system with one image, which half of the generated requests name."""
    with database(f"fuzz_{os.getpid()}") as url, System(tmp_path_factory.mktemp("system"), url) as running:
        place = {"StudyInstanceUID": "1.11.1", "SeriesInstanceUID": "1.11.1.1", "SOPInstanceUID": "1.11.1.1.1"}
        assert running.post(instance(**place)[1]).status == 200
        running.query(
            "INSERT INTO accounts_apitoken (digest, name, group_id) SELECT %s, 'fuzz', id FROM auth_group"
            " WHERE name = 'operators'",
            hash_token(TOKEN),
        )
        yield running


def statuses_of(operation: Any) -> set[int]:
    """The statuses of generated requests to an operation."""
    statuses: set[int] = set()

    @settings(max_examples=10, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        generated = dict(case.path_parameters or {})
        for values in (generated, generated | {name: uid for name, uid in UIDS.items() if name in generated}):
            case.path_parameters = values
            statuses.add(case.call(headers={"Authorization": f"Bearer {TOKEN}"}).status_code)

    ask()
    return statuses


def test_no_request_is_a_server_error(archive: System) -> None:
    schema: Any = schemathesis.openapi.from_url(f"http://127.0.0.1:{archive.http}/dicom-web/")
    operations = [found.ok() for found in schema.include(method="GET").get_all_operations()]
    statuses = {operation.label: statuses_of(operation) for operation in operations}
    assert len(statuses) > 20
    assert {name: found for name, found in statuses.items() if max(found) >= 500} == {}
    assert {200, 400, 404} <= set().union(*statuses.values())
