"""The contract of an analysis.

The default analysis is a function in a module with a `VERSION`, named by the ANALYSIS setting:

    VERSION = "2.1"

    def analyse(file, context):
        dataset = pydicom.dcmread(file)
        return {"mean": float(dataset.pixel_array.mean())}, b""

It receives the instance's file (de-identified, if the site wants that) and its context, and returns figures, which must
be a JSON object, and a preview as PNG, or empty bytes. The result records the function's name and version.

Further analyses are registered in a file (`registry.py`). Their functions have the same form; on a series or a study
`file` is an iterable of open files instead, and each may return an `Output`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray


class UnprocessableError(Exception):
    """The instance cannot be analysed, now or later; the message says why, without patient data."""


@dataclass(frozen=True)
class Context:
    """What an analysis may know beside the file."""

    sop_instance_uid: str = ""
    sop_class_uid: str = ""
    study_uid: str = ""
    attempt: int = 1  # the first is 1
    memory_limit_mb: int = 0  # of the process; 0 is unlimited
    time_limit_seconds: int = 0
    parameters: Mapping[str, Any] = field(default_factory=dict)  # of the registered analysis
    gpus: tuple[int, ...] = ()  # numbers of the GPU slots that it may use


@dataclass(frozen=True)
class Output:
    """The complete result of an analysis."""

    figures: dict[str, Any] = field(default_factory=dict)  # a JSON object
    pictures: dict[str, bytes] = field(default_factory=dict)  # PNG, by name
    masks: dict[str, NDArray[np.uint8]] = field(default_factory=dict)  # frame, row, column; not 0 is inside; by name
    dicom: dict[str, bytes] = field(default_factory=dict)  # DICOM files of the same study, by name


class InstanceFunction(Protocol):
    """A function that analyses an instance."""

    def __call__(self, file: BinaryIO, context: Context) -> "tuple[dict[str, Any], bytes] | Output":
        """Analyse an instance; return figures and a preview, or an output.

        Raises:
            UnprocessableError: it cannot be analysed, now or later.

        """


class SetFunction(Protocol):
    """A function that analyses a series or a study."""

    def __call__(self, files: Iterable[BinaryIO], context: Context) -> "tuple[dict[str, Any], bytes] | Output":
        """Analyse the files, each of which is open until the next one is requested.

        Raises:
            UnprocessableError: they cannot be analysed, now or later.

        """
