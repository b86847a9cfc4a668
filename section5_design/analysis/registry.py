"""The registry: the default analysis, and those that a site registers in the TOML file that ANALYSES names.

    [slices]                                    # its name
    version = "1.0"
    scope = "series"                            # instance, series or study
    modality = ["CT"]                           # also sop_class = [UID, ...] and where = { KEYWORD = [PATTERN, ...] }
    command = ["python3", "/opt/slices.py"]     # with two folders: DICOM files to read, results to write
    seconds = 30

`Analysis` lists every setting. A function instead of a command is named as `function = "package.module.name"`.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import GenericAlias
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from pydicom.datadict import tag_for_keyword

DEFAULT = "default"
SCOPES = ("instance", "series", "study")
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}\Z")
MARGIN = 15  # seconds of a task for everything but the analysis


@dataclass(frozen=True)
class Analysis:
    """A named and versioned analysis: what it works on, what it runs, and its limits."""

    name: str
    version: str = ""  # required for a command; of a function by default its module's VERSION
    scope: str = "instance"
    function: str = ""
    command: list[str] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)  # given to it, and kept with its results
    modality: list[str] = field(default_factory=list)  # none: every modality
    sop_class: list[str] = field(default_factory=list)  # UIDs
    where: dict[str, list[str]] = field(default_factory=dict)  # any attribute: patterns such as "AXIAL" or "Liver*"
    quiet_seconds: float = 30  # a series or study is complete when nothing was received for so long, ...
    images: int = 0  # ... as soon as it has so many images (0: never), or after ten such periods if images keep coming
    on_release: bool = False  # ... or when the DICOM association that brought images of it is released
    seconds: int = 60
    memory_mb: int = 1000
    output_mb: int = 100
    gpu_slots: int = 0
    dicom: bool = False  # store its results also as DICOM instances
    measurements: dict[str, dict[str, str]] = field(default_factory=dict)  # figure: code, scheme, meaning, unit


def list_analyses() -> list[Analysis]:
    """Return the default analysis and the registered ones."""
    return [default_analysis(), *load_analyses(settings.ANALYSES).values()]


def get_analysis(name: str) -> Analysis:
    """Return an analysis by its name.

    Raises:
        KeyError: it is not registered.

    """
    return default_analysis() if name == DEFAULT else load_analyses(settings.ANALYSES)[name]


def default_analysis() -> Analysis:
    """Return the analysis that every instance receives."""
    return Analysis(DEFAULT, find_version(settings.ANALYSIS), function=settings.ANALYSIS)


def find_version(function: str) -> str:
    """Return the VERSION of a function's module."""
    return str(getattr(import_module(function.rpartition(".")[0]), "VERSION", ""))[:50]


@lru_cache(maxsize=1)
def load_analyses(path: str) -> Mapping[str, Analysis]:
    """Load the registered analyses by name.

    Raises:
        ImproperlyConfigured: the file cannot be read, or registers an invalid analysis.

    """
    if not path:
        return {}
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        return {name: build_analysis(name, table) for name, table in tables.items()}
    except OSError as error:
        raise ImproperlyConfigured(f"ANALYSES: {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValueError) as error:
        raise ImproperlyConfigured(f"ANALYSES: {path}: {error}") from None


def build_analysis(name: str, table: Any) -> Analysis:
    """Build an analysis from its table.

    Raises:
        ValueError: it is invalid; the message says where and why.

    """
    if not NAME.match(name) or name == DEFAULT:
        raise ValueError(f"{name!r} cannot be a name: 1 to 40 of a-z, 0-9, - and _, not {DEFAULT!r}")
    if not isinstance(table, dict):
        raise ValueError(f"{name}: not a table; write [{name}] above its settings")  # noqa: TRY004
    types = {one.name: one.type for one in fields(Analysis) if one.name != "name"}
    for key, value in table.items():
        if key not in types:
            raise ValueError(f"{name}: unknown setting {key!r}; the settings are {', '.join(types)}")
        check_type(name, key, value, types[key])
    analysis = Analysis(name, **table)
    if analysis.function and not analysis.version:
        try:
            analysis = Analysis(name, **table, version=find_version(analysis.function))
        except ImportError as error:
            raise ValueError(f"{name}: function {analysis.function}: {error}") from None
    if fault := find_fault(analysis):
        raise ValueError(f"{name}: {fault}")
    return analysis


def check_type(name: str, key: str, value: Any, declared: Any) -> None:
    """Check a setting against its declared type.

    Raises:
        ValueError: it has another.

    """
    kind: Any = declared.__origin__ if isinstance(declared, GenericAlias) else declared
    fits = isinstance(value, (int, float) if kind is float else kind) and isinstance(value, bool) == (kind is bool)
    if fits and kind is list:
        fits = all(isinstance(one, str) for one in value)
    if fits and key == "where":
        fits = all(isinstance(one, list) and all(isinstance(word, str) for word in one) for one in value.values())
    if not fits:
        raise ValueError(f"{name}: {key} must be of the type {declared if kind is not declared else kind.__name__}")


def find_fault(analysis: Analysis) -> str:
    """Return what is wrong with an analysis; empty if nothing."""
    longest = settings.TASK_SECONDS - MARGIN
    checks = {
        "set either function or command": bool(analysis.function) == bool(analysis.command),
        "set its version": not analysis.version or len(analysis.version) > 50,
        f"scope must be one of {', '.join(SCOPES)}": analysis.scope not in SCOPES,
        f"seconds must be 1 to {longest}; TASK_SECONDS sets the maximum": not 1 <= analysis.seconds <= longest,
        f"memory_mb must be 1 to {settings.TASK_MEMORY_LIMIT_MB}; TASK_MEMORY_LIMIT_MB sets the maximum": (
            not 1 <= analysis.memory_mb <= settings.TASK_MEMORY_LIMIT_MB
        ),
        f"gpu_slots must be at most {settings.GPU_SLOTS}; GPU_SLOTS sets the maximum": (
            analysis.gpu_slots > settings.GPU_SLOTS
        ),
        "output_mb must be 1 or more": analysis.output_mb < 1,
        "quiet_seconds, images and gpu_slots must not be negative": (
            min(analysis.quiet_seconds, analysis.images, analysis.gpu_slots) < 0
        ),
    }
    checks |= {f"where: {keyword} is not a DICOM keyword": not tag_for_keyword(keyword) for keyword in analysis.where}
    checks |= {
        f"measurements: {figure} needs a unit (UCUM)": not isinstance(parts, dict) or "unit" not in parts
        for figure, parts in analysis.measurements.items()
    }
    return next((fault for fault, present in checks.items() if present), "")
