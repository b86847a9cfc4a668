"""Make the paths in the environment absolute: some programs start in another folder than others."""

import os
import re
from collections.abc import MutableMapping
from pathlib import Path

NAMES = (
    "ANALYSES",
    "DATA_FOLDER",
    "TLS_CERTIFICATE",
    "TLS_KEY",
    "TLS_CLIENT_CA",
    "BROKER_CA",
    "MASTER_KEY_FILE",
    "SIGNING_KEY_FILE",
)
IN_URL = re.compile(r"(?<=[?&]sslrootcert=)[^&]+")


def resolve_paths(environment: MutableMapping[str, str]) -> None:
    """Make them absolute, for this process and its children."""
    for name in NAMES:
        if value := environment.get(name):
            environment[name] = os.path.abspath(value)  # noqa: PTH100  # keep links: keys are rotated by them
    if url := environment.get("DATABASE_URL"):
        environment["DATABASE_URL"] = IN_URL.sub(lambda found: str(Path.cwd() / found[0]), url)
