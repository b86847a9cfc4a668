"""The contract of an analysis, which the ANALYSIS setting names.

An analysis is a function in a module with a `VERSION`:

    VERSION = "2.1"

    def analyse(file, context):
        dataset = pydicom.dcmread(file)
        return {"mean": float(dataset.pixel_array.mean())}, b""

It receives the instance's file (de-identified, if the site wants that) and its context, and returns figures, which must
be a JSON object, and a preview as PNG, or empty bytes. The result records the function's name and version.
"""

from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol


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


class Analysis(Protocol):
    """A function that analyses an instance."""

    def __call__(self, file: BinaryIO, context: Context) -> tuple[dict[str, Any], bytes]:
        """Analyse an instance; return figures and a preview.

        Raises:
            UnprocessableError: it cannot be analysed, now or later.

        """
