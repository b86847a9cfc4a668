"""The registry of analyses: what a site may write in the file of ANALYSES, and which mistakes are reported how."""

from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from analysis.registry import get_analysis, list_analyses, load_analyses


@pytest.fixture
def write(tmp_path: Path, settings: Any) -> Any:
    """Write the file of ANALYSES."""

    def write_file(text: str) -> None:
        path = tmp_path / "analyses.toml"
        path.write_text(text)
        settings.ANALYSES = str(path)
        load_analyses.cache_clear()

    yield write_file
    load_analyses.cache_clear()


def test_default_analysis_is_listed_without_a_file() -> None:
    assert [(one.name, one.scope, one.function) for one in list_analyses()] == [
        ("default", "instance", "analysis.default.analyse")
    ]


def test_registered_analysis_is_listed_after_the_default(write: Any) -> None:
    write('[slices]\nversion = "1"\nscope = "series"\ncommand = ["true"]\nmodality = ["CT"]')
    assert [one.name for one in list_analyses()] == ["default", "slices"]
    assert (get_analysis("slices").scope, get_analysis("slices").modality) == ("series", ["CT"])


def test_version_of_a_function_is_that_of_its_module(write: Any) -> None:
    write('[again]\nfunction = "analysis.default.analyse"')
    assert get_analysis("again").version == "2"


COMMAND = '[x]\nversion = "1"\ncommand = ["true"]\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[x", "Expected"),
        ("x = 1", "not a table"),
        ("[X]\n", "cannot be a name"),
        ("[default]\n", "cannot be a name"),
        ('["a/b"]\n', "cannot be a name"),
        (COMMAND + "colour = 1", "unknown setting 'colour'"),
        (COMMAND + 'scope = "patient"', "scope must be one of"),
        (COMMAND + 'seconds = "60"', "seconds must be of the type int"),
        (COMMAND + "seconds = true", "seconds must be of the type int"),
        (COMMAND + "seconds = 100000", "seconds must be 1 to"),
        (COMMAND + "memory_mb = 100000", "TASK_MEMORY_LIMIT_MB"),
        (COMMAND + "gpu_slots = 99", "GPU_SLOTS"),
        (COMMAND + "quiet_seconds = -1", "must not be negative"),
        (COMMAND + 'modality = "CT"', r"modality must be of the type list\[str\]"),
        (COMMAND + 'where = { Colour = ["red"] }', "Colour is not a DICOM keyword"),
        (COMMAND + 'where = { ImageType = "AXIAL" }', "where must be of the type"),
        (COMMAND + 'measurements = { mean = { code = "1" } }', "mean needs a unit"),
        (COMMAND + 'function = "analysis.default.analyse"', "either function or command"),
        ('[x]\nversion = "1"', "either function or command"),
        ('[x]\ncommand = ["true"]', "set its version"),
        ('[x]\nfunction = "no_such_module.analyse"', "No module named"),
    ],
)
def test_mistake_is_reported_in_one_line(write: Any, text: str, message: str) -> None:
    write(text)
    with pytest.raises(ImproperlyConfigured, match=message) as error:
        list_analyses()
    assert "\n" not in str(error.value)


def test_missing_file_is_reported(settings: Any, tmp_path: Path) -> None:
    settings.ANALYSES = str(tmp_path / "missing.toml")
    with pytest.raises(ImproperlyConfigured, match="No such file"):
        list_analyses()
