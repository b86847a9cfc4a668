"""A site's own analysis: it receives a context, its version is recorded, and odd figures break nothing."""

import os
from collections.abc import Iterator

import pytest

from people import Person, make_people
from system import OVER_HTTP, System, database, instance

SITE = """
VERSION = "7.1"
def analyse(file, context):
    if context.attempt != 1 or not context.time_limit_seconds: raise ValueError
    return FIGURES[file.read(132) and context.sop_class_uid], b""
class Figures(dict):
    def __missing__(self, key): return {"pixel_data": True, "uid": key}
FIGURES = Figures()
FIGURES["1.2.840.10008.5.1.4.1.1.4"] = ["not", "an", "object"]
"""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("contract")
    (folder / "site_analysis.py").write_text(SITE)
    settings = {"ANALYSIS": "site_analysis.analyse", "PYTHONPATH": str(folder)}
    with database(f"contract_{os.getpid()}") as url, System(folder, url, OVER_HTTP, **settings) as running:
        make_people(running, {"ana": ["submitters"]})
        yield running


def test_a_result_records_the_analysis_and_its_version(system: System) -> None:
    uid, content = instance()
    system.post(content)
    assert system.wait_for(uid) == ("done", "")
    found = system.query("SELECT analysis, version, figures ->> 'uid' FROM analysis_result ORDER BY at DESC LIMIT 1")
    assert found == [("site_analysis.analyse", "7.1", "1.2.840.10008.5.1.4.1.1.2")]


def test_the_page_of_figures_without_a_range_is_shown(system: System) -> None:
    ana = Person(system, "ana")
    uid, content = instance()
    ana.send(content)
    system.wait_for(uid)
    ((image,),) = system.query("SELECT id FROM archive_instance WHERE sop_instance_uid = %s", uid)
    assert ana.get(f"/images/{image}/").status_code == 200


def test_figures_that_are_not_an_object_are_quarantined(system: System) -> None:
    uid, content = instance("MR_small.dcm")
    system.post(content)
    state, reason = system.wait_for(uid, "quarantined")
    assert "did not return a dictionary" in reason
    assert state == "quarantined"
