"""Ingest every file below a folder, with progress; resumable, since duplicates are recognised."""

import logging
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from ingest.header import RefusedError
from ingest.incoming import incoming_file
from ingest.store import Sender, store_instance

log = logging.getLogger("section5.ingest")
CHUNK = 1 << 18


def walk_files(folder: Path) -> Iterator[Path]:
    """Iterate over the regular files below a folder, in sorted order."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            if path.is_file():
                yield path


def ingest_folder(folder: Path) -> Counter[str]:
    """Store every file; return how many were new, duplicate, conflict, refused."""
    counts: Counter[str] = Counter()
    for path in tqdm(walk_files(folder), unit=" files", delay=1, disable=None):
        try:
            with path.open("rb") as source, incoming_file() as file:
                while part := source.read(CHUNK):
                    file.write(part)
                counts[store_instance(file, Sender(f"folder:{folder}")).outcome] += 1
        except RefusedError as error:
            counts["refused"] += 1
            log.warning("%s: %s", path, error)
        except PermissionError:
            counts["refused"] += 1
            log.warning("%s: permission denied", path)
    return counts
