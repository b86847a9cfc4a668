"""Progress bars on the terminal, for work that takes over two seconds."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

DELAY = 2.0  # seconds
PROGRESS_MIN_BYTES = 32 << 20  # less is read within the delay
T = TypeVar("T")


def with_progress(items: Sequence[T]) -> Iterable[T]:
    """Iterate over items, with a bar on standard error unless the results are printed to the terminal."""
    if len(items) < 100 or sys.stdout.isatty() or not sys.stderr.isatty():
        return items
    from tqdm import tqdm

    return tqdm(items, unit=" files", delay=DELAY, leave=False)


@contextmanager
def byte_progress(path: Path, raw: BinaryIO) -> Iterator[Callable[[], object]]:
    """Show a bar over the bytes of a large file where standard error is a terminal; yield its update function."""
    size = path.stat().st_size if path.is_file() else 0
    if size < PROGRESS_MIN_BYTES or not sys.stderr.isatty():
        yield lambda: None
        return
    from tqdm import tqdm

    with tqdm(total=size, unit="B", unit_scale=True, desc=path.name, delay=DELAY, leave=False) as bar:
        yield lambda: bar.update(raw.tell() - bar.n)
