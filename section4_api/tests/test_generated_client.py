"""A client generated from the OpenAPI description by openapi-python-client, for every operation."""

import importlib
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from live import Service
from support import element


def test_every_operation_of_a_generated_client(live: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    description = tmp_path / "schema.json"
    schema = live.ask("GET", "/api/schema/")
    assert schema.json()["openapi"].startswith("3.1")
    description.write_bytes(schema.body)
    program = Path(sysconfig.get_path("scripts")) / "openapi-python-client"
    command: list[str | Path] = [program, "generate", "--path", description, "--output-path", tmp_path / "made"]
    command += ["--meta", "none"]
    subprocess.run(command, check=True, capture_output=True)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    client = importlib.import_module("made.client").Client(base_url=live.url)
    models = importlib.import_module("made.models")
    operations = {
        name: importlib.import_module(f"made.api.elements.elements_{name}")
        for name in ("create", "destroy", "list", "partial_update", "retrieve", "update")
    }
    new = models.NewElement.from_dict(element("generated"))
    created = operations["create"].sync(client=client, body=new)
    assert (created.id, created.data_size) == ("generated", 6)
    keyed = models.NewElements.from_dict({"1": element("generated2")})
    assert operations["create"].sync(client=client, body=keyed).created == 1
    assert operations["retrieve"].sync("generated", client=client).device_name == "RX 1"
    change = models.Change(device_name="RX 2")
    assert operations["update"].sync("generated", client=client, body=change).device_name == "RX 2"
    change = models.Change(device_name="RX 3")
    assert operations["partial_update"].sync("generated", client=client, body=change).device_name == "RX 3"
    page = operations["list"].sync(client=client, id_startswith="generated")
    assert [row.id for row in page.results] == ["generated", "generated2"]
    exported = client.get_httpx_client().get("/api/elements/", headers={"Accept": "text/csv"})
    assert (exported.status_code, exported.headers["content-type"]) == (200, "text/csv; charset=utf-8")
    for id_ in ("generated", "generated2"):
        assert operations["destroy"].sync_detailed(id_, client=client).status_code == 204
