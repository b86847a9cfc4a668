"""Secrets in files of mode 0600."""

import os
import tempfile
from pathlib import Path


def create_secret(path: Path, content: str) -> None:
    """Write a secret unless the file exists; of several processes that race, one wins."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, encoding="ascii") as file:  # mode 0600
        file.write(f"{content}\n")
        file.flush()
        os.fsync(file.fileno())
        try:
            os.link(file.name, path)
        except FileExistsError:
            return
