"""A site's archive on disk: every file below a folder, with progress, resumable since the same content counts once."""

import logging
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from archive.spool import spooled
from ingest.accept import accept
from ingest.validation import RefusedError

log = logging.getLogger("section5.ingest")
CHUNK = 1 << 18


def files_below(folder: Path) -> Iterator[Path]:
    """Every regular file, in the folders' order."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            if path.is_file():
                yield path


def ingest(folder: Path) -> Counter[str]:
    """Take in every file; how many were new, known again, in conflict, refused."""
    counts: Counter[str] = Counter()
    for path in tqdm(files_below(folder), unit=" files", delay=1, disable=None):
        try:
            with path.open("rb") as source, spooled() as file:
                while part := source.read(CHUNK):
                    file.write(part)
                counts[accept(file, f"folder:{folder}").outcome] += 1
        except RefusedError as error:
            counts["refused"] += 1
            log.warning("%s: %s", path, error)
        except PermissionError:
            counts["refused"] += 1
            log.warning("%s: cannot be read; check its permissions", path)
    return counts
