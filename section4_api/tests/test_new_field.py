"""A new field is the model and its migration: `modality` is added to a copy of the section, and used."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from live import SECTION, database, service

FIELD = '    modality = models.CharField(max_length=16, blank=True, default="")\n'


def test_a_new_field_takes_the_model_and_its_migration(tmp_path: Path) -> None:
    copy = tmp_path / "section4"
    shutil.copytree(SECTION, copy, ignore=shutil.ignore_patterns("data", "tests", "benchmarks", "__pycache__"))
    models = copy / "elements" / "models.py"
    text = models.read_text(encoding="utf-8")
    before, raw_data, after = text.partition("    raw_data = ")
    models.write_text(before + FIELD + raw_data + after, encoding="utf-8")
    with database(f"field_{os.getpid()}") as url:
        environment = {"DATABASE_URL": url}
        command = [sys.executable, str(copy / "manage.py"), "makemigrations", "elements", "--name", "add_modality"]
        made = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
        assert made.stdout.count("+ ") == 1
        with service(tmp_path / "api.log", section=copy, **environment) as running:
            new = {"id": "a", "data": ["1 2"], "deviceName": "RX 1", "modality": "CT"}
            created = running.ask("POST", "/api/elements/", {"1": new})
            assert (created.status, created.json()["results"][0]["modality"]) == (201, "CT")
            changed = running.ask("PATCH", "/api/elements/a/", {"modality": "MR"})
            assert (changed.status, changed.json()["modality"]) == (200, "MR")
            assert running.ask("GET", "/api/elements/a/").json()["modality"] == "MR"
            assert running.ask("GET", "/api/elements/?fields=id,modality&id__startswith=a").json()["results"] == [
                {"id": "a", "modality": "MR"}
            ]
            exported = running.ask("GET", "/api/elements/?format=csv&fields=id,modality&id__startswith=a")
            assert exported.body == b"id,modality\na,MR\n"
            properties = running.ask("GET", "/api/schema/").json()["components"]["schemas"]
            assert all("modality" in properties[name]["properties"] for name in ("NewElement", "Element", "Change"))
