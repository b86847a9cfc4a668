"""Progress bars on the terminal, for work that takes over two seconds."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, TypeVar

DELAY = 2.0  # seconds
PROGRESS_MIN_BYTES = 32 << 20  # less is read within the delay


T = TypeVar("T")


def with_progress(items: Sequence[T]) -> Iterable[T]:
    """Iterate over items, with a bar on standard error where the result does not appear on the terminal itself."""
    if len(items) < 100 or sys.stdout.isatty() or not sys.stderr.isatty():
        return items
    from tqdm import tqdm

    return tqdm(items, unit=" files", delay=DELAY, leave=False)


class Progress:
    """A bar on standard error over the bytes of a large file, where standard error is a terminal."""

    def __init__(self, path: Path, raw: BinaryIO) -> None:
        self._raw = raw
        self._bar: Any = None  # a tqdm bar, imported only when shown
        size = path.stat().st_size if path.is_file() else 0
        if size >= PROGRESS_MIN_BYTES and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=size, unit="B", unit_scale=True, desc=path.name, delay=DELAY, leave=False)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self) -> None:
        """Show how much of the file has been read."""
        if self._bar is not None:
            self._bar.update(self._raw.tell() - self._bar.n)
