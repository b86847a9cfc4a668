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

    def __str__(self) -> str:
        words = [f"number {self.number}"] if self.number is not None else []
        words += [self.modality] if self.modality else []
        words += [f"{self.instances} {'instance' if self.instances == 1 else 'instances'}"]
        return ", ".join([*words, f"{self.frames} {'frame' if self.frames == 1 else 'frames'}"])
