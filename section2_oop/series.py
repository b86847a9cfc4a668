"""A series of a study."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Series:
    """A series of a study, with the number of its instances and the number of all their frames."""

    uid: str
    number: int | None
    modality: str | None
    instances: int
    frames: int
