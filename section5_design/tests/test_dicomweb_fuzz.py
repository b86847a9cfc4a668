"""schemathesis against the OpenAPI document of the DICOMweb services: no request is answered with 500."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings

from system import System, database, instance

UIDS = {"study": "1.11.1", "series": "1.11.1.1", "instance": "1.11.1.1.1"}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system with one image, which many of the generated requests name."""
    with database(f"fuzz_{os.getpid()}") as url, System(tmp_path_factory.mktemp("system"), url) as running:
        place = {"StudyInstanceUID": "1.11.1", "SeriesInstanceUID": "1.11.1.1", "SOPInstanceUID": "1.11.1.1.1"}
        assert running.post(instance(**place)[1]).status == 200
        yield running


@pytest.fixture
def schema(archive: System) -> Any:
    return schemathesis.openapi.from_url(f"http://127.0.0.1:{archive.http}/dicom-web/")


loaded = schemathesis.pytest.from_fixture("schema")


@loaded.parametrize()
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_request_is_a_server_error(case: Any) -> None:
    generated = dict(case.path_parameters or {})
    case.path_parameters = generated | {name: uid for name, uid in UIDS.items() if name in generated}
    for values in (generated, case.path_parameters):
        case.path_parameters = values
        response = case.call(headers={"Accept": "*/*"})
        assert response.status_code < 500, response.text[:200]
        declared = case.operation.definition.raw["responses"]
        assert str(response.status_code) in declared or response.status_code == 404
